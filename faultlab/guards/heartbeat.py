"""A sign of life for whoever watches the process from outside."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import time
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support.training_view import TrainingView

VARIABLE = "FAULTLAB_HEARTBEAT"
"""The environment variable that names the file; ``faultlab watch`` sets it."""


class Heartbeat(Guard):
    """Tells ``faultlab watch`` how far training is: that it has begun, its step and epoch, and that it has finished.

    It writes a line to the file that the environment variable ``FAULTLAB_HEARTBEAT`` names, once in ``interval``
    seconds at most, and keeps quiet where there is none. It alarms where that can't be written since the disk is full.
    """

    checks = {"disk-full": "the disk that the sign of life is written to is full"}
    causes = {
        "disk-full": "disk, space, checkpoint, lost",
    }

    def __init__(self, interval: float = 1.0, *, action: Action = "raise", leave_out: tuple[str, ...] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.interval = interval
        self._path = ""
        self._due = 0.0

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        # Of several processes that train together one is enough.
        self._path = os.environ.get(VARIABLE, "") if trainer.is_global_zero else ""
        self._beat(trainer, "begun")

    def on_train_batch_end(self, trainer: TrainingView, *args: Any) -> None:
        if self._path and time.monotonic() >= self._due:
            self._beat(trainer, "begun")

    def on_validation_batch_end(self, trainer: TrainingView, *args: Any) -> None:
        self.on_train_batch_end(trainer)

    def on_fit_end(self, trainer: TrainingView, pl_module: Any) -> None:
        self._beat(trainer, "finished")
        self._path = ""

    def on_exception(self, trainer: TrainingView, pl_module: Any, exception: BaseException) -> None:
        with contextlib.suppress(Exception):
            self._beat(trainer, "failed", type(exception).__name__)
        self._path = ""

    def _beat(self, trainer: TrainingView, state: str, error: str = "") -> None:
        if not self._path:
            return
        self._due = time.monotonic() + self.interval
        line = {"state": state, "step": trainer.global_step, "epoch": trainer.current_epoch, "error": error}
        new = f"{self._path}.{os.getpid()}"
        try:
            with open(new, "w") as file:
                file.write(json.dumps(line))
            os.replace(new, self._path)
            self.looked += 1
        except OSError as failed:
            self.skip(f"the sign of life can't be written: {failed.strerror}")
            if failed.errno in (errno.ENOSPC, errno.EDQUOT):
                folder = os.path.dirname(self._path) or "."
                self.alarm(
                    "disk-full",
                    f"no space is left on the disk of {folder} at step {trainer.global_step}",
                    "Free some before the next checkpoint: one that is written to a full disk is lost.",
                )
