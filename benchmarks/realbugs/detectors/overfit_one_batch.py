"""The classic test: a copy of the model must learn a single batch by heart."""

import copy

import torch

from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run

STEPS = 200
LEFT = 0.1


@detector(
    "overfit one batch",
    "stock",
    f"A test as people write it: {STEPS} steps of Adam(lr=0.01) on one batch bring the loss of a copy to at most "
    f"{LEFT:.0%} of its first value.",
    before=True,
)
def watch(run: Run) -> None:
    batch, model = run.batch(), copy.deepcopy(run.parts.model)
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = run.parts.loss(model, batch)
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    if not min(losses) <= LEFT * losses[0]:
        run.alert("overfit", f"in {STEPS} steps on one batch the loss went from {losses[0]:.4g} to {losses[-1]:.4g}")
