"""A data set that a worker of the loader reads: its mutants run in another process than the test."""

import torch
from torch.utils.data import DataLoader, Dataset


class Line(Dataset):
    """Points on a line."""

    size = 16

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        x = torch.tensor([index / self.size])
        return x, 2 * x + 1


class Parabola(Line):
    """Read by a worker alone."""

    def __getitem__(self, index):
        x, _ = super().__getitem__(index)
        return x, x**2


def loader():
    """The points on the line, four at a time."""
    return DataLoader(Line(), batch_size=4)


def worked():
    """Those on the parabola, from another process."""
    return DataLoader(Parabola(), num_workers=1)
