"""Train clean models on two ranks over several seeds with all ready-made guards, and count their alarms: none is due.

    PYTHONPATH=. python benchmarks/ranks_quiet.py [--seeds N] [--level cheap|full] [--setup NAME]

The setups: the digits CNN under DistributedDataParallel; with accumulated gradients; with BatchNorm whose buffers
differ on purpose; in bfloat16; in a loop that is written by hand, under `guards.watch`, which validates on all data or
on its rank's share, with a torchmetrics object and a schedule by its value; and the character transformer of
scenarios/text/fsdp2.yaml, whose parameters the ranks share. It prints, for each setup and level, how many trainings
raised an alarm, and which guards never looked, with their reason. It exits with 1 if there was an alarm.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import torch.distributed as dist
from pytorch_lightning.strategies import DDPStrategy, ModelParallelStrategy
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, DistributedSampler
from torchmetrics.classification import MulticlassAccuracy

from benchmarks.guards import QUIET
from benchmarks.ranks import RANKS, in_gang
from faultlab import guards
from faultlab.guards.guard import LEVELS
from scenarios.digits import loop
from scenarios.digits.model import DigitsData
from scenarios.digits.ranks import LitDigitsOnRanks
from scenarios.text.sharded import build

ROOT = Path(__file__).parents[1]
EPOCHS = 2
Train = Callable[[list[Any]], None]


def _fit(callbacks: list[Any], module: Any, data: Any, **trainer: Any) -> None:
    arguments = {"strategy": "ddp", "devices": RANKS, "max_epochs": EPOCHS, **trainer}
    pl.Trainer(callbacks=callbacks, **QUIET, **arguments).fit(module, datamodule=data)


def _digits(callbacks: list[Any], **trainer: Any) -> None:
    _fit(callbacks, LitDigitsOnRanks(), DigitsData(batch_size=32), limit_train_batches=16, **trainer)


def _sharded(callbacks: list[Any]) -> None:
    module, data = build()
    strategy = ModelParallelStrategy(data_parallel_size=RANKS, tensor_parallel_size=1)
    _fit(callbacks, module, data, strategy=strategy, limit_train_batches=16, gradient_clip_val=1.0)


def _by_hand(chosen: list[Any], shares: bool = False) -> None:
    sampler: Any = DistributedSampler(loop.loader("train").dataset)
    loader = DataLoader(sampler.dataset, batch_size=32, sampler=sampler)
    validation = loop.loader("validation")
    if shares:
        validation = DataLoader(validation.dataset, 32, sampler=DistributedSampler(validation.dataset, shuffle=False))
    model = DistributedDataParallel(loop.Digits())
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    schedule, accuracy = ReduceLROnPlateau(optimizer, "max"), MulticlassAccuracy(10)
    with guards.watch(model, optimizer, guards=chosen, loader=loader, validation=validation):
        for epoch in range(EPOCHS):
            sampler.set_epoch(epoch)
            model.train()
            for images, labels in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(images), labels).backward()
                optimizer.step()
            model.eval()
            accuracy.reset()
            with torch.no_grad():
                for images, labels in validation:
                    accuracy.update(model(images), labels)
            schedule.step(accuracy.compute())


SETUPS: dict[str, Train] = {
    "ddp": _digits,
    "accumulation": lambda callbacks: _digits(callbacks, accumulate_grad_batches=4),
    "buffers-differ": lambda callbacks: _digits(callbacks, strategy=DDPStrategy(broadcast_buffers=False)),
    "bf16": lambda callbacks: _digits(callbacks, precision="bf16-mixed"),
    "by-hand": _by_hand,
    "by-hand-shares": lambda chosen: _by_hand(chosen, shares=True),
    "fsdp2": _sharded,
}


def trained(name: str, level: Any, seed: int) -> tuple[str, dict[str, str]]:
    """Return the alarm of a training on this rank, and the reports of the guards that never looked."""
    chosen = list(guards.all(level))
    pl.seed_everything(seed, verbose=False)
    try:
        SETUPS[name](chosen if name.startswith("by-hand") else [guards.GuardSet(chosen)])
    except guards.Alarm as alarm:
        return f"seed {seed}: {alarm}", {}
    return "", {type(one).__name__: one.report() for one in chosen if one.skipped and not one.looked}


def quiet(name: str, level: Any, seeds: int) -> list[str]:
    """Train with each seed, print the result, and return the alarms."""
    found = in_gang(lambda: [trained(name, level, seed) for seed in range(seeds)])
    alarms = [alarm for alarm, _ in found if alarm]
    blind = Counter(guard for _, reports in found for guard in reports)
    looked = f"{len(blind)} guards never looked" if blind else "all guards that count looks looked"
    print(f"{name:15s} {level:5s} {len(alarms)} of {seeds} trainings with an alarm; {looked}", flush=True)
    for guard in sorted(blind):
        print(f"    {next(reports[guard] for _, reports in found if guard in reports)}")
    for alarm in alarms:
        print(f"    {alarm}", flush=True)
    return alarms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--level", choices=LEVELS, action="append")
    parser.add_argument("--setup", choices=list(SETUPS), action="append")
    options = parser.parse_args()
    os.chdir(ROOT)
    torch.set_num_threads(1)
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    assert not dist.is_initialized()
    alarms = [
        alarm
        for name in options.setup or SETUPS
        for level in options.level or LEVELS
        for alarm in quiet(name, level, options.seeds)
    ]
    sys.exit(bool(alarms))


if __name__ == "__main__":
    main()
