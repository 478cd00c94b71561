"""``faultlab dev``: begins failure modes, guards and formats, and renews what is made from the source."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import click

from faultlab.catalogue import index
from faultlab.core import atomic_write
from faultlab.errors import UsageError

_FOLDER = click.Path(path_type=Path, file_okay=False)


@click.group("dev")
def command() -> None:
    """Add failure modes, guards and formats, and keep what is made of them fresh."""


@command.command("docs")
@click.option("--check", is_flag=True, help="Write nothing; end with status 1 where a page is stale.")
@click.option("--into", type=_FOLDER, help="The folder of the pages.  [default: docs of the checkout]")
def docs(check: bool, into: Path | None) -> int:
    """Write the pages that are made from the source: the catalogue, and the table of modules."""
    from faultlab.report.docs import catalogue_pages, module_pages

    folder = into or _checkout() / "docs"
    catalogue = catalogue_pages.pages(catalogue_pages.built_in())
    fresh: dict[str, str | None] = {f"catalogue/{name}": text for name, text in catalogue.items()}
    fresh[module_pages.NAME] = module_pages.page()
    # Pages of families that are gone; what a person wrote there stays.
    there = [file for file in (folder / "catalogue").glob("*.md") if catalogue_pages.MARK in _text(file)]
    gone = {f"catalogue/{file.name}" for file in there} - fresh.keys()
    return _bring_up_to_date(folder, {**fresh, **dict.fromkeys(gone)}, check, "pages", "faultlab dev docs")


@command.command("schemas")
@click.option("--check", is_flag=True, help="Write nothing; end with status 1 where a schema is stale.")
@click.option("--into", type=_FOLDER, help="The folder of the schemas.  [default: docs of the checkout]")
def schemas(check: bool, into: Path | None) -> int:
    """Write the JSON Schemas of report.json and of scenario files."""
    from faultlab.core.report import dump
    from faultlab.report import schema

    made = {"report.schema.json": schema.report_schema(), "scenario.schema.json": schema.scenario_schema()}
    texts: dict[str, str | None] = {name: dump(data, indent=2) + "\n" for name, data in made.items()}
    return _bring_up_to_date(into or _checkout() / "docs", texts, check, "schemas", "faultlab dev schemas")


@command.command("new")
@click.argument("words", nargs=-1, required=True, metavar="[mode|guard|format] NAME")
@click.option("--seam", metavar="SEAM", help="Where a failure mode attaches.  [default: where most of the family do]")
@click.option("--into", type=click.Path(path_type=Path, file_okay=False, exists=True),
              help="The folder to write to.  [default: that of the others in the checkout]")  # fmt: skip
def new(words: tuple[str, ...], seam: str | None, into: Path | None) -> None:
    """Begin a failure mode, a guard or a report format, in a file to fill in.

    NAME is that of a failure mode, such as loss.wrong-sign; of a guard's class, such as LabelsSpread; or of the file
    that a format writes, such as findings.csv.
    """
    kind, name = ("mode", words[0]) if len(words) == 1 else (words[0], words[1])
    if kind not in _BEGIN or len(words) > 2 or name in _BEGIN:
        raise click.UsageError(f"Name one thing to begin: [{'|'.join(_BEGIN)}] NAME.")
    if seam is not None and kind != "mode":
        raise click.UsageError("Only a failure mode has a --seam.")
    try:
        _BEGIN[kind](name, seam, into)
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None


def _begin_mode(id: str, seam: str | None, into: Path | None) -> None:
    from faultlab.catalogue import scaffold

    file, mode = scaffold.add(id, seam, into or _checkout() / "faultlab" / "injectors")
    click.echo(f"{os.path.relpath(file)}:{mode.line}: {mode.id}, to be filled in: {', '.join(scaffold.unfilled(mode))}")
    click.echo(f"    {mode.seam}: {scaffold.seams()[mode.seam].about}")
    click.echo(
        "    Its tests fail until it is: "
        "`pytest tests/catalogue/test_catalogue.py tests/catalogue/test_dev.py tests/injectors/test_contract.py`,"
    )
    click.echo("    then `python -m tests.measure` and `faultlab dev docs`.")


def _begin_guard(name: str, seam: None, into: Path | None) -> None:
    from faultlab.catalogue import guard_scaffold

    file, *listing = guard_scaffold.add(name, into or _checkout() / "faultlab" / "guards")
    click.echo(f"{os.path.relpath(file)}: {name}, to be filled in: docstrings, checks, what it looks at")
    for changed in listing:
        click.echo(f"    It is listed in {os.path.relpath(changed)}.")
    click.echo(f"    Its tests fail until it is: `pytest tests/guards/test_contract.py -k {name}`,")
    click.echo("    then `python benchmarks/prescriptions.py --write` and `faultlab dev docs`.")


def _begin_format(name: str, seam: None, into: Path | None) -> None:
    from faultlab.report import format_scaffold

    file = format_scaffold.add(name, into or _checkout() / "faultlab" / "report" / "formats")
    click.echo(f"{os.path.relpath(file)}: {name}, to be filled in: docstrings, render")
    click.echo(f"    Its tests fail until it is: `pytest tests/report/test_reporters.py -k {name}`,")
    click.echo("    then `faultlab dev docs`.")


_BEGIN: Mapping[str, Callable[[str, Any, Path | None], None]] = {
    "mode": _begin_mode,
    "guard": _begin_guard,
    "format": _begin_format,
}


def _bring_up_to_date(folder: Path, texts: Mapping[str, str | None], check: bool, what: str, by: str) -> int:
    """Writes the files that differ, and takes those away whose text is None; with ``check`` names them, status 1."""
    stale = [name for name, text in texts.items() if text is None or _text(folder / name) != text]
    number = sum(text is not None for text in texts.values())
    if check and stale:
        click.echo(f"stale in {folder}: {', '.join(sorted(stale))}\n    `{by}` renews them.", err=True)
        return 1
    if not check:
        try:
            _renew(folder, {name: texts[name] for name in stale})
        except OSError as error:
            raise UsageError(f"{folder}: {error.strerror}; name a folder that can be written to by --into") from None
    renewed = "all fresh" if check else f"{len(stale)} renewed"
    click.echo(f"{folder}: {number} {what}, {renewed}")
    return 0


def _text(file: Path) -> str:
    return file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""


def _renew(folder: Path, texts: Mapping[str, str | None]) -> None:
    for name, text in texts.items():
        file = folder / name
        if text is None:
            file.unlink()
        else:
            file.parent.mkdir(parents=True, exist_ok=True)
            atomic_write.write(file, text)


def _checkout() -> Path:
    """The folder that holds faultlab's sources; raises UsageError where it is installed without them."""
    root = index.INJECTORS.parents[1]
    if not (root / "pyproject.toml").is_file():
        raise UsageError(f"{root} is no checkout of faultlab; name the folder to write to by --into")
    return root
