"""Metrics in the output of trainings."""

from __future__ import annotations

import re

import pytest

from faultlab.discovery import loops, printed_metrics


@pytest.mark.parametrize(
    ("line", "metric", "mode", "value"),
    [
        ("epoch 3/8  train loss 0.1234  val loss 0.5  val acc 0.95", "val_loss", "min", "0.5"),
        ("Epoch 1: loss=0.12, accuracy=95.2%", "accuracy", "max", "95.2"),
        ("Test set: Average loss: 0.0276, Accuracy: 9916/10000 (99%)", "accuracy", "max", "9916"),
        ("[5] loss: 1.2e-3", "loss", "min", "1.2e-3"),
        ("test_f1 =   0.7", "test_f1", "max", "0.7"),
        ("====> Test set loss: 33.37", "test_set_loss", "min", "33.37"),
        ("Epoch: 0001 acc_train: 0.9 loss_val: 0.31 acc_val: 0.8", "loss_val", "min", "0.31"),
        ("loss nan", "loss", "min", "nan"),
    ],
)
def test_the_printed_number_that_measures_harm_best_is_found(line: str, metric: str, mode: str, value: str) -> None:
    found = printed_metrics.find(["Loading 60000 images", line], loops.monitor)
    assert found is not None
    pattern, monitor = found
    assert monitor == {"metric": metric, "mode": mode}
    matched = re.search(pattern, line)
    assert matched is not None
    assert matched[metric] == value


@pytest.mark.parametrize("line", ["saved to best.pt", "epoch 3", "lr 0.1"])
def test_other_numbers_are_no_metrics(line: str) -> None:
    assert printed_metrics.find([line], loops.monitor) is None
