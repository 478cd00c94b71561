"""Small real data and models that the scripts of the bugs share."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from sklearn.datasets import load_diabetes, load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

_ONES = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
PAD, END = 0, 1
LETTERS = " abcdefghijklmnopqrstuvwxyz"
VOCABULARY = 2 + len(LETTERS)


@cache
def _digits() -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = load_digits(return_X_y=True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))
    return torch.tensor(images, dtype=torch.float32)[order] / 16, torch.tensor(labels)[order]


def digits(train: int = 1000, held_out: int = 700) -> tuple[TensorDataset, TensorDataset]:
    """Return images of digits (64 values in 0 to 1) and their classes, for training and held out."""
    images, labels = _digits()
    first, last = slice(0, train), slice(len(images) - held_out, None)
    return TensorDataset(images[first], labels[first]), TensorDataset(images[last], labels[last])


@cache
def _diabetes() -> tuple[torch.Tensor, torch.Tensor]:
    inputs, targets = load_diabetes(return_X_y=True)
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    inputs, targets = torch.tensor(inputs, dtype=torch.float32)[order], torch.tensor(targets)[order].float()
    return inputs / inputs.std(0), (targets - targets.mean()) / targets.std()


def diabetes() -> tuple[TensorDataset, TensorDataset]:
    """Return 10 standardized measurements of patients and a standardized target, for training and held out."""
    inputs, targets = _diabetes()
    return TensorDataset(inputs[:320], targets[:320]), TensorDataset(inputs[320:], targets[320:])


def spelled(number: int) -> str:
    """Return the English name of a number below 1000."""
    if number < 20:
        return _ONES[number]
    if number < 100:
        rest = number % 10
        return _TENS[number // 10 - 2] + (f" {_ONES[rest]}" if rest else "")
    rest = number % 100
    return f"{_ONES[number // 100]} hundred" + (f" {spelled(rest)}" if rest else "")


@cache
def _text(length: int) -> torch.Tensor:
    rows = torch.full((1000, length), PAD)
    for number in range(1000):
        codes = [*[2 + LETTERS.index(letter) for letter in spelled(number)][: length - 1], END]
        rows[number, : len(codes)] = torch.tensor(codes)
    return rows[torch.randperm(1000, generator=torch.Generator().manual_seed(0))]


def text(length: int = 30) -> torch.Tensor:
    """Return the names of the numbers below 1000 as letters, each with an end, padded to a length."""
    return _text(length).clone()


class Net(nn.Module):
    """A multilayer perceptron, with dropout and batch normalization if asked for."""

    def __init__(
        self, inputs: int = 64, outputs: int = 10, width: int = 64, dropout: float = 0.0, norm: bool = False
    ) -> None:
        super().__init__()
        self.hidden = nn.Linear(inputs, width)
        self.norm = nn.BatchNorm1d(width) if norm else nn.Identity()
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(width, outputs)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.drop(torch.relu(self.norm(self.hidden(inputs)))))


class LetterModel(nn.Module):
    """A recurrent model of text that returns the logits of the next letter at each position."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, width)
        self.recur = nn.GRU(width, width, batch_first=True)
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, letters: torch.Tensor) -> torch.Tensor:
        return self.head(self.recur(self.embed(letters))[0])


def batches(dataset: Any, size: int = 32, shuffle: bool = True, **more: Any) -> DataLoader:
    """Return a loader of a dataset."""
    return DataLoader(dataset, batch_size=size, shuffle=shuffle, **more)
