"""``faultlab explain``: print what a failure mode breaks, why it goes undetected, and how to fix it."""

from __future__ import annotations

import os
import textwrap

import click

from faultlab.catalogue import guard_index, index, measured
from faultlab.catalogue.failure_mode import FailureMode, nearest
from faultlab.cli.shell_completion import failure_modes
from faultlab.core import framework_names
from faultlab.errors import UsageError
from faultlab.report import described
from faultlab.report.text import address


@click.command("explain")
@click.argument("id", metavar="ID|FAMILY", shell_complete=failure_modes)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(id: str, as_json: bool) -> None:
    """Explain one failure mode: what it breaks, why it goes undetected, and how to fix it.

    For a FAMILY, such as loss, its failure modes are listed.
    """
    modes = index.modes()
    if members := [mode for mode in modes.values() if mode.family == id]:
        from faultlab.cli.list_command import show

        show(members, as_json)
        return
    if id not in modes:
        # A word without a period is meant as a family.
        known = [*modes] if "." in id else sorted({mode.family for mode in modes.values()})
        hint = nearest(id, known) or nearest(id, modes) or "List them with `faultlab list`."
        raise UsageError(f"unknown failure mode {id!r}. {hint}")
    mode = modes[id]
    if as_json:
        from faultlab.cli.list_command import summary
        from faultlab.core.report import dump

        sections = mode.sections
        told = {"effect_text": sections.effect, "undetected": sections.undetected, "example": sections.example}
        place = {"remedy": sections.remedy, "source": f"{_relative(mode.file)}:{mode.line}"}
        click.echo(
            dump(
                {
                    **summary(mode),
                    **told,
                    **place,
                    "measured": {name: _measurement(mode, name) for name in measured.tables()},
                    "guards": guard_index.detecting(mode.id),
                },
                indent=1,
            )
        )
        return
    click.secho(mode.id, bold=True)
    click.echo(_wrapped(mode.summary))
    for title, text in _paragraphs(mode):
        click.echo()
        click.secho(title, bold=True)
        click.echo(_wrapped(text))


def _paragraphs(mode: FailureMode) -> list[tuple[str, str]]:
    needs, doses, guards = described.needs(mode), described.doses(mode), guard_index.detecting(mode.id)
    acts = f"injected {described.timing(mode)}, at the injection point {mode.seam}"
    return [
        *described.sections(mode),
        ("In short", f"{mode.severity}; stock {framework_names.title()} {described.declared(mode)}; {acts}."),
        *([(_measured_on(), "\n".join(models))] if (models := described.models(mode)) else [("Measured", "Not yet.")]),
        ("In a plain PyTorch loop", _in_loops(mode)),
        *([("Ready-made guards that detected it", ", ".join(guards))] if guards else []),
        *([("Needs", needs)] if needs else []),
        *([("Doses", "\n".join(f"{dose}  {meaning}" for dose, meaning in doses))] if doses else []),
        ("Evidence", "\n".join(map(_link, mode.evidence)) or mode.no_evidence),
        ("Source", f"{_relative(mode.file)}:{mode.line}"),
    ]


def _measured_on(framework: str = framework_names.DEFAULT) -> str:
    name = framework_names.title(framework)
    known, installed = described.version(framework), measured.installed(framework)
    if installed == known:
        return f"Measured on {name} {installed} (the installed version)"
    return f"Measured on {name} {known} (installed: {installed or 'none'}; not measured there)"


def _in_loops(mode: FailureMode) -> str:
    """Return the declared effect in a plain PyTorch loop, and below it the measured ones."""
    declared, models = described.declared(mode, "torch"), described.models(mode, "torch")
    lines = [f"{declared[:1].upper()}{declared[1:]}."]
    return "\n".join([*lines, f"{_measured_on('torch')}:", *models] if models else lines)


def _measurement(mode: FailureMode, framework: str) -> dict[str, object]:
    table = measured.table(framework)
    found = {"versions": table.versions, "models": table.models, "effects": table.modes.get(mode.id, {})}
    return {**found, "installed": measured.installed(framework)}


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
