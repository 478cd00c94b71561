"""torch's anomaly detection, with a stop at a loss that is not finite."""

import re
from typing import Any

import torch

from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run


class NotFinite(RuntimeError):  # noqa: N818 - it says what was found
    """A loss is not finite."""


@detector(
    "detect_anomaly, check_finite",
    "stock",
    "`Trainer(detect_anomaly=True)` with `EarlyStopping(check_finite=True)` on a logged loss; in loops "
    "`torch.autograd.set_detect_anomaly(True)` and a check that the loss is finite.",
    frameworks=("torch", "lightning"),
)
def watch(run: Run) -> None:
    try:
        _lightning(run) if run.framework == "lightning" else _loop(run)
    except RuntimeError as error:
        run.alert(type(error).__name__, str(error))


def _loop(run: Run) -> None:
    def finite(_: Any) -> None:
        if run.last_loss is not None and not torch.isfinite(run.last_loss).all():
            raise NotFinite(f"the loss is {float(run.last_loss)}")

    run.before_step(finite)
    with torch.autograd.set_detect_anomaly(True):
        run.train()


def _lightning(run: Run) -> None:
    from pytorch_lightning.callbacks import EarlyStopping

    logged = re.findall(r'self\.log\("(val_loss|train_loss)"', run.file.read_text())
    stops = [EarlyStopping(monitor=sorted(logged)[-1], check_finite=True)] if logged else []
    run.train(stops, detect_anomaly=True)
    for stop in stops:
        if "finite" in (stop.stopping_reason_message or ""):
            run.alert("EarlyStopping", stop.stopping_reason_message or "")
