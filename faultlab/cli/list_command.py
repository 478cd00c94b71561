"""``faultlab list``: list the failure modes."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence

import click

from faultlab.catalogue import index, measured
from faultlab.catalogue.effects import EFFECTS
from faultlab.catalogue.failure_mode import SEVERITIES, FailureMode, families, matching, nearest
from faultlab.cli.shell_completion import failure_modes
from faultlab.core import framework_names
from faultlab.errors import UsageError


@click.command("list")
@click.argument("patterns", nargs=-1, metavar="[GLOB]...", shell_complete=failure_modes)
@click.option("--family", multiple=True, metavar="NAME", help="Filter by family (repeatable).")
@click.option("--seam", multiple=True, metavar="NAME", help="Filter by injection point, such as Loss (repeatable).")
@click.option("--severity", multiple=True, type=click.Choice(SEVERITIES), help="Filter by severity (repeatable).")
@click.option(
    "--effect", multiple=True, type=click.Choice(EFFECTS), help="Filter by the framework's reaction (repeatable)."
)
@click.option(
    "--framework",
    type=click.Choice([*framework_names.BUILT_IN]),
    default=framework_names.DEFAULT,
    show_default=True,
    help="Show how the installed version of this framework reacts, and leave out failure modes that can't occur in it.",
)
@click.option(
    "--applicable-to",
    "target",
    metavar="CLASS",
    help="Show only failure modes that apply to this class or scenario file.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(patterns: tuple[str, ...], family: tuple[str, ...], seam: tuple[str, ...], severity: tuple[str, ...],
            effect: tuple[str, ...], framework: str, target: str | None, as_json: bool) -> None:  # fmt: skip
    """List the failure modes: all of them, or those that match a glob such as 'loss.*'.

    Repeated options are ORed; different options are ANDed.

    --applicable-to names a scenario, or a class that can be built without arguments and has its own data loaders. To
    find what applies to it, faultlab imports it and trains it without a fault.
    """
    _check("family", family)
    _check("seam", seam)
    asked = {"family": family, "seam": seam, "severity": severity}
    matched = [mode for mode in _matched(patterns) if not measured.inapplicable(mode.id, framework)]
    chosen = [m for m in matched if all(not any_of or getattr(m, name) in any_of for name, any_of in asked.items())]
    version = measured.installed(framework)
    chosen = [mode for mode in chosen if not effect or mode.effect.on(framework, version) in effect]
    reasons = _reasons(target, chosen, quiet=as_json)
    show(chosen, as_json, reasons, framework)


def show(
    modes: Sequence[FailureMode],
    as_json: bool,
    reasons: Mapping[str, str] | None = None,
    framework: str = framework_names.DEFAULT,
) -> None:
    """Print failure modes and their effects in a framework; ``reasons`` has why some do not apply to a target."""
    reasons = reasons or {}
    if as_json:
        from faultlab.core.report import dump

        click.echo(dump([summary(mode, framework) | _applies(reasons.get(mode.id)) for mode in modes], indent=1))
        return
    shown = [mode for mode in modes if not reasons.get(mode.id)]
    version = measured.installed(framework)
    width = max((len(mode.id) for mode in shown), default=0)
    for title, members in families(shown):
        click.secho(f"{title} ({len(members)})", bold=True)
        for mode in members:
            effect = mode.effect.on(framework, version)
            click.echo(f"  {mode.id:{width}}  {mode.severity:8}  {effect:6}  {mode.summary}")
    why_not = Counter(reason for reason in reasons.values() if reason)
    if why_not:
        click.secho(f"not applicable ({why_not.total()})", bold=True)
        for reason, count in why_not.most_common():
            click.echo(f"  {count:3}  {reason}")
    click.echo(f"{len(shown)} failure mode{'s' * (len(shown) != 1)}; see `faultlab explain ID`.")


def summary(mode: FailureMode, framework: str = framework_names.DEFAULT) -> dict[str, object]:
    """Return a failure mode as in the JSON list; ``effect`` is the one in the framework's installed version."""
    return {
        "id": mode.id,
        "family": mode.family,
        "summary": mode.summary,
        "severity": mode.severity,
        "effect": mode.effect.on(framework, measured.installed(framework)),
        "effects": mode.effect.to_json(),
        "seam": mode.seam,
        "when": mode.when,
        "stages": list(mode.stages),
        "doses": {dose.name: dose.default for dose in mode.doses},
        "needs": list(mode.needs),
        "evidence": list(mode.evidence),
    }


def _matched(patterns: tuple[str, ...]) -> list[FailureMode]:
    modes = index.modes()
    for pattern in patterns:
        if not matching(pattern, modes):
            raise UsageError(f"no failure mode matches {pattern!r}. {nearest(pattern, modes)}".strip())
    return [modes[id] for id in modes if not patterns or any(matching(pattern, [id]) for pattern in patterns)]


def _check(name: str, values: tuple[str, ...]) -> None:
    """Raise UsageError if no failure mode has the value."""
    known = sorted({getattr(mode, name) for mode in index.modes().values()})
    for value in values:
        if value not in known:
            hint = nearest(value, known) or f"Known: {', '.join(known)}."
            raise UsageError(f"no failure mode has the {name} {value!r}. {hint}")


def _reasons(target: str | None, modes: list[FailureMode], quiet: bool) -> Mapping[str, str]:
    """Return why each mode does not apply to the target, or an empty string; without a target, nothing."""
    if target is None:
        return {}
    from faultlab.campaign.applicability_survey import survey
    from faultlab.cli.progress import Progress

    with Progress(quiet=quiet or not sys.stdout.isatty()) as progress:
        return survey(target, [mode.id for mode in modes], progress)


def _applies(reason: str | None) -> dict[str, object]:
    return {} if reason is None else {"applies": not reason, "reason": reason}
