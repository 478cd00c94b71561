"""What the cheap guards cost: the time of a training with and without them, in pairs, one after the other.

    python benchmarks/guards.py [--pairs N]

Prints, for the digits CNN at batch 64 and for a perceptron of ten million parameters, the median of the ratios and the
spread, for all cheap guards as one callback, and each guard's own share. CPU seconds of this process, one thread.
"""

from __future__ import annotations

import argparse
import logging
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from faultlab import guards
from scenarios.digits.model import DigitsData, LitDigits

QUIET: dict[str, Any] = {
    "accelerator": "cpu",
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "num_sanity_val_steps": 0,
}


class Wide(pl.LightningModule):
    """A perceptron of ten million parameters."""

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
    inputs, weights = torch.rand(1280, 784, generator=generator), torch.randn(784, 10, generator=generator)
    return Wide(), DataLoader(TensorDataset(inputs, (inputs @ weights).argmax(dim=1)), batch_size=64, shuffle=True)


class Stopwatch(pl.Callback):
    """CPU seconds of the training steps after the first few, in which allocators and caches settle."""

    def __init__(self, skipped: int) -> None:
        self.skipped = skipped
        self.steps = 0
        self.begun = self.seconds = 0.0

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self.steps == self.skipped:
            self.begun = time.process_time()

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        self.steps += 1
        self.seconds = time.process_time() - self.begun


def seconds(target: Callable[[], tuple[Any, Any]], steps: int, callbacks: list[Any]) -> float:
    """CPU seconds a step of one training."""
    torch.manual_seed(0)
    module, data = target()
    watch = Stopwatch(steps // 5)
    # First in the list at the start and last at the end would be two callbacks: what the guards do before the first
    # start and after the last end is a share of one step in all.
    trainer = pl.Trainer(max_steps=steps, max_epochs=-1, callbacks=[watch, *callbacks], **QUIET)
    trainer.fit(module, data)
    return watch.seconds / (steps - watch.skipped)


def ratios(target: Callable[[], tuple[Any, Any]], steps: int, pairs: int, make: Callable[[], list[Any]]) -> list[float]:
    """With over without, in pairs of which the order alternates."""
    found = []
    for number in range(pairs + 1):
        runs: list[Callable[[], list[Any]]] = [make, list]
        timed = {run: seconds(target, steps, run()) for run in (runs if number % 2 else reversed(runs))}
        found.append(timed[make] / timed[list])
    return found[1:]  # the first pair imports


def told(name: str, found: list[float]) -> str:
    low, *_, high = sorted(found)
    return f"{name:42s} {100 * (statistics.median(found) - 1):+6.2f} %   ({100 * (low - 1):+.2f} to {100 * (high - 1):+.2f})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=11)
    parser.add_argument("--each", action="store_true", help="Each cheap guard alone as well, on the digits.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    print(f"time of a step with guards over that without, less one: median of {options.pairs} pairs (least to most)")
    for name, target, steps in (("digits CNN, batch 64", digits, 200), ("10 million parameters, batch 64", wide, 20)):
        print(told(f"all cheap guards, {name}", ratios(target, steps, options.pairs, lambda: [guards.all("cheap")])))
    if options.each:
        print(told("a callback that does nothing", ratios(digits, 200, options.pairs, lambda: [guards.GuardSet([])])))
        for cls in guards.classes("cheap"):
            print(
                told(
                    cls.__name__, ratios(digits, 200, options.pairs, lambda cls=cls: [cls(**cls.arguments("", "min"))])
                )
            )


if __name__ == "__main__":
    main()
