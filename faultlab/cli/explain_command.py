"""``faultlab explain``."""

from __future__ import annotations

import os
import textwrap

import click

from faultlab import index
from faultlab.catalogue import FailureMode, nearest
from faultlab.errors import UsageError
from faultlab.fault import STAGES
from faultlab.report.text import address

_EFFECTS = {"raises": "ends the run with an error", "warns": "warns and goes on", "silent": "says nothing"}


@click.command("explain")
@click.argument("id")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(id: str, as_json: bool) -> None:
    """Explain one failure mode: what is broken, why it goes unnoticed, and what to do about it."""
    modes = index.modes()
    if id not in modes:
        raise UsageError(f"unknown failure mode {id!r}. {nearest(id, modes) or '`faultlab list` shows them all.'}")
    mode = modes[id]
    if as_json:
        from faultlab.cli.list_command import summary
        from faultlab.results import dump

        sections = mode.sections
        told = {"effect_text": sections.effect, "unnoticed": sections.unnoticed, "example": sections.example}
        place = {"remedy": sections.remedy, "source": f"{_relative(mode.file)}:{mode.line}"}
        click.echo(dump({**summary(mode), **told, **place}, indent=1))
        return
    click.secho(mode.id, bold=True)
    click.echo(_wrapped(mode.summary))
    for title, text in _paragraphs(mode):
        click.echo()
        click.secho(title, bold=True)
        click.echo(_wrapped(text))


def _paragraphs(mode: FailureMode) -> list[tuple[str, str]]:
    sections = mode.sections
    acts = "by default in every step" if mode.when == "always" else "by default in one step, half-way"
    stages = {("train",): "", STAGES: " of every stage"}.get(mode.stages, f" of {' and '.join(mode.stages)}")
    doses = [
        f"{dose.name} ({', '.join(filter(None, [f'default {dose.default}', dose.bounds]))}): {dose.meaning}"
        for dose in mode.doses
    ]
    return [
        *([("What exactly", sections.details)] if sections.details else []),
        ("Effect", sections.effect),
        ("Why it goes unnoticed", sections.unnoticed),
        ("Example", sections.example),
        ("Remedy", sections.remedy),
        ("In short", f"{mode.severity}; stock Lightning {_EFFECTS[mode.effect]}; acts {acts}{stages}, at {mode.seam}."),
        *([("Doses", "\n".join(doses))] if doses else []),
        ("Evidence", "\n".join(map(_link, mode.evidence)) or mode.no_evidence),
        ("Source", f"{_relative(mode.file)}:{mode.line}"),
    ]


def _link(evidence: str) -> str:
    return f"{evidence}  {address(evidence)}".rstrip()


def _wrapped(text: str) -> str:
    lines = []
    for line in text.split("\n"):
        is_code = line.startswith("    ")
        filled = textwrap.fill(line, 100, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
        lines.append(line if is_code else filled)
    return "\n".join(lines)


def _relative(file: str) -> str:
    try:
        return os.path.relpath(file)
    except ValueError:
        return file
