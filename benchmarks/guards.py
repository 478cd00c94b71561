"""Measure the cost of the cheap guards: the time of a training with and without them, in alternating pairs.

    PYTHONPATH=. python benchmarks/guards.py [--pairs N] [--each] [--loops]

Print the mean of the pairs' ratios with its confidence interval, and whether it meets the target, misses it or leaves
it open, for the digits CNN at batch size 64 and for a perceptron with ten million parameters: for all cheap guards as
one callback and, with ``--each``, for each guard alone. With ``--loops``, measure `guards.watch` instead, in loops
written by hand. The unit is CPU seconds of one thread.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import logging
import math
import statistics
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from scipy import stats
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from faultlab import guards
from faultlab.guards.support import backward_calls, pace
from scenarios.digits import loop
from scenarios.digits.model import DigitsData, LitDigits

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


_CYCLE = pace.INTERVALS[0][1]
CONFIDENCE = 0.95
AIMS = {"digits CNN, batch 64": (3.0, 10.0), "ten million parameters": (0.5, None)}
"""The maximum cost of all cheap guards in per cent, after the first steps and in them."""


class Wide(pl.LightningModule):
    """A perceptron with ten million parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(784, 2400), nn.ReLU(), nn.Linear(2400, 2400), nn.ReLU(),
                                 nn.Linear(2400, 1000), nn.ReLU(), nn.Linear(1000, 10))  # fmt: skip

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return nn.functional.cross_entropy(self.net(batch[0]), batch[1])

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def digits() -> tuple[Any, Any]:
    data = DigitsData(batch_size=64)
    data.setup("fit")
    return LitDigits(), data.train_dataloader()


def wide() -> tuple[Any, Any]:
    generator = torch.Generator().manual_seed(0)
    inputs, weights = torch.randn(1280, 784, generator=generator), torch.randn(784, 10, generator=generator)
    return Wide(), DataLoader(TensorDataset(inputs, (inputs @ weights).argmax(dim=1)), batch_size=64, shuffle=True)


class Stopwatch(pl.Callback):
    """CPU seconds per step: of the first steps, where the guards always inspect values, and of the later ones."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.times.append(time.process_time())

    @property
    def first(self) -> float:
        # Allocators and caches settle in the very first steps.
        return statistics.median(self._steps()[8 : pace.FIRST])

    @property
    def later(self) -> float:
        # By position in the guards' cycle: the median drops the noise of the machine, but keeps the expensive steps.
        steps = self._steps()
        places = [steps[pace.FIRST + place :: _CYCLE] for place in range(_CYCLE)]
        return statistics.fmean(map(statistics.median, places))

    def _steps(self) -> list[float]:
        return [end - begin for begin, end in itertools.pairwise(self.times)]


def watched(target: Callable[[], tuple[Any, Any]], steps: int, callbacks: list[Any]) -> Stopwatch:
    """Run one training and return its times."""
    torch.manual_seed(0)
    module, data = target()
    watch = Stopwatch()
    trainer = pl.Trainer(max_steps=pace.FIRST + steps, max_epochs=-1, callbacks=[watch, *callbacks], **QUIET)
    trainer.fit(module, data)
    return watch


def ratios(
    target: Callable[[], tuple[Any, Any]], steps: int, pairs: int, make: Callable[[], list[Any]]
) -> tuple[list[float], list[float]]:
    """Return the ratios with / without guards, of the later and of the first steps, in pairs with alternating order."""
    later, first = [], []
    for number in range(pairs + 1):
        runs: list[Callable[[], list[Any]]] = [make, list]
        timed = {run: watched(target, steps, run()) for run in (runs if number % 2 else reversed(runs))}
        later.append(timed[make].later / timed[list].later)
        first.append(timed[make].first / timed[list].first)
    return later[1:], first[1:]  # the first pair imports


def told(name: str, found: tuple[list[float], list[float]], aims: tuple[float | None, float | None]) -> str:
    later, first = (_mean(ratios, aim) for ratios, aim in zip(found, aims))
    return f"{name:40s} {later:44s} {first}"


def _mean(ratios: list[float], aim: float | None) -> str:
    mean, low, high = map(_percent, interval(ratios))
    verdict = "" if aim is None else f", {_verdict(low, high, aim)}"
    return f"{mean:+6.2f} % ({low:+.2f} to {high:+.2f}{verdict})"


def interval(ratios: list[float]) -> tuple[float, float, float]:
    """Return the geometric mean of the ratios and its confidence interval, by Student's t on their logarithms."""
    logs = [math.log(ratio) for ratio in ratios]
    mean, error = statistics.fmean(logs), statistics.stdev(logs) / math.sqrt(len(logs))
    margin = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1)) * error
    return math.exp(mean), math.exp(mean - margin), math.exp(mean + margin)


