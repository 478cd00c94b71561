"""``faultlab dev``: scaffold failure modes, guards, seams, formats, engines and frameworks, and regenerate docs."""

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
    """Scaffold failure modes and other parts of faultlab, and regenerate the pages that are derived from them."""


@command.command("docs")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a page is out of date.")
@click.option("--into", type=_FOLDER, help="Write the pages to this folder.  [default: docs/ of the checkout]")
def docs(check: bool, into: Path | None) -> int:
    """Regenerate the catalogue and the table of modules."""
    from faultlab.report.docs import catalogue_pages, module_pages

    folder = into or _checkout() / "docs"
    catalogue = catalogue_pages.pages(catalogue_pages.built_in())
    fresh: dict[str, str | None] = {f"catalogue/{name}": text for name, text in catalogue.items()}
    fresh[module_pages.NAME] = module_pages.page()
    # Pages of families that no longer exist. Pages written by hand stay.
    there = [file for file in (folder / "catalogue").glob("*.md") if catalogue_pages.MARK in _text(file)]
    gone = {f"catalogue/{file.name}" for file in there} - fresh.keys()
    return _bring_up_to_date(folder, {**fresh, **dict.fromkeys(gone)}, check, "pages", "faultlab dev docs")


@command.command("schemas")
@click.option("--check", is_flag=True, help="Write nothing; exit with 1 if a schema is out of date.")
@click.option("--into", type=_FOLDER, help="Write the schemas to this folder.  [default: docs/ of the checkout]")
def schemas(check: bool, into: Path | None) -> int:
    """Regenerate the JSON Schemas of report.json and of scenario files."""
    from faultlab.core.report import dump
    from faultlab.report import schema

    made = {"report.schema.json": schema.report_schema(), "scenario.schema.json": schema.scenario_schema()}
    texts: dict[str, str | None] = {name: dump(data, indent=2) + "\n" for name, data in made.items()}
    return _bring_up_to_date(into or _checkout() / "docs", texts, check, "schemas", "faultlab dev schemas")


@command.command("new")
@click.argument("words", nargs=-1, required=True, metavar="[mode|guard|seam|format|engine|framework] NAME")
@click.option(
    "--seam",
    metavar="SEAM",
    help="Attach the failure mode at this injection point.  [default: the most common one of its family]",
)
@click.option("--into", type=click.Path(path_type=Path, file_okay=False, exists=True),
              help="Write to this folder.  [default: the folder of its kind in the checkout]")  # fmt: skip
def new(words: tuple[str, ...], seam: str | None, into: Path | None) -> None:
    """Create a part of faultlab, such as a failure mode.

    NAME is the id of a failure mode, such as loss.wrong-sign; the class of a guard, such as LabelsSpread, or of an
    injection point, such as GradientBucket; the file that a format writes, such as findings.csv; or the name of an
    engine or framework, such as my_cluster.
    """
    kind, name = ("mode", words[0]) if len(words) == 1 else (words[0], words[1])
    if kind not in _BEGIN or len(words) > 2 or name in _BEGIN:
        raise click.UsageError(f"expected [{'|'.join(_BEGIN)}] NAME, got {' '.join(words)!r}")
    if seam is not None and kind != "mode":
        raise click.UsageError("--seam applies to failure modes only")
    try:
        _BEGIN[kind](name, seam, into)
    except OSError as error:
        raise UsageError(f"{error.filename}: {error.strerror}") from None


def _begin_mode(id: str, seam: str | None, into: Path | None) -> None:
    from faultlab.catalogue import scaffold

    file, mode = scaffold.add(id, seam, into or _checkout() / "faultlab" / "injectors")
    click.echo(f"{os.path.relpath(file)}:{mode.line}: {mode.id}; fill in: {', '.join(scaffold.unfilled(mode))}")
    click.echo(f"    {mode.seam}: {scaffold.seams()[mode.seam].about}")
    click.echo(
        "    Its tests fail until then: "
        "`pytest tests/catalogue/test_catalogue.py tests/catalogue/test_dev.py tests/injectors/test_contract.py`,"
    )
    click.echo("    Then run `python -m tests.measure` and `faultlab dev docs`.")


