"""``faultlab replay``: run one fault in the foreground."""

from __future__ import annotations

import math
import textwrap
from dataclasses import replace
from pathlib import Path

import click

from faultlab import engines
from faultlab.campaign.campaign import Options
from faultlab.campaign.healthy_runs import Watch
from faultlab.campaign.replaying import Replay, Replayed, fault_of, thinned
from faultlab.catalogue import guard_index, index
from faultlab.cli import options
from faultlab.cli.multi_run import told
from faultlab.cli.param_types import Number
from faultlab.cli.shell_completion import failure_modes
from faultlab.config.lint import require_targets
from faultlab.config.scenario import load
from faultlab.config.target_check import require_one_process
from faultlab.core.ranks import activity
from faultlab.core.report import Baseline, FaultResult, Status, dump
from faultlab.errors import FaultlabError
from faultlab.report.overview import measured, target_lines
from faultlab.report.text import harmless

_MEANING = {
    Status.DETECTED: "detected",
    Status.WARNED: "only a warning: no detector stopped or flagged it",
    Status.SILENT: "silent: it acted and changed the run, and no detector reacted",
    Status.NO_EFFECT: "no effect: it acted, and the run equals the clean one",
    Status.NOT_APPLICABLE: "not applicable",
    Status.NOT_ACTIVATED: "not activated: it never acted, so the run proves nothing",
    Status.TIMEOUT: "timeout: inconclusive",
    Status.ERROR: "error: inconclusive",
}


@click.command("replay")
@click.argument("fault", metavar="FAULT", shell_complete=failure_modes)
@options.scenario
@click.option("--debug", is_flag=True, help="Run in this process and stop in pdb where the fault acts.")
@click.option("--without-fault", is_flag=True, help="Do only the clean run.")
@options.seed
@click.option(
    "--timeout", type=Number(0.1), help="Time limit of the faulted run in seconds.  [default: measured on a clean run]"
)
@options.out
@options.engine
@options.no_warm
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document; the runs write to stderr.")
def command(fault: str, file: Path, debug: bool, without_fault: bool, seed: int, timeout: float | None, out: Path,
            engine: str | None, no_warm: bool, as_json: bool) -> int:  # fmt: skip
    """Run one FAULT in the foreground, and show your code's output, what changes at each step, and what detects it.

    FAULT is a fault as it is written in reports (loss.nan@step=8), a failure mode (loss.nan, which is injected at its
    default step), or a glob with exactly one match. The clean run comes first, then the faulted run. The result is
    the same as in `faultlab run`. The results are written to reports/SCENARIO/replays/.

    With --debug, the faulted run is repeated in this process under pdb, without a time limit. It stops in your
    training_step right after the fault first takes effect. It stops again if an exception ends the run, but not at
    a detection by a guard.

    Exit codes: 0 the fault took effect, 2 usage error, 3 the clean run failed, 4 the fault never took effect,
    130 interrupted.
    """
    if debug and as_json:
        raise click.UsageError("--debug and --json can't be combined: pdb needs the terminal")
    scenario = load(file)
    require_targets([scenario])
    if debug:
        require_one_process(scenario, "--debug")
    asked = fault_of(fault, scenario)
    audience = _Audience(quiet=as_json)
    working = engines.create(engine or engines.default(), engines.cores())
    if not no_warm:
        working.keep_warm()
    working.alone = True
    options = Options(seed=seed, timeout=timeout, out=out, watch=Watch())
    replay = Replay(scenario, working, options, audience, asked, 2 if as_json else 1)
    try:
        replayed = replay.run_clean() if without_fault and not debug else replay.run()
        if as_json:
            click.echo(dump(replayed.to_json(), indent=1))
        else:
            _show(replayed)
            click.echo(f"\n  {replay.folder}")
        if debug and not replayed.interrupted:
            _debug(replay, replayed, without_fault)
    except FaultlabError as error:
        raise told(error, file) from error
    finally:
        working.close()
    if replayed.interrupted:
        return 130
    return 0 if replayed.ran else 4


class _Audience:
    """A listener that prints plain lines: a live bar and the user's output would overwrite each other."""

    def __init__(self, quiet: bool) -> None:
        self._quiet = quiet

    def started(self, scenario: str) -> None:
        self._say("importing and running clean")

    def measured(self, baseline: Baseline) -> None:
        kind = "deterministic" if baseline.deterministic else "not deterministic"
        self._say(f"clean run {baseline.seconds:.2f} s, {baseline.steps} steps, {kind}")
        for line in target_lines(baseline.findings):
            self._say(f"warning: {harmless(line)}")
        for alarm in baseline.false_alarms:
            self._say(f"false alarm by {alarm.name}: {harmless(alarm.message)}")

    def settled(self, result: FaultResult) -> None:
        return

    def planned(self, total: int) -> None:
        return

    def judged(self, result: FaultResult) -> None:
        return

    def testing(self) -> None:
        self._say("running your tests with the fault")

    def showing(self, fault: str) -> None:
        if not self._quiet:
            click.secho(f"---- with {fault}" if fault else "---- the clean run", bold=True)

    def _say(self, text: str) -> None:
        if not self._quiet:
            click.echo(text)