def _verdict(low: float, high: float, aim: float) -> str:
    met = "met" if high <= aim else "missed" if low > aim else "open"
    return f"aim {aim:g} {met}"


def _percent(ratio: float) -> float:
    return 100 * (ratio - 1)


SPANS = ((8, pace.FIRST), (pace.FIRST, 256), (256, 512), (512, 1024))


def by_hand(watched: bool, model: nn.Module, data: Any) -> Iterator[None]:
    """Train by a loop written by hand, and stop after each step."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    with guards.watch(model, optimizer, loader=data) if watched else contextlib.nullcontext():
        while True:
            model.train()
            for images, labels in data:
                loss = nn.functional.cross_entropy(model(images), labels)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 5.0)
                optimizer.step()
                loss.item()
                yield


def digits_by_hand() -> tuple[nn.Module, Any]:
    return loop.Digits(), loop.loader("train")


def wider_by_hand() -> tuple[nn.Module, Any]:
    """The same network with eight times as many channels, in small batches so that the epochs are as short."""
    return loop.Digits(channels=96), loop.loader("train")


def pairs_of_steps(make: Callable[[], tuple[nn.Module, Any]], steps: int) -> tuple[list[float], list[float]]:
    """Return the CPU seconds of each step without and with guards, of two trainings that take turns.

    The guards observe every backward pass of the process, so they look away from those of the other training.
    """
    runs = [by_hand(watched, *make()) for watched in (False, True)]
    times: tuple[list[float], list[float]] = [], []
    for number in range(steps):
        for which in (0, 1) if number % 2 else (1, 0):
            away = [] if which else backward_calls.CALLS.observers[:]
            if away:
                backward_calls.CALLS.observers.clear()
            begun = time.process_time()
            next(runs[which])
            times[which].append(time.process_time() - begun)
            if away:
                backward_calls.CALLS.observers[:] = away
    for run in runs:
        run.close()  # type: ignore[attr-defined]
    return times


def loops(pairs: int) -> None:
    """Print what `guards.watch` costs, by spans of steps: guards look ever more rarely."""
    for name, make in (("digits CNN, batch 64", digits_by_hand), ("its wider form, batch 64", wider_by_hand)):
        steps = SPANS[-1][1]
        pairs_of_steps(make, 80)  # imports, allocators and caches settle
        found = [pairs_of_steps(make, steps) for _ in range(pairs)]
        for begin, end in SPANS:
            bare = statistics.median(time for without, _ in found for time in without[begin:end])
            ratios = [1 + _trimmed([b - a for a, b in zip(w[begin:end], g[begin:end])]) / bare for w, g in found]
            said = _mean(ratios, 10.0 if begin < pace.FIRST else 3.0)
            print(f"{name:26s} steps {begin:3d} to {end:4d}, {1000 * bare:.2f} ms each: {said}", flush=True)


def _trimmed(differences: list[float]) -> float:
    """Return the mean without the twentieth at either end, where the machine was busy with something else."""
    cut = len(differences) // 20
    return statistics.fmean(sorted(differences)[cut : len(differences) - cut])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=15, help="At least two; more pairs narrow the interval.")
    parser.add_argument("--each", action="store_true", help="Also measure each cheap guard alone, on digits.")
    parser.add_argument("--loops", action="store_true", help="Measure guards.watch in loops written by hand.")
    options = parser.parse_args()
    if options.pairs < 2:
        parser.error("an interval needs at least two pairs")
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    if options.loops:
        loops(options.pairs)
        return
    print(f"CPU seconds of a step with guards / without, minus one: mean of {options.pairs} pairs in alternating")
    print(f"order ({CONFIDENCE:.0%} confidence interval)")
    print(f"{'':40s} {f'after the first {pace.FIRST} steps':44s} in them")
    for name, target, steps in (("digits CNN, batch 64", digits, 256), ("ten million parameters", wide, 96)):
        found = ratios(target, steps, options.pairs, lambda: [guards.all("cheap")])
        print(told(f"all cheap guards, {name}", found, AIMS[name]), flush=True)
    if options.each:
        none = None, None
        print(told("an empty set of guards", ratios(digits, 256, options.pairs, lambda: [guards.GuardSet([])]), none))
        for cls in guards.classes("cheap"):
            found = ratios(digits, 256, options.pairs, lambda cls=cls: [cls(**cls.arguments("", "min"))])
            print(told(cls.__name__, found, none), flush=True)


if __name__ == "__main__":
    main()
