"""What guards could not look at in a loop, in words of loops."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from faultlab import guards
from faultlab.guards import watch
from tests.frameworks import hand_written


@pytest.mark.parametrize(
    ("guard", "reason"),
    [
        (guards.MetricsRecomputed(), "the loop shows no metrics that could be compared"),
        (guards.LossFalls(metric="val_loss"), "the loop shows no metrics, so only the loss is judged"),
        (guards.LossFalls(), ""),
        (guards.RunEnded(), "so only exits are judged: pass max_epochs to watch"),
    ],
)
def test_of_a_loop_a_guard_names_what_it_lacks_in_words_of_loops(guard: guards.Guard, reason: str) -> None:
    model, loader, validation = hand_written.Net(), hand_written._training(), hand_written._held_out()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer, loader=loader, validation=validation, guards=[guard]) as watching:
        for points, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(points), labels).backward()
            optimizer.step()
        hand_written.evaluate(model.eval())
        for points, _ in validation:
            model(points)
    report = watching.report()
    assert reason in report
    assert bool(report) == bool(reason)
    assert "training_step" not in report
