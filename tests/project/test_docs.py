"""The documentation names what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from faultlab.catalogue import index

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *(ROOT / "benchmarks").rglob("*.md")])
NAMED = re.compile(r"`([a-z]+\.[a-z]+(?:-[a-z0-9]+)*)(?:[:@][^`]*)?`")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_failure_mode_that_a_page_names_exists(page: Path) -> None:
    modes = index.modes()
    families = {mode.family for mode in modes.values()}
    named = {id for id in NAMED.findall(page.read_text(encoding="utf-8")) if id.partition(".")[0] in families}
    # `random.py`, `torch.nn` and their like have a family's name by accident.
    assert {id for id in named if not id.endswith((".py", ".yaml"))} <= set(modes)


def test_the_literature_is_mapped_in_full() -> None:
    text = (ROOT / "docs" / "literature.md").read_text(encoding="utf-8")
    deepcrime = "TCL TRD TUD TAN TCO HBS HLR HNE HDB ACH ARM AAL RAW RCW RRW RCD RCP WCI WAB WRB LCH OCH OCG VRM"
    assert [name for name in deepcrime.split() if f"| {name} |" not in text] == []


@pytest.mark.parametrize("page", ["DESIGN.md", "explanation/choices.md"])
def test_every_file_that_the_design_names_is_there(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    # Words in capitals stand for names that the reader chooses.
    named = re.findall(r"`((?:[a-z_]+/)+(?:\w+\.py|)|\w+\.py)`", text)
    assert len(named) > 20
    assert [path for path in named if not any((top / path).exists() for top in (ROOT, ROOT / "faultlab"))
            and not re.search("[A-Z]", path)] == []  # fmt: skip
