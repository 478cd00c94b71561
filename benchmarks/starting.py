"""Measure the time until a command's clean run can begin, with and without the warm process of an earlier command.

The command is `faultlab run`, which is stopped when the scenario's process is ready to run it. CPU seconds are those of
the command, of the processes that it waits for, and of the keeper while it serves the command; imports of the keeper
afterwards, for later commands, are counted separately.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
import psutil

from faultlab.engines import keeping
from faultlab.engines.fork import ForkEngine

_SETTLED = 0.5
_KINDS = ("without", "first", "next")


def _cpu(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return float(times.user + times.system)


def _keepers() -> dict[int, float]:
    return {state["pid"]: _cpu(state["pid"]) for state in keeping.states() if state["folder"] == os.getcwd()}


def _one(file: str, begun: float, arguments: list[str]) -> None:
    """Run the command in this process until its clean run can begin, and write the cost."""
    from faultlab.cli import main

    before = _keepers()
    open_scenario = ForkEngine.open

    def stop(engine: ForkEngine, name: str, scenario: Mapping[str, Any]) -> None:
        open_scenario(engine, name, scenario)
        wall = time.time() - begun
        own = os.times()
        cpu = own.user + own.system + own.children_user + own.children_system
        cpu += sum(_cpu(link.pid) for link in engine._links)
        cpu += sum(spent - before.get(pid, 0.0) for pid, spent in _keepers().items())
        Path(file).write_text(json.dumps({"wall": wall, "cpu": cpu}))
        raise KeyboardInterrupt

    ForkEngine.open = stop  # type: ignore[method-assign]
    sys.argv = ["faultlab", *arguments]
    main()


def _start(scenario: Path, folder: Path, warm: bool) -> dict[str, float]:
    file = folder / "seen.json"
    arguments = ["run", str(scenario), "--select", "return.none", "--out", str(folder), "-q"]
    command = [sys.executable, __file__, "--one", str(file), str(time.time()), *arguments]
    environment = {**os.environ, keeping.VARIABLE: "5" if warm else "0"}
    subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    seen: dict[str, float] = json.loads(file.read_text())
    file.unlink()
    return seen


def _learnt() -> float:
    """Wait until the keeper has imported what the next command needs; return the CPU seconds that this took."""
    time.sleep(_SETTLED)
    while any(state["busy"] or state["learning"] for state in keeping.states()):
        time.sleep(_SETTLED)
    return sum(_keepers().values())


@click.command()
@click.argument(
    "scenario", type=click.Path(path_type=Path, exists=True), default=Path("scenarios/digits/scenario.yaml")
)
@click.option("--times", type=click.IntRange(1), default=5, show_default=True, help="Starts of each kind.")
def main(scenario: Path, times: int) -> None:
    """Start SCENARIO's campaign without a keeper, as a keeper's first command, and as its next command, in turn."""
    seen: dict[str, list[dict[str, float]]] = {kind: [] for kind in _KINDS}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(times):
            keeping.end_all()
            seen["without"].append(_start(scenario, Path(folder), warm=False))
            seen["first"].append(_start(scenario, Path(folder), warm=True))
            spent = _learnt()
            seen["next"].append(_start(scenario, Path(folder), warm=True))
            click.echo(f"{ {kind: list(runs[-1].values()) for kind, runs in seen.items()} } learnt {spent:.2f} s")
        keeping.end_all()
    medians = {kind: {unit: statistics.median(run[unit] for run in runs) for unit in ("wall", "cpu")}
               for kind, runs in seen.items()}  # fmt: skip
    for kind, median in medians.items():
        click.echo(f"{kind:8} {median['wall']:.2f} s wall, {median['cpu']:.2f} CPU s")
    for unit in ("wall", "cpu"):
        pairs = [cold[unit] / warm[unit] for cold, warm in zip(seen["without"], seen["next"])]
        spread = f"{min(pairs):.1f} to {max(pairs):.1f}"
        click.echo(f"{unit}: the next is {statistics.median(pairs):.1f} times quicker ({spread})")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--one"]:
        _one(sys.argv[2], float(sys.argv[3]), sys.argv[4:])
    else:
        main()
