"""Measures what stock Lightning does on two ranks without faultlab: ``python benchmarks/stock_ranks.py [CASE]...``.

Four trainings by DDP on the CPU, started by Lightning's own launcher. Their figures are in
docs/explanation/several-ranks.md.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import time
import warnings
from datetime import timedelta
from importlib.metadata import version
from typing import Any

BUSY = 12.0
PATIENCE = 20.0
RANK = "STOCK_RANKS"


def main(cases: list[str]) -> None:
    print("torch", version("torch"), "pytorch-lightning", version("pytorch-lightning"))
    for case in cases:
        began = time.monotonic()
        environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1", RANK: "1"}
        command = [sys.executable, __file__, *case.split()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)
        print(f"\n{case}: status {done.returncode} after {time.monotonic() - began:.0f} s")
        print("\n".join(line for line in done.stdout.splitlines() if line.startswith("rank")))


def train(case: str, code: int) -> None:
    """Run one of the trainings as a rank of it."""
    import pytorch_lightning as pl
    import torch
    from pytorch_lightning.strategies import DDPStrategy
    from torch.utils.data import DataLoader, TensorDataset

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(1, 1)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            if case == "exit" and batch_idx == 1:
                _end_or_work(self.global_rank, code)
            return self.layer(batch[0]).sum()

        def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
            if case == "timeout" and self.global_rank == 0 and batch_idx == 0:
                time.sleep(PATIENCE + 4)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            names = {"a": 0.0, "b": 10.0}
            for name in names if self.global_rank == 0 else reversed(names):
                self.log(name, torch.tensor(names[name]), sync_dist=True)
            if self.global_rank == 0 or batch_idx == 0:
                self.log("one", torch.tensor(1.0), sync_dist=True, batch_size=1)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), 0.0)

    loader = DataLoader(TensorDataset(torch.ones(8, 1)), batch_size=2)
    quiet = dict.fromkeys(("logger", "enable_checkpointing", "enable_progress_bar", "enable_model_summary"), False)
    strategy = DDPStrategy(timeout=timedelta(seconds=PATIENCE)) if case == "timeout" else "ddp"
    trainer = pl.Trainer(accelerator="cpu", strategy=strategy, devices=2, max_epochs=1, num_sanity_val_steps=0, **quiet)
    try:
        trainer.fit(Module(), loader, loader)
    except RuntimeError as error:
        told = str(error).splitlines()[0]
        print(f"rank {trainer.global_rank} raises: {told.rpartition('] ')[2][:70]}", flush=True)
        raise
    if trainer.global_rank == 0:
        shown = {name: float(value) for name, value in trainer.callback_metrics.items()}
        print("rank 0 reports", shown, flush=True)


def _end_or_work(rank: int, code: int) -> None:
    """End the process of rank 1; let rank 0 work without a collective."""
    if rank == 1:
        os._exit(code)
    began = time.monotonic()
    while time.monotonic() - began < BUSY:
        time.sleep(0.05)
    print(f"rank 0 still runs {BUSY:.0f} s after the end of rank 1", flush=True)


if __name__ == "__main__":
    if RANK in os.environ:
        warnings.filterwarnings("ignore")
        logging.disable(logging.CRITICAL)
        train(sys.argv[1], int(sys.argv[2]) if sys.argv[2:] else 0)
    else:
        main(sys.argv[1:] or ["metrics", "exit 0", "exit 1", "timeout"])
