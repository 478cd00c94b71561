"""Weights that are restored after a training, and the evaluations that they are chosen from."""

from __future__ import annotations

import copy

import torch
from torch import nn
from torch.nn import functional as F

from faultlab.doctor.whole.history import History, restoration
from faultlab.doctor.whole.stages import STAGES

_X = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
_Y = (_X[:, 0] > 0).long()


def _told(history: History) -> list[str]:
    return [one.what for one in STAGES.run({"whole": {"restored": history.restored}})]


def _restored(*picks: int, evaluated: int = 6) -> list[str]:
    """Return the findings if the weights of one of several evaluations are loaded after the training."""
    torch.manual_seed(0)
    net, history, kept = nn.Linear(4, 2), History(), []
    optimizer = torch.optim.SGD(net.parameters(), 1.0)
    for _ in range(evaluated):
        for _ in range(5):
            history.called(net, True)
            optimizer.zero_grad()
            F.cross_entropy(net(_X[:40]), _Y[:40]).backward()
            optimizer.step()
        with torch.no_grad():
            for x, y in ((_X[40:50], _Y[40:50]), (_X[50:], _Y[50:])):
                history.called(net, False)
                scores = net(x)
                history.compared("mse_loss", (scores[:, 1], y), F.mse_loss(scores[:, 1].sigmoid(), y.float()))
        kept.append(copy.deepcopy(net.state_dict()))
    history.close()
    other = nn.Linear(4, 2)
    for one in picks:
        other.load_state_dict(kept[one])
        history.loaded(other, "train.py:9")
    return _told(history)


def test_the_worst_weights_are_found_and_the_best_and_the_last_ones_are_not() -> None:
    (found,) = _restored(0)
    assert "are those of evaluation 1, with the highest loss" in found
    assert _restored(4) == []
    assert _restored(5) == []
    assert _restored(0, evaluated=3) == []
    assert _restored(4, 2, 0) == [], "snapshots that are looked at in turn"


def test_weights_of_no_evaluation_are_not_judged() -> None:
    history = History()
    history.loaded(nn.Linear(4, 2), "train.py:9")
    assert _told(history) == []


def test_weights_that_are_worse_in_one_part_only_are_healthy() -> None:
    # The second part is that of the training data, on which the loss falls to the end.
    passes = [{1: (first, None), 2: (second, None)} for first, second in ((0.5, 2.0), (0.9, 0.5), (1.0, 0.1), (1, 0))]
    assert not restoration(passes, 0)["worse"]


def test_weights_that_are_chosen_by_their_accuracy_are_healthy() -> None:
    passes = [{1: (loss, right)} for loss, right in ((0.9, 1.0), (0.5, 1.0), (0.3, 1.0), (0.1, 0.9))]
    assert not restoration(passes, 0)["worse"]
    assert restoration([{1: (loss, 1 - loss)} for loss in (0.9, 0.5, 0.3, 0.1)], 0)["worse"]


def test_batches_that_are_drawn_again_each_time_are_not_compared() -> None:
    assert restoration([{1: (0.9, None)}, {2: (0.5, None)}], 0) == {}
