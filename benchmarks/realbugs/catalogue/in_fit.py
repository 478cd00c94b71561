"""Detectors that watch a training, as callbacks that raise what they report."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch


class Reported(AssertionError):  # noqa: N818 - it is an alert, not an error of its own
    """A detector reports that something is wrong."""


class Guardtower(pl.Callback):
    """Its monitor during the training; its audit before it is a test."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        import guardtower

        self._monitor = guardtower.monitor(pl_module)
        self._monitor.__enter__()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self._monitor.__exit__(None, None, None)


class TorchAudit(pl.Callback):
    """`autopatch` from the start of the training; findings are raised at its end, but not of rules known to apply."""

    def __init__(self, known: Sequence[str] = ()) -> None:
        self._known = set(known)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        from torch_audit import autopatch

        self._auditor = autopatch(
            pl_module, optimizer=trainer.optimizers[0], every_n_steps=1, reporters=[], fail_level="FATAL"
        )

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        from torch_audit import Severity

        findings = self._auditor.finish(report=False).findings
        new = [one for one in findings if not one.rule_id.startswith("TA2") and one.rule_id not in self._known]
        told = [one for one in new if one.severity >= Severity.WARN]
        self._auditor.unpatch()
        if told:
            raise Reported("; ".join(f"{one.rule_id}: {one.message}" for one in told[:3]))


class OrmasMonitor(pl.Callback):
    """ormas-monitor by its own callback, with a sink for its events; the first one that warns is raised at the end."""

    def __init__(self) -> None:
        from ormas_monitor.integrations.lightning import OrmasMonitorCallback

        self._told: list[str] = []
        out = str(Path(tempfile.mkdtemp()) / "run")
        self._own = OrmasMonitorCallback(write_report=False, out=out, verbose=False, overwrite=True, sinks=[self._note])

    def _note(self, kind: str, payload: Any) -> None:
        if kind == "event" and payload.get("severity") in ("warning", "critical", "proof"):
            self._told.append(json.dumps(payload, default=str))

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self._own.on_fit_start(trainer, pl_module)

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        self._own.on_before_backward(trainer, pl_module, loss)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        self._own.on_before_optimizer_step(trainer, pl_module, optimizer)

    def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
        self._own.on_fit_end(trainer, pl_module)
        if self._told:
            raise Reported(self._told[0])


class Traintools(pl.Callback):
    """Its inspectors and tracker in each step; the first report that is not ok is raised."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        from traintools import BatchInspector, GradientHealthMonitor

        self._batches = BatchInspector(expected_num_classes=10)
        self._gradients = GradientHealthMonitor()
        self._batch: Any = None

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._batch = batch

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        step, rate = trainer.global_step, optimizer.param_groups[0]["lr"]
        reports = [self._gradients.inspect(pl_module, step=step, lr=rate)]
        if isinstance(self._batch, (list, tuple)) and len(self._batch) == 2:
            reports.append(self._batches.inspect(*self._batch, step=step))
        for one in reports:
            if not one.ok:
                raise Reported(str(one))


class TrainproofEpoch(pl.Callback):
    """`trainproof epoch` on the log of the training, at its end."""

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        self._lines: list[dict[str, Any]] = []
        self._loss: float | None = None

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        self._loss = float(loss.detach().sum())

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        norms = [p.grad.norm() for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        self._lines.append(
            {
                "step": trainer.global_step + 1,
                "loss": self._loss,
                "learning_rate": float(optimizer.param_groups[0]["lr"]),
                "grad_norm": float(torch.stack(norms).norm()) if norms else 0.0,
            }
        )

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        from benchmarks.realbugs.detectors.trainproof import judged

        with tempfile.TemporaryDirectory() as folder:
            log = Path(folder) / "run.jsonl"
            log.write_text("".join(json.dumps(line) + "\n" for line in self._lines))
            found = judged("epoch", str(log))
        if found:
            raise Reported("; ".join(f"{one['id']}: {one['message']}" for one in found))
