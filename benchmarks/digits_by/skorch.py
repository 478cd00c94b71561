"""The digits classifier, trained by skorch."""

from __future__ import annotations

import torch
from skorch import NeuralNetClassifier
from skorch.callbacks import LRScheduler

from scenarios.digits.loop import Digits, evaluate
from scenarios.digits.splits import load_splits


def train(epochs: int = 2, learning_rate: float = 0.02) -> dict[str, float]:
    """Train for some epochs on a part of the data and return the metrics of the last."""
    images, labels = load_splits(0)["train"]
    net = NeuralNetClassifier(
        Digits,
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.AdamW,
        optimizer__weight_decay=1e-4,
        lr=learning_rate,
        max_epochs=epochs,
        batch_size=64,
        iterator_train__shuffle=True,
        iterator_train__drop_last=True,
        train_split=None,
        callbacks=[LRScheduler("ExponentialLR", gamma=0.5)],
        verbose=0,
    )
    net.fit(images[:512].numpy(), labels[:512].numpy())
    return evaluate(net.module_)
