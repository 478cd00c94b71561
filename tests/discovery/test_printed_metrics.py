"""Metrics in the output of trainings."""

from __future__ import annotations

import re

import pytest

from faultlab.discovery import loops, printed_metrics
from faultlab.discovery.printed_metrics import Found


def _found(*lines: str) -> Found:
    found = printed_metrics.find(lines, loops.monitor)
    assert found is not None
    return found


def _read(found: Found, *lines: str) -> list[str]:
    """Return the numbers that a campaign would read in some lines."""
    matched = (re.search(found.pattern, line) for line in lines)
    return [one[found.monitor["metric"]] for one in matched if one]


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
        ("epoch   1  train mse 0.4294  val rmse 0.6780", "val_rmse", "min", "0.6780"),
        ("loss nan", "loss", "min", "nan"),
        ("INFO - epoch 1: {'eval_loss': 0.31, 'eval_accuracy': 0.9}", "eval_loss", "min", "0.31"),
        ('{"epoch": 2, "val_f1": 0.8}', "val_f1", "max", "0.8"),
    ],
)
def test_the_printed_number_that_measures_harm_best_is_found(line: str, metric: str, mode: str, value: str) -> None:
    found = _found("Loading 60000 images", line)
    assert found.monitor == {"metric": metric, "mode": mode}
    assert (_read(found, line), found.line, found.times) == ([value], line, 1)


@pytest.mark.parametrize("line", ["saved to best.pt", "epoch 3", "lr 0.1"])
def test_other_numbers_are_no_metrics(line: str) -> None:
    assert printed_metrics.find([line], loops.monitor) is None


_EPOCHS = ("epoch   1  train mse 0.4294  val rmse 0.6780", "epoch   2  train mse 0.2  val rmse 0.7000")


@pytest.mark.parametrize(
    "last",
    [
        "best val rmse: 0.6780",
        "best val rmse 0.6780",
        "Best val rmse=0.6780",
        "best_val rmse 0.6780",
        "lowest val rmse 0.6780",
        "val rmse: 0.6780",
        "test acc: 0.9",
        "saved model.pt",
    ],
)
def test_the_number_of_each_epoch_is_read_whatever_is_printed_at_the_end(last: str) -> None:
    found = _found(*_EPOCHS, last)
    assert (found.monitor["metric"], found.times, found.best) == ("val_rmse", 2, False)
    assert found.line == _EPOCHS[0]
    assert _read(found, *_EPOCHS, last) == ["0.6780", "0.7000"]


def test_the_current_value_is_read_beside_the_best_one_in_the_same_line() -> None:
    line = "epoch 1 best val loss 0.3 val loss 0.5"
    found = _found(line, line)
    assert (_read(found, line), found.best) == (["0.5"], False)


def test_a_validation_that_is_printed_once_comes_before_a_training_that_is_printed_often() -> None:
    found = _found("train loss 0.5", "train loss 0.4", "test accuracy 0.9")
    assert (found.monitor["metric"], found.times) == ("test_accuracy", 1)


@pytest.mark.parametrize(
    ("lines", "metric"),
    [
        (["best val rmse: 0.38"], "best_val_rmse"),
        (["loss 1.0", "loss 0.8", "best_val_loss 0.7"], "best_val_loss"),
        ([f"val loss {value}" for value in (0.9, 0.7, 0.7, 0.6)], "val_loss"),
        ([f"val acc {value}" for value in (0.1, 0.5, 0.5, 0.6)], "val_acc"),
    ],
)
def test_a_number_that_is_best_so_far_is_read_only_without_another_and_named_as_such(
    lines: list[str], metric: str
) -> None:
    found = _found(*lines)
    assert (found.monitor["metric"], found.best) == (metric, True)
    assert _read(found, *lines)


@pytest.mark.parametrize("values", [(0.9, 0.8, 0.7, 0.6), (0.5, 0.5, 0.5, 0.5), (0.9, 0.7, 0.7), (0.9, 0.7, 0.7, 0.8)])
def test_a_number_that_improves_or_stands_still_is_not_taken_for_the_best_so_far(values: tuple[float, ...]) -> None:
    assert not _found(*(f"val loss {value}" for value in values)).best


def test_a_line_with_control_characters_is_shown_without_them() -> None:
    assert _found("\x1b[2K\rval loss 0.5").line == "[2K val loss 0.5"
