"""A command as a guard: it runs at the end of a training, and its exit code judges what the training has left.

This module runs in the victim.
"""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import shlex
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from faultlab.core.command_words import filled
from faultlab.guards.support.callback import Callback
from faultlab.guards.support.trainer_view import view_of

LOG, CHECKPOINT = "log.jsonl", "checkpoint.pt"
_LINES = 5
_KEPT = 64 * 1024
_PAUSE = 0.05


class CommandFailed(AssertionError):  # noqa: N818 - it is an alert, not an error of its own
    """A command has judged a training, and its exit code is not 0."""


class Command(Callback):
    """A callback that writes what a training did to a file and runs a command on it at the end.

    Args:
        command: The command with its arguments, as on a command line but without a shell. ``{log}`` and
            ``{checkpoint}`` stand for files.
        timeout: Seconds after which it is killed, which counts as a failure.
    """

    def __init__(self, command: str, timeout: float = 60.0) -> None:
        self.command, self.timeout = command, timeout
        self._lines: list[dict[str, Any]] = []
        self._loss: float | None = None
        self._metrics: dict[str, float] = {}

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:
        self._lines, self._loss, self._metrics = [], None, {}

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        """Add the loss to that of the batches that the next step is for."""
        self._loss = float(loss.detach().sum()) + (self._loss or 0.0)

    def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
        """Note the step that the optimizer is about to take."""
        held = [one for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
        norms = [one.grad.detach().float().norm() for one in held]
        view = view_of(trainer)
        self._lines.append(
            {
                "step": view.global_step,
                "epoch": view.current_epoch,
                "loss": self._loss,
                "learning_rate": float(optimizer.param_groups[0]["lr"]),
                "grad_norm": float(torch.stack(norms).norm()) if norms else 0.0,
            }
        )
        self._loss = None

    def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
        """Note the metrics that were logged."""
        self._log_metrics(trainer)

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        """Note the metrics that were logged."""
        self._log_metrics(trainer)

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Run the command.

        Raises:
            CommandFailed: It ended with another exit code than 0, or not in time.
        """
        view = view_of(trainer)
        if not view.is_global_zero:
            return
        self._log_metrics(trainer)
        with tempfile.TemporaryDirectory(prefix="faultlab-command-") as folder:
            words = filled(self.command, {"log": f"{folder}/{LOG}", "checkpoint": f"{folder}/{CHECKPOINT}"})
            Path(folder, LOG).write_text("".join(json.dumps(line) + "\n" for line in self._lines), encoding="utf-8")
            if any(CHECKPOINT in word for word in words):
                torch.save(pl_module.state_dict(), f"{folder}/{CHECKPOINT}")
            self._judge(words)

    def _log_metrics(self, trainer: Any) -> None:
        view = view_of(trainer)
        if view.sanity_checking:
            return
        metrics = {name: float(value) for name, value in (view.callback_metrics or {}).items()}
        # Trainers keep old values: only what has changed is new.
        new = {name: value for name, value in metrics.items() if value != self._metrics.get(name)}
        if new:
            self._metrics = metrics
            self._lines.append({"step": view.global_step, "epoch": view.current_epoch, **new})

    def _judge(self, words: list[str]) -> None:
        try:
            process = subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        except OSError as error:
            raise CommandFailed(f"can't run {shlex.join(words[:1])}: {error.strerror}") from None
        with process:
            try:
                said = _last_words(process, time.monotonic() + self.timeout)
                has_ended = process.poll() is not None
            finally:
                process.kill()
        if not has_ended:
            raise CommandFailed(f"{words[0]} has not ended within {self.timeout:g} s")
        if process.returncode:
            lines = said.decode(errors="replace").strip().splitlines()
            raise CommandFailed(f"exit code {process.returncode}: " + "\n".join(lines[-_LINES:]))


def _last_words(process: subprocess.Popen[bytes], deadline: float) -> bytes:
    """Return the end of what a process prints until it ends, or until the deadline."""
    assert process.stdout is not None
    output, said, rest = process.stdout.fileno(), b"", _KEPT
    os.set_blocking(output, False)
    with selectors.DefaultSelector() as waiting:
        waiting.register(output, selectors.EVENT_READ)
        while True:
            # What it has started may keep its output open and print more, after what fits into a pipe.
            has_ended = process.poll() is not None or time.monotonic() >= deadline
            if not waiting.select(0 if has_ended else _PAUSE):
                if has_ended:
                    return said
                continue
            piece = os.read(output, _KEPT)
            if not piece:
                break
            said = (said + piece)[-_KEPT:]
            rest -= len(piece) if has_ended else 0
            if rest <= 0:
                return said
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(max(0.0, deadline - time.monotonic()))
    return said
