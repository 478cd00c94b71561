"""SamplesIndependent: outputs that depend on more than their own sample."""

from __future__ import annotations

from collections import OrderedDict, UserDict
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from faultlab import guards
from faultlab.guards import SamplesIndependent
from tests.guards.rig import Healthy, alarm_of, fit, loaders, points


class Changed(Healthy):
    """Applies a function to its outputs."""

    def forward(self, inputs: Any) -> Any:
        return self.change(super().forward(inputs))

    def change(self, outputs: Any) -> Any:
        return outputs


class Rolled(Changed):
    def change(self, outputs: Any) -> Any:
        return 0.5 * outputs + 0.5 * outputs.roll(1, 0)


class Reversed(Changed):
    def change(self, outputs: Any) -> Any:
        return outputs.flip(0)


class Centred(Changed):
    def change(self, outputs: Any) -> Any:
        return outputs - outputs.mean(dim=0)


@pytest.mark.parametrize("cls", [Rolled, Reversed, Centred])
def test_outputs_that_depend_on_the_other_samples_are_detected_in_the_first_batch(cls: type[Changed]) -> None:
    alarm = alarm_of(SamplesIndependent(), module := cls())
    assert alarm is not None
    assert alarm.check == "mixes"
    assert module.global_step <= 1


def test_samples_that_are_mixed_in_a_loop_by_hand_are_detected() -> None:
    def train() -> None:
        model, (loader, _) = Reversed(), loaders()
        optimizer = torch.optim.Adam(model.parameters())
        with guards.watch(model, optimizer, guards=[SamplesIndependent()], loader=loader):
            for inputs, labels in loader:
                F.cross_entropy(model(inputs), labels).backward()
                optimizer.step()

    with pytest.raises(guards.Alarm, match="samples are mixed"):
        train()


class Recurrent(Healthy):
    """Passes its inputs through a recurrent layer, which takes one dimension for time."""

    def __init__(self, batch_first: bool) -> None:
        super().__init__()
        self.recurrent = nn.GRU(1, 1, batch_first=batch_first)

    def forward(self, inputs: Any) -> Any:
        steps, _ = self.recurrent(inputs[..., None])
        return super().forward(inputs + steps[..., 0])


def test_a_recurrent_layer_that_takes_the_batch_for_time_is_detected_and_named() -> None:
    alarm = alarm_of(SamplesIndependent(), Recurrent(batch_first=False))
    assert alarm is not None
    assert alarm.check == "mixes"
    assert "gru (batch_first=False)" in alarm.found
    assert "batch_first=True" in alarm.remedy


def test_a_recurrent_layer_over_time_keeps_it_quiet() -> None:
    assert alarm_of(SamplesIndependent(), Recurrent(batch_first=True)) is None


def test_a_softmax_over_the_batch_is_named_with_its_dimension() -> None:
    class OverSamples(Changed):
        def change(self, outputs: Any) -> Any:
            return F.log_softmax(outputs, dim=0)

    alarm = alarm_of(SamplesIndependent(), OverSamples())
    assert alarm is not None
    assert "log_softmax (dim=0)" in alarm.found
    assert "dim=-1" in alarm.remedy


def test_noise_of_a_source_of_its_own_is_detected() -> None:
    class Noisy(Changed):
        def change(self, outputs: Any) -> Any:
            source = torch.Generator()
            source.seed()
            return outputs + torch.randn(outputs.shape, generator=source)

    alarm = alarm_of(SamplesIndependent(), Noisy())
    assert alarm is not None
    assert alarm.check == "random"


@pytest.mark.parametrize("deterministic", [True, False])
def test_random_numbers_of_torch_are_allowed_unless_they_must_not_be(deterministic: bool) -> None:
    class Sampling(Changed):
        def change(self, outputs: Any) -> Any:
            return outputs + torch.randn_like(outputs)

    assert (alarm_of(SamplesIndependent(deterministic=deterministic), Sampling()) is not None) == deterministic


def test_a_recurrent_network_that_keeps_its_state_between_calls_is_allowed() -> None:
    class Continuing(Healthy):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.LSTM(4, 4, batch_first=True)
            self.hidden: Any = None

        def forward(self, x: Any) -> Any:
            if self.hidden is not None and self.hidden[0].shape[1] != len(x):
                self.hidden = None
            output, hidden = self.cell(x.unsqueeze(1), self.hidden)
            self.hidden = tuple(part.detach() for part in hidden)
            return super().forward(output[:, -1])

    assert alarm_of(SamplesIndependent(), Continuing()) is None


