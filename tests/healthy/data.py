"""What the healthy trainings learn from: data that come with scikit-learn, and data with a structure that is made up.

None of these functions touches the global random state.
"""

from __future__ import annotations

import functools
from typing import Any

import sklearn.datasets
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset


@functools.cache
def digits() -> tuple[TensorDataset, TensorDataset]:
    """Scans of digits, ``float32[n, 64]`` in [0, 1], and what they show, ``int64[n]``; for training and validation."""
    inputs, labels = sklearn.datasets.load_digits(return_X_y=True)
    return _split(torch.tensor(inputs / 16.0, dtype=torch.float32), torch.tensor(labels), 1024)


@functools.cache
def table(name: str) -> tuple[TensorDataset, TensorDataset]:
    """A table of scikit-learn's: standardised features, ``float32[n, k]``, and classes ``int64[n]``.

    The targets of "diabetes" are standardised numbers, ``float32[n, 1]``.
    """
    inputs, targets = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True)
    features = torch.tensor(inputs, dtype=torch.float32)
    features = (features - features.mean(0)) / features.std(0)
    wanted = torch.tensor(targets)
    if name == "diabetes":
        wanted = ((wanted - wanted.mean()) / wanted.std()).float()[:, None]
    return _split(features, wanted, int(0.75 * len(features)))


def _split(inputs: Tensor, targets: Tensor, train: int) -> tuple[TensorDataset, TensorDataset]:
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    inputs, targets = inputs[order], targets[order]
    return TensorDataset(inputs[:train], targets[:train]), TensorDataset(inputs[train:], targets[train:])


def loaders(data: tuple[Dataset[Any], Dataset[Any]], batch_size: int = 64, **more: Any) -> tuple[Any, Any]:
    """A shuffling loader of the training data, and one of the validation data in their order."""
    train, validation = data
    return (
        DataLoader(train, batch_size, shuffle=True, **more),
        DataLoader(validation, 2 * batch_size, **more),
    )


@functools.cache
def shapes(count: int, seed: int, size: int = 16) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy images ``float32[count, 1, size, size]`` with a bright rectangle in each.

    Returns:
        The images, the rectangles' masks of the same shape, and their boxes ``float32[count, 4]`` as centre and
        extent (x, y, width, height) in shares of the image.
    """
    made = torch.Generator().manual_seed(seed)
    images = 0.3 * torch.randn(count, 1, size, size, generator=made)
    masks, boxes = torch.zeros(count, 1, size, size), torch.zeros(count, 4)
    for number in range(count):
        width, height = torch.randint(4, 9, (2,), generator=made).tolist()
        left = int(torch.randint(0, size - width + 1, (), generator=made))
        top = int(torch.randint(0, size - height + 1, (), generator=made))
        masks[number, 0, top : top + height, left : left + width] = 1
        boxes[number] = torch.tensor([left + width / 2, top + height / 2, width, height]) / size
    return images + masks, masks, boxes


@functools.cache
def moons(count: int, seed: int) -> Tensor:
    """Points of two interleaved half circles, ``float32[count, 2]``."""
    points, _ = sklearn.datasets.make_moons(count, noise=0.05, random_state=seed)
    return torch.tensor(points, dtype=torch.float32)
