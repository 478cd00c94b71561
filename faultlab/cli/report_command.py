"""``faultlab report``: regenerate the pages of a report."""

from __future__ import annotations

from pathlib import Path

import click

from faultlab.errors import UsageError
from faultlab.gate import evidence


@click.command("report")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default=Path("reports"))
@click.option("--lesson", is_flag=True, help="Also write lesson.html, a quiz that hides each fault until you guess it.")
@click.option("--open", "opened", is_flag=True, help="Open the page in a browser.")
@click.option("--quiet", "-q", is_flag=True, help="Don't print the paths of the pages.")
def command(folder: Path, lesson: bool, opened: bool, quiet: bool) -> int:
    """Regenerate the pages and the other files that are derived from report.json.

    FOLDER is the folder of one report, such as reports/lit-model, or a folder that holds several (default: reports). No
    training is run. A report.json that was modified after it was written is rejected.
    """
    from faultlab.report import files

    pages = []
    # `.` and `..` have no name of their own.
    for file in evidence.find([folder if folder.name not in ("", "..") else folder.resolve()]):
        report = evidence.read(file)
        named = file.resolve().parent.parent if report.selection else file.parent
        if report.scenario != named.name:
            remedy = f"Rename the folder to {report.scenario!r}."
            raise UsageError(f"{file}: the report is of {report.scenario!r}, not {named.name!r}\n    {remedy}")
        pages.append(files.write(report, named.parent, lesson))
        if not quiet:
            click.echo(pages[-1])
    if opened:
        click.launch(str(pages[0] if len(pages) == 1 else folder / "index.html"))
    return 0
