"""``faultlab report``: writes the pages of a report anew."""

from __future__ import annotations

from pathlib import Path

import click

from faultlab.errors import UsageError
from faultlab.gate import evidence


@click.command("report")
@click.argument("folder", type=click.Path(path_type=Path, file_okay=False, exists=True), default=Path("reports"))
@click.option("--lesson", is_flag=True, help="Write lesson.html too, which hides what was broken until it is guessed.")
@click.option("--open", "opened", is_flag=True, help="Show the page in the browser.")
def command(folder: Path, lesson: bool, opened: bool) -> int:
    """Write the pages and all that is made of report.json anew, of the run in FOLDER or of all below it.

    Nothing is run: what is written says what report.json says. One that was edited is refused. [default: reports]
    """
    from faultlab.report import files

    pages = []
    # A folder that is written without its name, such as `.`, has one all the same.
    for file in evidence.find([folder if folder.name not in ("", "..") else folder.resolve()]):
        report = evidence.read(file)
        if report.scenario != file.parent.name:
            remedy = "a run's folder has the scenario's name; give it that name"
            raise UsageError(f"{file} is a report of {report.scenario!r}: {remedy}")
        pages.append(files.write(report, file.parent.parent, lesson))
        click.echo(pages[-1])
    if opened:
        click.launch(str(pages[0] if len(pages) == 1 else folder / "index.html"))
    return 0
