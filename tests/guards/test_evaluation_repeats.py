"""EvaluationRepeats: draws in eval mode by mistake and on purpose."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from faultlab.guards import Alarm, EvaluationRepeats, watch
from tests.guards.rig import Healthy, alarm_of, fit, loaders


class Drawing(Healthy):
    """A healthy module with another body."""

    def __init__(self, *body: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), *body)


class Forgetful(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return F.dropout(inputs, 0.2)


class Attentive(nn.Module):
    def __init__(self, guarded: bool) -> None:
        super().__init__()
        self.guarded = guarded

    def forward(self, inputs: Tensor) -> Tensor:
        x = inputs[:, None, None, :]
        drop = 0.2 if self.training or not self.guarded else 0.0
        return F.scaled_dot_product_attention(torch.cat([x, -x], 2), x, x, dropout_p=drop).sum(2)[:, 0]


class Noise(nn.Module):
    """Adds noise; only in training if it is ``guarded``."""

    def __init__(self, guarded: bool) -> None:
        super().__init__()
        self.guarded = guarded

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs + 0.1 * torch.randn_like(inputs) if self.training or not self.guarded else inputs


class AlwaysOn(nn.Module):
    """A prenet that keeps dropout on, as in speech synthesis."""

    def forward(self, inputs: Tensor) -> Tensor:
        return F.dropout(inputs, 0.2, training=True)


class Guarded(nn.Module):
    def forward(self, inputs: Tensor) -> Tensor:
        return F.dropout(inputs, 0.2, training=self.training)


class Sampling(nn.Module):
    """Draws a code from the mean and spread that an encoder returns, as a variational autoencoder does."""

    def forward(self, inputs: Tensor) -> Tensor:
        mean, log_variance = inputs.chunk(2, dim=1)
        code = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        return torch.cat([code, code], dim=1)


class Binary(nn.Module):
    """Stochastic units, on or off."""

    def forward(self, inputs: Tensor) -> Tensor:
        return (torch.rand_like(inputs) < inputs.sigmoid()).float()


class Diffusing(Healthy):
    """Draws noise and its strength in the step, in validation too."""

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        inputs = batch[0]
        strength = torch.rand(len(inputs), 1)
        self.log("val_loss", F.cross_entropy(self(inputs + strength * torch.randn_like(inputs)), batch[1]))


class Corrupted(Diffusing):
    """A denoiser whose step calls the layer that corrupts its inputs."""

    def __init__(self) -> None:
        super().__init__()
        self.corrupt = Noise(guarded=False)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        return F.cross_entropy(self.head(self.body(self.corrupt(batch[0]))), batch[1])

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.log("val_loss", F.cross_entropy(self.head(self.body(self.corrupt(batch[0]))), batch[1]))


class MonteCarlo(Healthy):
    """Leaves its dropout layers in training mode in validation to estimate its uncertainty."""

    def on_validation_epoch_start(self) -> None:
        self.body[3].train()


@pytest.mark.parametrize(
    ("layer", "check", "said"),
    [
        (Forgetful(), "dropout", "training=self.training"),
        (Attentive(guarded=False), "dropout", "dropout_p=p if self.training"),
        (Noise(guarded=False), "noise", "self.training is False"),
    ],
)
def test_dropout_and_noise_in_eval_mode_are_detected(layer: nn.Module, check: str, said: str) -> None:
    alarm = alarm_of(EvaluationRepeats(), Drawing(layer))
    assert alarm is not None
    assert alarm.check == check
    assert said in alarm.remedy
    assert "body.1" in alarm.found


@pytest.mark.parametrize(
    "make",
    [
        lambda: Drawing(Guarded()),
        lambda: Drawing(Attentive(guarded=True)),
        lambda: Drawing(Noise(guarded=True)),
        lambda: Drawing(AlwaysOn()),
        lambda: Drawing(Sampling()),
        lambda: Drawing(Binary()),
        Diffusing,
        Corrupted,
        MonteCarlo,
        Healthy,
    ],
)
def test_what_draws_on_purpose_is_allowed(make: Any) -> None:
    torch.manual_seed(0)
    fit(EvaluationRepeats(), make())


def test_a_step_that_calls_the_parts_by_themselves_is_looked_at_part_by_part() -> None:
    class InParts(Drawing):
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", F.cross_entropy(self.head(self.body(batch[0])), batch[1]))

    alarm = alarm_of(EvaluationRepeats(), InParts(Forgetful()))
    assert alarm is not None
    assert alarm.check == "dropout"


class _Net(nn.Module):
    """Drops values by itself, and not in a part."""

    def __init__(self, guarded: bool) -> None:
        super().__init__()
        self.hidden, self.head = nn.Linear(4, 8), nn.Linear(8, 2)
        self.guarded = guarded

    def forward(self, inputs: Tensor) -> Tensor:
        return self.head(F.dropout(self.hidden(inputs), 0.2, self.training or not self.guarded))


@pytest.mark.parametrize("guarded", [False, True])
def test_dropout_of_the_model_itself_is_detected_in_a_loop(guarded: bool) -> None:
    training, validation = loaders()
    model = _Net(guarded)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)

    def loop() -> None:
        with watch(model, optimizer, guards=EvaluationRepeats(), loader=training, validation=validation):
            for _ in range(2):
                for inputs, labels in training:
                    optimizer.zero_grad()
                    F.cross_entropy(model.train()(inputs), labels).backward()
                    optimizer.step()
                with torch.no_grad():
                    for inputs, _ in validation:
                        model.eval()(inputs)

    if guarded:
        loop()
    else:
        with pytest.raises(Alarm, match="dropout drops values in _Net"):
            loop()
