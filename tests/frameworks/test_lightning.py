"""Lightning keeps the contract of a framework too."""

from __future__ import annotations

from typing import Any

import pytest
from pytorch_lightning import Callback

from tests.frameworks.contract import FrameworkTester


class FiniteLoss(Callback):
    """A guard: ends the training at a loss that is not finite."""

    def on_before_backward(self, trainer: Any, pl_module: Any, loss: Any) -> None:
        if not loss.isfinite():
            raise ArithmeticError(f"the loss is {float(loss)}")


@pytest.mark.nightly(reason="the quick ring has each failure mode on Lightning; this asks the same of it as of others")
class TestLightning(FrameworkTester):
    scenario = """\
schema: 1
name: waves
module: {class_path: faultlab.cli.demo.model.LitWaves}
data: {class_path: faultlab.cli.demo.model.Waves}
trainer: {max_epochs: 2}
guards: [{class_path: tests.frameworks.test_lightning.FiniteLoss}]
"""
    tried = 150
