"""OutputsVary: constant outputs, and activations that pass nothing on."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from faultlab.guards import OutputsVary
from tests.guards.rig import Healthy, alarm_of, fit


class Changed(Healthy):
    """Applies a function to its outputs."""

    def forward(self, inputs: Any) -> Any:
        return self.change(super().forward(inputs))

    def change(self, outputs: Any) -> Any:
        return outputs


def test_the_same_output_for_every_sample_is_detected_within_three_steps() -> None:
    class Constant(Changed):
        def change(self, outputs: Any) -> Any:
            return outputs * 0

    alarm = alarm_of(OutputsVary(), module := Constant())
    assert alarm is not None
    assert alarm.check == "constant"
    assert module.global_step <= 3


def test_an_output_that_is_not_finite_is_detected_at_that_step() -> None:
    class Broken(Changed):
        def change(self, outputs: Any) -> Any:
            return outputs * torch.nan if self.training and self.global_step == 13 else outputs

    alarm = alarm_of(OutputsVary(), module := Broken())
    assert alarm is not None
    assert alarm.check == "not-finite"
    assert module.global_step == 13


def test_an_output_in_half_precision_is_detected_unless_the_trainer_asked_for_it() -> None:
    class Half(Changed):
        def change(self, outputs: Any) -> Any:
            return outputs.half()

    alarm = alarm_of(OutputsVary(), Half())
    assert alarm is not None
    assert alarm.check == "half-precision"
    fit(OutputsVary(), precision="bf16-mixed")


class Mixed(Healthy):
    """Computes its layers in half precision without the Trainer's knowledge, and returns the last one's output."""

    def forward(self, inputs: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16):
            return super().forward(inputs)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return nn.functional.cross_entropy(self(batch[0]).float(), batch[1])


def test_autocast_of_a_part_of_the_step_is_allowed() -> None:
    fit(OutputsVary(), Mixed())


def test_a_last_layer_alone_in_half_precision_is_detected() -> None:
    class Cast(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.head.register_forward_hook(lambda part, args, output: output.bfloat16())

    alarm = alarm_of(OutputsVary(), Cast())
    assert alarm is not None
    assert alarm.check == "half-precision"


def test_a_dead_activation_is_detected_and_named() -> None:
    module = Healthy()
    nn.init.constant_(module.body[1].bias, -100.0)
    alarm = alarm_of(OutputsVary(leave_out=["constant"]), module)
    assert alarm is not None
    assert alarm.check == "dead"
    assert "body.2" in alarm.found


def test_a_saturated_activation_is_detected_and_one_that_answers_is_not() -> None:
    module = Healthy()
    module.body[2] = nn.Tanh()
    with torch.no_grad():
        module.body[1].weight.mul_(500.0)
    alarm = alarm_of(OutputsVary(), module)
    assert alarm is not None
    assert alarm.check == "saturated"

    class Answering(Changed):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Sequential(nn.Linear(8, 2), nn.Sigmoid())
            nn.init.constant_(self.head[0].bias, 50.0)

    fit(OutputsVary(leave_out=["constant"]), Answering())


def test_a_model_whose_forward_is_bypassed_is_listened_to_at_its_parts() -> None:
    class Bypassed(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.head.weight.data.fill_(torch.nan)
            return self.forward(batch[0]).mean()

    alarm = alarm_of(OutputsVary(), Bypassed())
    assert alarm is not None
    assert alarm.check == "not-finite"
    assert "head" in alarm.found


def test_a_head_that_begins_with_zeros_is_allowed() -> None:
    module = Healthy()
    for parameter in module.head.parameters():
        nn.init.zeros_(parameter)
    fit(OutputsVary(), module)
