"""Measure the guards that compare ranks: their cost under DDP, and what they detect of the distributed failure modes.

    PYTHONPATH=. python benchmarks/ranks.py --costs [--pairs N]
    PYTHONPATH=. python benchmarks/ranks.py --detections [--seeds N] [--write]
    PYTHONPATH=. python benchmarks/ranks.py --speed [--rounds N]

``--costs`` prints the CPU seconds of a step of rank 0 with a guard over those without, minus one: the mean of
alternating pairs with its confidence interval, for the digits CNN at batch size 64 on two ranks over gloo. An empty
guard stands for the all-reduce that lets ranks agree on alarms, which every guard of such a training has.

``--detections`` prescribes guards for scenarios/digits/ddp.yaml, from all distributed modes that are silent or only
warn on stock Lightning. It prints the share of the harmful ones that the set detects, the latency of each guard in
steps, and the false alarms. ``--write`` saves the measurements of the guards that compare ranks in
faultlab/guards/measured.json.

``--speed`` prints the seconds of a fault of scenarios/digits/ddp.yaml that ends by itself, in ranks that are forked and
in fresh processes, in rounds of both engines in turn, and their ratio.
"""

from __future__ import annotations

import argparse
import itertools
import json
import logging
import os
import pickle
import re
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist

from benchmarks import guards as single
from benchmarks import prescriptions
from faultlab import engines, guards
from faultlab.campaign.campaign import Options
from faultlab.campaign.prescribing import Prescriber, Prescription, thorough
from faultlab.catalogue import guard_index, index
from faultlab.cli.progress import Progress
from faultlab.config.scenario import load
from faultlab.core.report import Status, dump
from faultlab.ranks import membership

ROOT = Path(__file__).parents[1]
SCENARIO = "digits-ddp"
OF_RANKS = ("CollectivesAgree", "DataSharded", "MetricsSynced", "RanksAgree", "Stragglers")
RANKS = 2
STEPS, SETTLED = 136, 64


class Nothing(guards.Guard):
    """An empty guard."""

    checks = {"nothing": "nothing"}


def cases() -> dict[str, Callable[[], Any]]:
    """Return what is measured, by name."""
    found: dict[str, Callable[[], Any]] = {"agreement on alarms": Nothing}
    found |= {name: getattr(guards, name) for name in OF_RANKS}
    found["RanksAgree(every=10)"] = lambda: guards.RanksAgree(every=10)
    found["the five together"] = lambda: guards.GuardSet([getattr(guards, name)() for name in OF_RANKS])
    found["all cheap guards"] = lambda: guards.all(leave_out=["MetricsSynced"])
    return found


def watched(callbacks: list[Any]) -> float:
    """Return the median CPU seconds of a step of this rank, after the first steps."""
    torch.manual_seed(0)
    module, data = single.digits()
    watch = single.Stopwatch()
    trainer = pl.Trainer(max_steps=STEPS, max_epochs=-1, callbacks=[watch, *callbacks], strategy="ddp", devices=RANKS,
                         **single.QUIET)  # fmt: skip
    trainer.fit(module, data)
    steps = [end - begin for begin, end in itertools.pairwise(watch.times)]
    return statistics.fmean(sorted(steps[SETTLED:])[5:-5])


def costs(pairs: int) -> dict[str, list[float]]:
    """Return the ratios of each case, of this rank."""
    ratios: dict[str, list[float]] = {name: [] for name in cases()}
    watched([])
    for number in range(pairs):
        for name, make in cases().items():
            order: list[Callable[[], list[Any]]] = [list, lambda make=make: [make()]]
            times = [0.0, 0.0]
            for which in (0, 1) if number % 2 else (1, 0):
                times[which] = watched(order[which]())
            ratios[name].append(times[1] / times[0])
    return ratios


def in_gang(work: Callable[[], Any]) -> Any:
    """Return what the work comes to on rank 0 of several that are forked."""
    with tempfile.TemporaryDirectory() as folder:
        pids = []
        for rank in range(RANKS):
            if pid := os.fork():
                pids.append(pid)
                continue
            membership.enter(rank, RANKS)
            store = dist.FileStore(f"{folder}/meeting", RANKS)  # type: ignore[attr-defined]
            dist.init_process_group("gloo", store=store, rank=rank, world_size=RANKS, timeout=timedelta(seconds=60))
            found = work()
            if rank == 0:
                Path(folder, "found").write_bytes(pickle.dumps(found))
            os._exit(0)
        for pid in pids:
            os.waitpid(pid, 0)
        return pickle.loads(Path(folder, "found").read_bytes())


def show_costs(pairs: int) -> None:
    print(f"CPU seconds of a step of rank 0 with guards / without, minus one: mean of {pairs} pairs in alternating")
    print(f"order ({single.CONFIDENCE:.0%} confidence interval); load {os.getloadavg()[0]:.1f}", flush=True)
    for name, ratios in in_gang(lambda: costs(pairs)).items():
        mean, low, high = (100 * (ratio - 1) for ratio in single.interval(ratios))
        print(f"{name:24s} {mean:+6.1f} % ({low:+.1f} to {high:+.1f})")


