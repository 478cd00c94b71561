"""Measure the cost of the ready-made guards on the examples, in this build and in that of another commit.

    python benchmarks/guards_between.py GITREF [SCENARIO.yaml]... [--level cheap|full] [--pairs N]

One process per build trains each scenario's target with ``guards.all(LEVEL)`` on request, once per pair, in
alternating order, and without guards in every fourth pair. Both train the scenarios of this tree. Print the medians of
the CPU seconds of a fit, and the median of the pairs' ratios with its confidence interval, since other work on the
machine makes single fits much more expensive.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import math
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve()
WARM_UP = 2


def fit(scenario: str, level: str) -> float:
    """Return the CPU seconds of training a scenario's target, from the Trainer's construction to the end of fit."""
    import pytorch_lightning as pl
    import yaml

    from faultlab import guards

    given = yaml.safe_load(Path(scenario).read_text(encoding="utf-8"))
    gc.collect()
    pl.seed_everything(0, verbose=False)
    with tempfile.TemporaryDirectory(prefix="faultlab-bench-") as out:
        if "build" in given:
            module, data = _constructed(given["build"])
        else:
            module, data = _constructed(given["module"]), _constructed(given["data"])
        begun = time.process_time()
        trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False,
                             default_root_dir=out, callbacks=[guards.all(level)] if level else [],
                             **given["trainer"])  # fmt: skip
        trainer.fit(module, data)
        return time.process_time() - begun


def _constructed(given: dict[str, Any]) -> Any:
    place, _, name = given["class_path"].rpartition(".")
    return getattr(importlib.import_module(place), name)(**given.get("init_args", {}))


def serve() -> None:
    """Train for each line ``[scenario, level]`` of standard input, and print the seconds."""
    import pytorch_lightning  # noqa: F401 - before its logger is silenced, since the import enables it
    import torch

    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    # Keep the output of the trainings out of the answers.
    answers, sys.stdout = sys.stdout, sys.stderr
    for line in sys.stdin:
        print(fit(*json.loads(line)), file=answers, flush=True)


@contextmanager
def trainer_of(tree: Path) -> Iterator[Callable[[str, str], float]]:
    """Yield a process that trains with the guards of the build in a tree."""
    from floor import environment

    command = [sys.executable, str(HERE), "--serve"]
    with subprocess.Popen(
        command, cwd=tree, env=environment(tree), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        asking, answering = process.stdin, process.stdout
        assert asking is not None
        assert answering is not None

        def ask(scenario: str, level: str) -> float:
            print(json.dumps([scenario, level]), file=asking, flush=True)
            return float(answering.readline())

        try:
            yield ask
        finally:
            asking.close()


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Return the median of the ratios and its 95 % confidence interval, from order statistics."""
    ordered = sorted(ratios)
    outside = max(0, math.floor((len(ordered) - 1.96 * math.sqrt(len(ordered))) / 2))
    return statistics.median(ordered), ordered[outside], ordered[-1 - outside]


def main(ref: str, scenarios: list[Path], level: str, pairs: int) -> None:
    """Print one line per scenario."""
    from builds import built
    from floor import ROOT

    with ExitStack() as stack:
        other = stack.enter_context(built(ref, own_scenarios=False))
        builds = [stack.enter_context(trainer_of(tree)) for tree in (ROOT, other.tree)]
        print(f"| scenario | bare | guarded, {ref} | guarded, now | now / {ref} (95 %) | surplus, {ref} | now |")
        print("| --- | --- | --- | --- | --- | --- | --- |")
        for scenario in scenarios:
            seen: dict[tuple[int, str], list[float]] = {(build, on): [] for build in (0, 1) for on in ("", level)}
            for number in range(-WARM_UP, pairs):
                for build in (0, 1) if number % 2 else (1, 0):
                    for on in (level, "") if number % 4 == 0 else (level,):
                        seconds = builds[build](str(scenario.resolve()), on)
                        if number >= 0:
                            seen[build, on].append(seconds)
            middle, low, high = interval([now / was for now, was in zip(seen[0, level], seen[1, level])])
            bare = statistics.median(seen[0, ""] + seen[1, ""])
            now, was = statistics.median(seen[0, level]), statistics.median(seen[1, level])
            name = scenario.parent.name
            print(f"| {name} | {bare:.3f} | {was:.3f} | {now:.3f} | {middle:.3f} ({low:.3f} to {high:.3f}) | "
                  f"{was / bare - 1:+.0%} | {now / bare - 1:+.0%} |", flush=True)  # fmt: skip


def _asked() -> tuple[str, list[Path], str, int]:
    import argparse

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ref", metavar="GITREF")
    parser.add_argument("scenarios", metavar="SCENARIO.yaml", type=Path, nargs="*")
    parser.add_argument("--level", choices=("cheap", "full"), default="cheap")
    parser.add_argument("--pairs", type=int, default=40, help="At least eight; more pairs narrow the interval.")
    options = parser.parse_intermixed_args()
    if options.pairs < 8:
        parser.error("an interval needs at least eight pairs")
    default = [HERE.parents[1] / "scenarios" / name / "scenario.yaml" for name in ("digits", "diabetes", "text", "gan")]
    return options.ref, options.scenarios or default, options.level, options.pairs


if __name__ == "__main__":
    if sys.argv[1:] == ["--serve"]:
        serve()
    else:
        main(*_asked())
