from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from faultlab.guards import TrainValidationAlike
from tests.guards.rig import Healthy, alarm_of, fit

FEATURES = 16


class Broad(Healthy):
    """Takes the first four features of inputs of any shape."""

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return super().forward(inputs.float().flatten(1)[:, :4])


def spots(n: int, seed: int) -> torch.Tensor:
    """Return features between 0 and 1, each with a mean of its own, ``float32[n, 16]``."""
    drawn = torch.rand(n, FEATURES, generator=torch.Generator().manual_seed(seed))
    return drawn ** torch.linspace(0.2, 4.0, FEATURES)


def on(training: torch.Tensor, validation: torch.Tensor) -> tuple[DataLoader[Any], DataLoader[Any]]:
    sets = [TensorDataset(inputs, torch.arange(len(inputs)) % 2) for inputs in (training, validation)]
    return DataLoader(sets[0], batch_size=32, shuffle=True), DataLoader(sets[1], batch_size=64)


def normal(n: int, seed: int) -> torch.Tensor:
    return torch.randn(n, FEATURES, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(
    ("check", "said", "alter"),
    [
        ("scale", " times the spread", lambda x: 255 * x),
        ("shift", "shifted", lambda x: x + 3 * x.std()),
        ("shift", "standard deviations", lambda x: x - 2),
        ("range", "outside the range", lambda x: x + torch.randn(x.shape)),
        ("clipped", "clipped", lambda x: x.clamp(0.25, 0.75)),
        ("constant-features", "16 features", lambda x: x * (torch.arange(FEATURES) % 2)),
        ("constant-features", "16 of the 16", lambda x: torch.zeros_like(x)),
        ("feature-order", "order", lambda x: x[:, torch.arange(FEATURES) * 7 % FEATURES]),
    ],
)
@pytest.mark.parametrize("sanity", [0, 2])
def test_training_inputs_unlike_validation_inputs_are_detected(check: str, said: str, alter: Any, sanity: int) -> None:
    torch.manual_seed(0)
    data = on(alter(spots(512, 0)), spots(128, 1))
    alarm = alarm_of(TrainValidationAlike(), Broad(), *data, num_sanity_val_steps=sanity)
    assert alarm is not None
    assert (alarm.check, said in alarm.found) == (check, True), alarm.found


def turned(x: torch.Tensor) -> torch.Tensor:
    images = x.view(-1, 1, 4, 4)
    return torch.cat([torch.rot90(part, k, (2, 3)) for k, part in enumerate(images.chunk(4))])


@pytest.mark.parametrize(
    "alter",
    [
        lambda x: x,
        turned,
        lambda x: torch.where(torch.rand(len(x), 1) < 0.5, x.flip(1), x),
        lambda x: x * (0.6 + 0.8 * torch.rand(len(x), 1)),
        lambda x: x + 0.1 * torch.randn(x.shape),
        lambda x: x * (torch.rand(x.shape) > 0.3),
        lambda x: x.double(),
    ],
)
def test_augmented_training_inputs_are_allowed(alter: Any) -> None:
    torch.manual_seed(0)
    shape = (-1, 1, 4, 4)
    fit(TrainValidationAlike(), Broad(), *on(alter(spots(512, 0)).view(shape), spots(128, 1).view(shape)))


class Redrawn(Dataset[Any]):
    """Adds other noise to its samples each time."""

    def __init__(self, samples: torch.Tensor) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> Any:
        return self.samples[index] + torch.randn(FEATURES), index % 2


@pytest.mark.parametrize("sanity", [0, 2])
def test_noise_that_is_drawn_anew_in_each_epoch_is_an_augmentation(sanity: int) -> None:
    training = DataLoader(Redrawn(spots(512, 0)), batch_size=32, shuffle=True)
    validation = on(spots(8, 0), spots(128, 1))[1]
    fit(TrainValidationAlike(), Broad(), training, validation, num_sanity_val_steps=sanity, max_epochs=4)


@pytest.mark.parametrize("seed", range(3))
def test_small_sets_sparse_features_and_heavy_tails_are_allowed(seed: int) -> None:
    for make in (
        normal,
        lambda n, s: normal(n, s).mul(1.5).exp(),
        lambda n, s: (normal(n, s) > 1.8).float(),
        lambda n, s: (10 ** torch.arange(FEATURES).div(4)) * normal(n, s) + 100,
    ):
        fit(TrainValidationAlike(), Broad(), *on(make(96, seed), make(40, seed + 100)), max_epochs=1)


def test_sorted_validation_data_are_judged_when_they_have_passed() -> None:
    far = torch.cat([normal(96, 0), normal(96, 1) + 30.0])
    fit(TrainValidationAlike(), Broad(), *on(far, far.flip(0)), limit_val_batches=1.0, num_sanity_val_steps=1)


def test_inputs_of_varying_length_and_token_ids_are_allowed() -> None:
    class Any_(Broad):  # noqa: N801 - a module that takes any of these batches
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return super().forward(inputs.float()[:, :4])

    for made in (lambda k: torch.randn(8, k + 5), lambda k: torch.randint(9, (8, k + 5))):
        batches = [(made(k), torch.arange(8) % 2) for k in range(6)]
        loader = DataLoader(batches, batch_size=None)  # type: ignore[arg-type]
        fit(TrainValidationAlike(), Any_(), loader, loader)