def prescribe(seeds: int, jobs: int, out: Path) -> Prescription:
    """Return the prescription for the distributed modes of the scenario."""
    with Progress(quiet=True, silent=True) as progress:
        working = engines.create(engines.default(), jobs)
        try:
            # The others end in an error, or in ranks that wait for each other.
            quiet = (name for name, mode in index.modes().items() if mode.effect.general.get("lightning") != "raises")
            asked = tuple(name for name in quiet if name.startswith("distributed."))
            options = Options(asked, (), out=out, watch=thorough(seeds))
            return Prescriber(load(Path("scenarios/digits/ddp.yaml")), working, options, progress).prescribe()
        finally:
            working.close()


def show(found: Prescription) -> None:
    harmful = [one for one in found.before.faults if one.status in (Status.SILENT, Status.WARNED)
               and one.harm is not None and one.harm.harmful]  # fmt: skip
    after = {one.id: one for one in found.after.faults} if found.after else {}
    missed = [one.id for one in harmful if one.id not in after or after[one.id].status is not Status.DETECTED]
    share = 1 - len(missed) / len(harmful) if harmful else 1.0
    print(f"{len(harmful)} harmful distributed faults are silent or only warned of without guards")
    print(f"{len(harmful) - len(missed)} of them ({share:.1%}) are detected by the prescribed guards")
    print(f"not detected: {', '.join(missed) or 'none'}")
    print(f"detected only against known good runs (prescribe --records): {', '.join(found.recorded) or 'none'}")
    print(f"the set: {', '.join(chosen.guard for chosen in found.chosen) or 'empty'}")
    print(f"promises not kept: {', '.join(found.broken) or 'none'}")
    alarms = len(found.after.baseline.false_alarms) if found.after else 0
    print(f"false alarms of the set: {alarms}; of any guard: {sorted(found.advice.alarms)}")
    print("latency in steps, of all faults: median, maximum, number of faults")
    every = prescriptions.latencies([found.advice], single=False)
    for guard in sorted(every, key=lambda guard: (guard not in OF_RANKS, guard)):
        print(f"  {guard:24s} {statistics.median(every[guard]):4g} {max(every[guard]):4d} {len(every[guard]):5d}")


def keep(found: Prescription) -> None:
    """Write the measurements of the guards that compare ranks beside the others."""
    data = json.loads(guard_index.MEASURED.read_text(encoding="utf-8"))
    measured = prescriptions.measurements({SCENARIO: found})["guards"]
    data["guards"] |= {name: measured[name] for name in OF_RANKS}
    data["guards"] = dict(sorted(data["guards"].items()))
    text = json.dumps(json.loads(dump(data)), indent=1)
    text = re.sub(r"\[\s+([^\[\]{}]*?)\s+\]", lambda match: "[" + " ".join(match[1].split()) + "]", text)
    guard_index.MEASURED.write_text(text + "\n", encoding="utf-8")


QUICK = ("buffers-diverge", "gradients-unsynchronised", "loss-times-world", "same-data-everywhere")
MORE = ("comm-hook-lossy", "hooks-lost", "integer-mean-floors", "lr-per-device", "no-sync-partial",
        "parameters-diverge", "reduce-op-wrong", "sampler-epochs-differ", "sampler-no-epoch", "sampler-seeds-differ",
        "scaler-differs", "split-differs", "step-skipped-on-one-rank", "unfrozen-after-wrap",
        "unused-masked")  # fmt: skip


def took(engine: str, modes: tuple[str, ...], jobs: int) -> float:
    """Return the wall time of a fault in a campaign, in seconds."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "faultlab", "run", "scenarios/digits/ddp.yaml", "--no-advice", "--json", "-q",
                   "--engine", engine, "--jobs", str(jobs), "--out", folder]  # fmt: skip
        command += [word for mode in modes for word in ("--select", f"distributed.{mode}")]
        environment = {**os.environ, "FAULTLAB_WARM": "0"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stdout + done.stderr)
    (report,) = json.loads(done.stdout)
    count = sum(one["status"] != Status.NOT_APPLICABLE for one in report["faults"])
    return float(report["timing"]["faults"]) / count


def show_speed(rounds: int, jobs: int) -> None:
    print(f"seconds of a fault with --jobs {jobs}, forked and in fresh processes", flush=True)
    ratios = []
    for number in range(1, rounds + 1):
        forked, fresh = took("fork", QUICK + MORE, jobs), took("spawn", QUICK, jobs)
        ratios.append(fresh / forked)
        load = os.getloadavg()[0]
        print(
            f"round {number}: {forked:.2f} and {fresh:.2f} s, {ratios[-1]:.1f} times, at a load of {load:.1f}",
            flush=True,
        )
    print(f"median: {statistics.median(ratios):.1f} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--costs", action="store_true")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--detections", action="store_true")
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--jobs", type=int, default=engines.cores())
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    os.chdir(ROOT)
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    if options.costs:
        show_costs(options.pairs)
    if options.speed:
        show_speed(options.rounds, options.jobs)
    if options.detections:
        with tempfile.TemporaryDirectory() as folder:
            begun = time.monotonic()
            found = prescribe(options.seeds, options.jobs, Path(folder))
            show(found)
            print(f"{time.monotonic() - begun:.0f} s at load {os.getloadavg()[0]:.1f}")
            if options.write:
                keep(found)


if __name__ == "__main__":
    main()