def _begin_guard(name: str, seam: None, into: Path | None) -> None:
    from faultlab.catalogue import guard_scaffold

    file, *listing = guard_scaffold.add(name, into or _checkout() / "faultlab" / "guards")
    click.echo(f"{os.path.relpath(file)}: {name}; fill in: docstrings, checks, hooks")
    for changed in listing:
        click.echo(f"    Added to {os.path.relpath(changed)}.")
    click.echo(f"    Its tests fail until then: `pytest tests/guards/test_contract.py -k {name}`,")
    click.echo("    Then run `python benchmarks/prescriptions.py --write` and `faultlab dev docs`.")


def _begin_format(name: str, seam: None, into: Path | None) -> None:
    from faultlab.report import format_scaffold

    file = format_scaffold.add(name, into or _checkout() / "faultlab" / "report" / "formats")
    click.echo(f"{os.path.relpath(file)}: {name}; fill in: docstrings, render")
    click.echo(f"    Its tests fail until then: `pytest tests/report/test_reporters.py -k {name}`,")
    click.echo("    Then run `faultlab dev docs`.")


def _begin_seam(name: str, seam: None, into: Path | None) -> None:
    from faultlab.catalogue import seam_scaffold

    point, hook, listing = seam_scaffold.add(name, into or _checkout() / "faultlab")
    click.echo(f"{os.path.relpath(point)}: {name}; fill in: docstrings, kind, methods, inapplicable")
    click.echo(f"{os.path.relpath(hook)}: its hook; fill in: what it attaches to")
    click.echo(f"    Added to {os.path.relpath(listing)}.")
    click.echo("    Its tests fail until a failure mode uses it: `pytest tests/catalogue/test_injection_points.py`,")
    click.echo(f"    begin one with `faultlab dev new FAMILY.NAME --seam {name}`.")


def _begin_engine(name: str, seam: None, into: Path | None) -> None:
    from faultlab.catalogue import interface_scaffold
    from faultlab.engines import ENTRY_POINT_GROUP

    file, *listing = interface_scaffold.add_engine(name, into or _checkout() / "faultlab" / "engines")
    click.echo(f"{os.path.relpath(file)}: {name}; fill in: every method")
    _say_where_it_is_listed(listing, ENTRY_POINT_GROUP, name)
    click.echo("    Test it by a class that derives from EngineTester, as in tests/engines/test_engines.py.")


def _begin_framework(name: str, seam: None, into: Path | None) -> None:
    from faultlab.catalogue import interface_scaffold
    from faultlab.core.framework_names import ENTRY_POINT_GROUP

    _, file, seams, *listing = interface_scaffold.add_framework(name, into or _checkout() / "faultlab" / "frameworks")
    click.echo(f"{os.path.relpath(file)}: {name}; fill in: every method")
    click.echo(f"    Its own hooks go into {os.path.relpath(seams.parent)}.")
    _say_where_it_is_listed(listing, ENTRY_POINT_GROUP, name)
    click.echo("    Test it by a class that derives from FrameworkTester, as in tests/frameworks/test_toy.py.")


def _say_where_it_is_listed(listing: list[Path], group: str, name: str) -> None:
    for changed in listing:
        click.echo(f"    Added to {os.path.relpath(changed)}.")
    if not listing:
        click.echo(f"    Add it to the entry points of your package: `{name}` in the group `{group}`.")


_BEGIN: Mapping[str, Callable[[str, Any, Path | None], None]] = {
    "mode": _begin_mode,
    "guard": _begin_guard,
    "seam": _begin_seam,
    "format": _begin_format,
    "engine": _begin_engine,
    "framework": _begin_framework,
}


def _bring_up_to_date(folder: Path, texts: Mapping[str, str | None], check: bool, what: str, by: str) -> int:
    """Write the files that differ and remove those whose text is None; with ``check``, only name them and return 1."""
    stale = [name for name, text in texts.items() if text is None or _text(folder / name) != text]
    number = sum(text is not None for text in texts.values())
    if check and stale:
        click.echo(f"out of date in {folder}: {', '.join(sorted(stale))}\n    Run `{by}`.", err=True)
        return 1
    if not check:
        try:
            _renew(folder, {name: texts[name] for name in stale})
        except OSError as error:
            raise UsageError(f"{folder}: {error.strerror}\n    Name a writable folder with --into.") from None
    renewed = "all up to date" if check else f"{len(stale)} updated"
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
    """Return the root of the checkout. Raises UsageError if faultlab is installed without one."""
    root = index.INJECTORS.parents[1]
    if not (root / "pyproject.toml").is_file():
        raise UsageError(f"{root} is not a checkout of faultlab\n    Name the folder to write to with --into.")
    return root
