"""The examples of the documentation do what they stand for: scenarios load, commands parse, Python runs."""

from __future__ import annotations

import functools
import os
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import click
import pytest
from markdown_it import MarkdownIt

from faultlab.cli import group
from faultlab.config.scenario import load
from tests import warm

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES = [page for page in DOCS if page.parent.name != "catalogue"]
# What is shown there is a victim that can't be run as it is; a test of `init` breaks it.
SHOWS_A_VICTIM = ROOT / "docs" / "first-ten-minutes.md"
CAMPAIGNS = pytest.mark.nightly(reason="pages whose examples break trainings; the quick ring has the other pages")
# What the pages take for granted: a module, its data, and a Trainer that is done soon.
PREAMBLE = """
import functools, pytest, torch
import pytorch_lightning
from pytorch_lightning.demos.boring_classes import BoringModel, RandomDataset
from faultlab import assert_detected, guards, inject
from scenarios.digits.guards import FiniteLoss
from scenarios.digits.model import DigitsData, LitDigits as LitModel
Trainer = functools.partial(pytorch_lightning.Trainer, logger=False, enable_checkpointing=False, limit_train_batches=4,
                            limit_val_batches=1, enable_progress_bar=False, enable_model_summary=False)
data = DigitsData
NotFinite = RuntimeError
module, mine = LitModel(), []
samples = torch.utils.data.TensorDataset(torch.rand(8, 1, 8, 8), torch.arange(8))
train_dataloader = torch.utils.data.DataLoader(samples, 4)
loader, optimizer = train_dataloader, torch.optim.SGD(module.parameters(), 0.1)
model, validation, F = module, torch.utils.data.DataLoader(samples, 8), torch.nn.functional
"""


class Block(NamedTuple):
    """A fenced block; ``line`` counts from 1."""

    page: Path
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.line}"


@functools.cache
def _fenced() -> list[Block]:
    found = []
    for page in PAGES:
        for token in MarkdownIt().parse(page.read_text(encoding="utf-8")):
            if token.type == "fence":
                assert token.map is not None
                found.append(Block(page, token.map[0] + 1, token.info, token.content))
    return found


def blocks(*languages: str) -> list[Block]:
    return [block for block in _fenced() if block.language.split(" ")[0] in languages]


def commands(block: Block) -> Iterator[list[str]]:
    """The arguments of every call of faultlab in a block of shell."""
    for line in block.text.replace("\\\n", " ").splitlines():
        for part in line.removeprefix("$ ").partition(" # ")[0].split("&&"):
            if part.strip().startswith("faultlab "):
                yield shlex.split(part, comments=True)[1:]


@pytest.mark.parametrize("block", [b for b in blocks("yaml") if "schema: 1" in b.text], ids=str)
def test_every_scenario_in_the_documentation_is_one(tmp_path: Path, block: Block) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text(block.text)
    assert load(file).name


@pytest.mark.parametrize("block", [block for block in blocks("sh", "console") if any(commands(block))], ids=str)
def test_every_command_in_the_documentation_can_be_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: Block
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("scenarios", "reports", "shards"):
        (tmp_path / name).mkdir()
    for words in commands(block):
        # The files and folders that it names are the reader's.
        for word in words:
            path = Path(word)
            if "/" in word and not path.is_absolute():
                path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in (".yaml", ".py", ".json") and not path.exists():
                path.write_text("")
            elif "/" in word and not path.suffix and "*" not in word:
                path.mkdir(parents=True, exist_ok=True)
        _parse(words)


def _parse(words: list[str]) -> None:
    """Raises click's error where the command, an option or an argument is none."""
    command: click.Command = group
    context = click.Context(group, info_name="faultlab")
    while isinstance(command, click.Group):
        name, found, words = command.resolve_command(context, words)
        if "--help" in words or "--version" in words:
            return
        assert found is not None
        context = found.make_context(name, list(words), parent=context)
        command, words = found, [*context._protected_args, *context.args]


@pytest.mark.parametrize(
    "page",
    [
        pytest.param(
            page, id=str(page.relative_to(ROOT)), marks=CAMPAIGNS if page.name in ("python.md", "testing.md") else ()
        )
        for page in sorted({block.page for block in blocks("python")} - {SHOWS_A_VICTIM})
    ],
)
def test_the_python_of_a_page_runs_from_its_top_to_its_end(tmp_path: Path, page: Path) -> None:
    # In one file of pytest's, since pages have tests among their examples; the rest runs when it is imported.
    code = [PREAMBLE, *(f"# {block}\n{block.text}" for block in blocks("python") if block.page == page)]
    (tmp_path / "test_page.py").write_text("\n".join(code))
    (tmp_path / "mine.yaml").write_text((ROOT / "scenarios" / "digits" / "scenario.yaml").read_text())
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(tmp_path)])}
    command = ["-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider", "test_page.py"]
    done = warm.run(command, cwd=tmp_path, env=environment)
    # 5: a page without a test, whose code has run all the same.
    assert done.returncode in (0, 5), done.stdout + done.stderr