def test_an_output_that_was_kept_is_detected() -> None:
    class Keeping(Changed):
        kept: Any = None

        def change(self, outputs: Any) -> Any:
            if self.training:
                return outputs
            if self.kept is None:
                self.kept = outputs
            return self.kept

    alarm = alarm_of(SamplesIndependent(), Keeping(), num_sanity_val_steps=0)
    assert alarm is not None
    assert alarm.check == "cached"


def test_a_comparison_of_the_samples_with_each_other_is_allowed() -> None:
    class Contrasting(Changed):
        def change(self, outputs: Any) -> Any:
            return outputs @ outputs.T

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return torch.nn.functional.cross_entropy(self(batch[0]), torch.arange(len(batch[0])))

        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            """Do nothing."""

    fit(SamplesIndependent(), Contrasting())


def test_inputs_whose_first_dimension_is_not_that_of_the_samples_are_allowed() -> None:
    class Transposed(Centred):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self(torch.cat([batch[0], batch[0]])).square().mean()

    fit(SamplesIndependent(), Transposed())


class Bag:
    """A batch of a custom class that knows its number of samples."""

    def __init__(self, inputs: Any, labels: Any) -> None:
        self.inputs, self.labels = inputs, labels

    def to(self, *args: Any, **kwargs: Any) -> Bag:
        return Bag(self.inputs.to(*args, **kwargs), self.labels.to(*args, **kwargs))


class Bagged(Healthy):
    """Has a forward pass that takes the whole batch."""

    def forward(self, bag: Any) -> Any:
        return super().forward(bag.inputs)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self(batch), batch.labels)


class Named(Rolled):
    """The same for batches with names; it mixes the samples."""

    def forward(self, batch: Any) -> Any:
        return super().forward(batch["inputs"])

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return F.cross_entropy(self(batch), batch["labels"])


def collated(make: Any) -> DataLoader[Any]:
    def collate(samples: Any) -> Any:
        inputs, labels = zip(*samples)
        return make(inputs=torch.stack(inputs), labels=torch.stack(labels))

    return DataLoader(points(), 16, collate_fn=collate)


def test_batches_of_a_class_of_its_own_are_allowed_and_that_is_counted() -> None:
    guard = SamplesIndependent()
    fit(guard, Bagged(), train=collated(Bag), limit_val_batches=0)
    assert "an input of the custom class Bag can't be built again" in guard.report()


@pytest.mark.parametrize("make", [dict, OrderedDict, UserDict])
def test_samples_that_are_mixed_are_detected_in_batches_with_names(make: Any) -> None:
    alarm = alarm_of(SamplesIndependent(), Named(), train=collated(make), limit_val_batches=0)
    assert alarm is not None
    assert alarm.check == "mixes"


def test_ranges_taken_from_the_batch_are_allowed() -> None:
    class FakeQuantize(nn.Module):
        def forward(self, values: Any) -> Any:
            scale = values.detach().abs().max() / 3
            return values + ((values / scale).round() * scale - values).detach()

    class Rounded(Changed):
        def __init__(self) -> None:
            super().__init__()
            self.quantize = FakeQuantize()

        def change(self, outputs: Any) -> Any:
            return self.quantize(outputs)

    fit(SamplesIndependent(), Rounded())


class Attending(Changed):
    """Has an attention over the features, whose projection torch names after quantization."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True)

    def change(self, outputs: Any) -> Any:
        return outputs + self.mix(outputs.unsqueeze(1).repeat(1, 1, 2)).squeeze(1)[:, :2]


class Mixing(Attending):
    def change(self, outputs: Any) -> Any:
        places = torch.arange(len(outputs), dtype=outputs.dtype).unsqueeze(1)
        return super().change(outputs + places)


def test_a_transformer_whose_positions_are_those_of_the_batch_is_detected() -> None:
    fit(guard := SamplesIndependent(), Attending())
    assert guard.looked
    assert alarm_of(SamplesIndependent(), Mixing()) is not None
