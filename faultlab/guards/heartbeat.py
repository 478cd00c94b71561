"""The guard that writes a heartbeat for a process that watches the training from outside."""

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
"""The environment variable with the path of the file; ``faultlab watch`` sets it."""


class Heartbeat(Guard):
    """A heartbeat for ``faultlab watch``, and a guard against a full disk.

    It writes its state (begun, finished or failed), the step and the epoch to the file that the environment variable
    ``FAULTLAB_HEARTBEAT`` names, and does nothing if the variable is not set. It raises an alarm if the file can't be
    written since the disk is full.

    Args:
        interval: The minimum time between writes, in seconds.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    checks = {"disk-full": "the disk that the heartbeat is written to is full"}
    causes = {
        "disk-full": "disk, space, checkpoint, lost",
    }

    def __init__(self, interval: float = 1.0, *, action: Action = "raise", leave_out: tuple[str, ...] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.interval = interval
        self._path = ""
        self._due = 0.0

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        # One of several processes that train together is enough.
        self._path = os.environ.get(VARIABLE, "") if trainer.is_global_zero else ""
        self.dormant = not self._path
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
            self.skip(f"the heartbeat can't be written: {failed.strerror}")
            if failed.errno in (errno.ENOSPC, errno.EDQUOT):
                folder = os.path.dirname(self._path) or "."
                self.alarm(
                    "disk-full",
                    f"no space is left on the disk of {folder} at step {trainer.global_step}",
                    "Free some space before the next checkpoint, which would be lost.",
                )
