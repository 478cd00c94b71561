"""What those who write failure modes are given: the scaffold of one, and the pages of them all."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from faultlab.catalogue import index, scaffold
from faultlab.errors import UsageError
from faultlab.injection import registry
from faultlab.report.docs import catalogue_pages, module_pages
from faultlab.report.formats import markdown
from tests.cli.test_cli import ROOT, _faultlab

PAGES = ROOT / "docs" / "catalogue"


def test_the_pages_of_the_catalogue_are_fresh() -> None:
    fresh = catalogue_pages.pages(catalogue_pages.built_in())
    written = {file.name: file.read_text(encoding="utf-8") for file in PAGES.glob("*.md")}
    stale = [name for name in {**fresh, **written} if fresh.get(name) != written.get(name)]
    assert not stale, "`faultlab dev docs` renews them"


def test_the_table_of_modules_is_fresh() -> None:
    written = (ROOT / "docs" / "modules.md").read_text(encoding="utf-8")
    assert written == module_pages.page(), "`faultlab dev docs` renews it"


def test_the_table_of_modules_says_of_each_what_its_docstring_begins_with(tmp_path: Path) -> None:
    inner = tmp_path / "things" / "inner"
    inner.mkdir(parents=True)
    (tmp_path / "things" / "__init__.py").write_text('"""Things.\n\nThey import nothing."""')
    (inner / "__init__.py").write_text('"""Inner things."""')
    (inner / "one.py").write_text('"""One: a|b, and *more*.\n\nNot this."""')
    page = module_pages.page(tmp_path / "things")
    assert "## `things`\n\nThings.\n\nThey import nothing.\n\n## `things/inner`\n\nInner things.\n" in page
    assert r"| `one.py` | One: a\|b, and \*more\*. |" in page
    assert "Not this" not in page


def test_every_failure_mode_has_a_row_that_leads_to_its_own_heading() -> None:
    fresh = catalogue_pages.pages(catalogue_pages.built_in())
    links = re.findall(r"^\| \[`(.*?)`\]\((.*?)#(.*?)\) \|", fresh[catalogue_pages.INDEX], re.MULTILINE)
    assert [id for id, _, _ in links] == list(index.modes())
    for id, page, anchor in links:
        assert f"\n## `{id}`\n" in fresh[page]
        assert anchor == id.replace(".", ""), "as GitHub makes it of the heading"


def test_an_example_is_shown_as_it_was_written_and_before_its_remedy() -> None:
    mode = index.modes()["return.none"]
    page = catalogue_pages.pages({mode.id: mode})["return.md"]
    code = page.partition("```python\n")[2].partition("\n```")[0]
    assert [f"    {line}" for line in code.splitlines()] == mode.sections.example.splitlines()
    assert page.index("**Example, broken**") < page.index("**Remedy**")


def test_what_markdown_would_obey_is_shown_as_it_is() -> None:
    assert markdown.inline("a*b <c> `d*e` _f_ g_h [i]") == r"a\*b \<c\> `d*e` \_f\_ g_h \[i\]"
    assert markdown.cell("a|b `c|d`") == r"a\|b `c\|d`"


def test_pages_that_are_stale_are_named_and_renewed_and_those_of_others_stay(tmp_path: Path) -> None:
    _faultlab("dev", "docs", "--into", tmp_path)
    catalogue = tmp_path / "catalogue"
    (catalogue / "return.md").write_text("old")
    (catalogue / "gone.md").write_text(catalogue_pages.MARK)
    (catalogue / "mine.md").write_text("by hand")
    (tmp_path / "modules.md").unlink()
    done = _faultlab("dev", "docs", "--check", "--into", tmp_path)
    assert (done.status, done.out) == (1, "")
    assert "catalogue/gone.md, catalogue/return.md, modules.md" in done.err
    assert "Run `faultlab dev docs`" in done.err
    assert "3 updated" in _faultlab("dev", "docs", "--into", tmp_path).out
    assert (catalogue / "return.md").read_text() == (PAGES / "return.md").read_text()
    assert (tmp_path / "modules.md").read_text() == (ROOT / "docs" / "modules.md").read_text()
    assert not (catalogue / "gone.md").exists()
    assert (catalogue / "mine.md").read_text() == "by hand"


def test_no_failure_mode_is_left_as_the_scaffold_wrote_it() -> None:
    left = {id: scaffold.unfilled(mode) for id, mode in index.modes().items()}
    assert {id: parts for id, parts in left.items() if parts} == {}


@pytest.fixture
def injectors(tmp_path: Path) -> Path:
    return Path(shutil.copytree(index.INJECTORS, tmp_path / "injectors"))


@pytest.mark.parametrize(
    ("id", "seam", "file", "function"),
    [
        ("return.something-else", None, "return_.py", "something_else(value: Any, ctx: Context) -> Any"),
        ("return.float-again", "Weights", "return_.py", "float_again(value: Any, ctx: Context) -> None"),
        ("step.float", "StepCall", "step.py", "step_float(call: Call, ctx: Context) -> Any"),
        ("input.raise", "OptimizerState", "input.py", "input_raise(value: Any, ctx: Context) -> None"),
        ("scheduler.torch", "Gradients", "scheduler.py", "scheduler_torch(value: Any, ctx: Context) -> None"),
        ("novel.thing", None, "novel.py", "thing(value: Any, ctx: Context) -> Any"),
        ("while.thing", "StepCall", "while_.py", "thing(call: Call, ctx: Context) -> Any"),
    ],
)
def test_a_scaffold_can_be_listed_imported_and_checked_and_is_not_yet_filled_in(
    monkeypatch: pytest.MonkeyPatch, injectors: Path, id: str, seam: str | None, file: str, function: str
) -> None:
    before = {mode.id for mode in index.read(injectors / file)} if (injectors / file).exists() else set()
    done = _faultlab("dev", "new", id, *(["--seam", seam] if seam else []), "--into", injectors)
    assert (done.status, done.err) == (0, "")
    written = {mode.id: mode for mode in index.read(injectors / file)}
    assert set(written) == before | {id}
    mode = written[id]
    assert f"{file}:{mode.line}: {id}; fill in" in done.out
    assert mode.seam == (seam or "StepOutput")
    assert f"def {function}:" in (injectors / file).read_text()
    assert scaffold.unfilled(mode) == ["summary", "effect", "undetected", "example", "remedy", "cause", "no_evidence"]
    for check in (["check", "--ignore", "F401"], ["format", "--check"]):
        ruff = [sys.executable, "-m", "ruff", *check, "--config", ROOT / "pyproject.toml", injectors / file]
        assert subprocess.run(ruff).returncode == 0
    monkeypatch.setattr(registry, "_REGISTRY", {})
    runpy.run_path(str(injectors / file))
    assert registry._REGISTRY[id].mode == mode


def test_a_second_scaffold_of_the_same_name_in_a_family_hides_no_function(injectors: Path) -> None:
    for id in ("novel.thing", "novel.thing-2", "novel.novel-thing"):
        scaffold.add(id, None, injectors)
    with pytest.raises(UsageError, match=r"novel\.thing already exists: .*novel\.py:\d+"):
        scaffold.add("novel.thing", None, injectors)
    names = re.findall(r"^def (\w+)", (injectors / "novel.py").read_text(), re.MULTILINE)
    assert len(names) == len(set(names)) == 3


def test_a_scaffold_knows_what_stands_in_the_other_files_of_its_family(injectors: Path) -> None:
    file, _ = scaffold.add("novel.thing", "Loaders", injectors)
    file.rename(injectors / "novel_more.py")
    with pytest.raises(UsageError, match=r"novel\.thing already exists: .*novel_more\.py:\d+"):
        scaffold.add("novel.thing", None, injectors)
    added, mode = scaffold.add("novel.other", None, injectors)
    assert (added.name, mode.seam) == ("novel.py", "Loaders")


def test_every_seam_of_a_failure_mode_can_be_named_for_a_new_one() -> None:
    found = scaffold.seams()
    assert {mode.seam for mode in catalogue_pages.built_in().values()} <= set(found)
    assert all(seam.about for seam in found.values())
    assert {found[name].kind for name in ("StepCall", "OptimizerStep", "ZeroGrad", "CallbackHook")} == {"around"}
    assert {found[name].kind for name in ("Weights", "Gradients", "Mode", "Process")} == {"in_place"}
    assert {found[name].kind for name in ("StepOutput", "Batch", "ModuleOutput", "Optimizers")} == {"map"}


def test_a_file_that_does_not_parse_is_refused(injectors: Path) -> None:
    (injectors / "novel.py").write_text("def broken(:\n")
    with pytest.raises(UsageError, match=r"novel\.py:1: .*Fix the file first"):
        scaffold.add("novel.thing", None, injectors)
