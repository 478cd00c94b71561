"""``faultlab list``."""

from __future__ import annotations

import click

from faultlab import index
from faultlab.catalogue import FailureMode, families, matching, nearest
from faultlab.errors import UsageError


@click.command("list")
@click.argument("patterns", nargs=-1, metavar="[GLOB]...")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(patterns: tuple[str, ...], as_json: bool) -> None:
    """List the failure modes, all or those that a glob such as 'loss.*' matches."""
    modes = index.modes()
    for pattern in patterns:
        if not matching(pattern, modes):
            raise UsageError(f"no failure mode matches {pattern!r}. {nearest(pattern, modes)}".strip())
    chosen = [modes[id] for id in modes if not patterns or any(matching(pattern, [id]) for pattern in patterns)]
    if as_json:
        from faultlab.results import dump

        click.echo(dump([summary(mode) for mode in chosen], indent=1))
        return
    width = max(len(mode.id) for mode in chosen)
    for family, members in families(chosen):
        click.secho(f"{family} ({len(members)})", bold=True)
        for mode in members:
            click.echo(f"  {mode.id:{width}}  {mode.severity:8}  {mode.effect:6}  {mode.summary}")
    click.echo(f"{len(chosen)} failure modes; `faultlab explain ID` says more of each.")


def summary(mode: FailureMode) -> dict[str, object]:
    """A failure mode as the JSON list shows it."""
    return {
        "id": mode.id,
        "family": mode.family,
        "summary": mode.summary,
        "severity": mode.severity,
        "effect": mode.effect,
        "seam": mode.seam,
        "when": mode.when,
        "stages": list(mode.stages),
        "doses": {dose.name: dose.default for dose in mode.doses},
        "needs": list(mode.needs),
        "evidence": list(mode.evidence),
    }
