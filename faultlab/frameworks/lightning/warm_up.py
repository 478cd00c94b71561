"""A tiny training in the process that victims are forked from.

The first training of a process is slower than later ones, because torch and Lightning set things up on first use. Done
once in the process that is forked, it costs the forks nothing. It runs no user code, and random numbers, one-time
warnings and logger levels are as before.
"""

from __future__ import annotations

import contextlib
import logging
import random
import sys
import warnings
from collections.abc import Iterator
from typing import Any

_IGNORE: Any = ("ignore", None, Warning, None, 0)


def warm_up(namespace: str) -> None:
    """Train, validate and discard a small network with the Lightning package of that name.

    If the training fails, the process stays cold: no verdict depends on it.
    """
    if namespace not in sys.modules:
        return
    with _untouched(), contextlib.suppress(Exception):
        _fit(sys.modules[namespace])


def _fit(package: Any) -> None:
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    class Small(package.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.network = nn.Sequential(
                nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 2)
            )

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            images, labels = batch
            loss = nn.functional.cross_entropy(self.network(images), labels)
            self.log("loss", loss)
            return loss

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log_dict({"outputs": self.network(batch[0]).sum()})

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.AdamW(self.parameters())
            return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]

    data = TensorDataset(torch.randn(4, 1, 4, 4), torch.zeros(4, dtype=torch.int64))
    trainer = package.Trainer(
        max_epochs=1, accelerator="cpu", devices=1, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(Small(), DataLoader(data, batch_size=2, shuffle=True), DataLoader(data, batch_size=2))


@contextlib.contextmanager
def _untouched() -> Iterator[None]:
    """Keep the state of random numbers, warnings and logging."""
    import numpy
    import torch

    drawn = random.getstate(), numpy.random.get_state(), torch.get_rng_state()
    shown = [(cache, set(cache)) for cache in _warning_caches()]
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    # By hand: leaving `catch_warnings` would let warnings be shown again.
    filters: Any = warnings.filters
    filters.insert(0, _IGNORE)
    try:
        yield
    finally:
        filters.remove(_IGNORE)
        logging.disable(disabled)
        for cache, before in shown:
            cache.intersection_update(before)
        random.setstate(drawn[0])
        numpy.random.set_state(drawn[1])
        torch.set_rng_state(drawn[2])


def _warning_caches() -> list[set[Any]]:
    """Return Lightning's caches of the warnings that it has shown, from its modules and classes."""
    modules = [module for name, module in list(sys.modules.items()) if "lightning" in name.partition(".")[0]]
    owners = [*modules, *(value for module in modules for value in vars(module).values() if isinstance(value, type))]
    caches = [cache for owner in owners if isinstance(cache := vars(owner).get("warning_cache"), set)]
    return list({id(cache): cache for cache in caches}.values())