def _show(replayed: Replayed) -> None:
    if replayed.interrupted:
        click.echo("interrupted: no verdict")
        return
    click.secho("---- step by step", bold=True)
    _show_steps(replayed)
    result = replayed.result
    if result is None:
        return
    click.echo()
    for title, text in _findings(replayed, result):
        click.secho(title, bold=True)
        click.echo(textwrap.indent(harmless(text), "  "))


def _show_steps(replayed: Replayed) -> None:
    result = replayed.result
    spoken: dict[int, list[str]] = {}
    if result is not None and result.first_step is not None:
        spoken.setdefault(result.first_step, []).append("the fault acts")
    for signal in replayed.signals:
        spoken.setdefault(signal.step, []).append(signal.who)
    faulted = f"{'faulted':>12}" if result is not None else ""
    click.echo(f"{'step':>8}{'clean loss':>14}{faulted}")
    shown = set()
    for step, clean, broken in thinned(replayed):
        shown.add(step)
        said = "   < " + ", ".join(dict.fromkeys(spoken[step])) if step in spoken else ""
        numbers = f"{_number(clean):>14}" + (f"{_number(broken):>12}" if result is not None else "")
        click.echo(f"{step:>8}{numbers}{said}")
    for step in sorted(set(spoken) - shown):
        click.echo(f"{step:>8}{'':>26}   < {', '.join(dict.fromkeys(spoken[step]))}")


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.5g}" if math.isfinite(value) else str(value)


def _findings(replayed: Replayed, result: FaultResult) -> list[tuple[str, str]]:
    mode = index.modes()[result.mode]
    times = f"{result.activations} time{'s' * (result.activations != 1)}"
    acted = f"{times}, first in step {result.first_step}" if result.activations else "never"
    spoken = [f"step {one.step}: {one.who}: {one.message.partition(chr(10))[0]}" for one in replayed.signals]
    verdict = "; ".join(filter(None, (_MEANING[result.status], result.reason)))
    harm = measured(result.harm) if result.harm else ""
    found = [
        ("It acted", acted),
        ("It ended", replayed.ended),
        ("Detected by", "\n".join(spoken) or "nothing"),
        ("Verdict", "\n".join(filter(None, (verdict, harm)))),
    ]
    if result.status in (Status.SILENT, Status.WARNED):
        found.append(("Why it goes undetected", _wrapped(mode.sections.undetected)))
        found.append(("What would have detected it", _prescribed(result)))
    if replayed.problems:
        found.append(("Warnings", "\n".join(replayed.problems)))
    if replayed.others:
        found.append(("Also matched", ", ".join(replayed.others)))
    found.append(("More", f"faultlab explain {mode.id}"))
    return [(title, text) for title, text in found if text]


def _prescribed(result: FaultResult) -> str:
    here = [f"{one.guard}, in step {one.step}, for {100 * (one.cost or 0):.1f} % of the time"
            for one in result.prescription]  # fmt: skip
    if here:
        return "\n".join(here)
    elsewhere = guard_index.detecting(result.mode)
    said = f"; on other models: {', '.join(elsewhere)}" if elsewhere else ""
    return f"no ready-made guard on this model{said}"


def _wrapped(text: str) -> str:
    return "\n".join(textwrap.fill(line, 100, break_on_hyphens=False) for line in text.split("\n"))


def _debug(replay: Replay, replayed: Replayed, without_fault: bool) -> None:
    """Repeat the faulted run in this process."""
    order, result = replay.order, replayed.result
    if order is None or result is None or replay.findings is None:
        click.echo("nothing to debug: the fault was not run", err=True)
        return
    from faultlab.worker import debugging

    click.secho("---- in the debugger", bold=True)
    asked = order.training
    assert asked is not None
    assert asked.fault is not None
    task = replace(asked, fault=None if without_fault else asked.fault, advice=None)
    own = replace(order, id=f"{order.id} debugged", task=task, root=f"{order.root}-debugged", echo=0)
    first = result.first_step if result.activations else None
    begun = asked.fault.trigger
    step = first if first is not None or begun is None or begun.kind != "step" else int(begun.number or 0)
    try:
        outcome = debugging.debug(
            replay.scenario.for_victims(), own, step, lambda text: click.echo(f"faultlab: {text}")
        )
    except debugging.QuitError:
        click.echo("quit: the verdict above is unchanged")
        return
    acted, _ = activity(outcome)
    if not without_fault and acted != result.activations:
        click.echo(f"in this process the fault acted {acted} times")
