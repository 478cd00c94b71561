"""Training loops that compute gradients and step optimizers in every way that torch offers, for the tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from tests.frameworks.hand_written import Net, _training, evaluate

EPOCHS = 1


def _trained(model: nn.Module, step: Callable[[torch.Tensor], None], **more: Any) -> None:
    """Train for 10 batches, each of which ``step`` gets the loss of."""
    for _ in range(EPOCHS):
        for points, labels in _training():
            step(F.cross_entropy(model(points), labels))


def by_function() -> None:
    """Calls `torch.autograd.backward` in place of the tensor's method."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        torch.autograd.backward([loss])
        optimizer.step()

    _trained(model, step)


def by_hand() -> None:
    """Asks for the gradients, and clears them by hand."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(loss: torch.Tensor) -> None:
        for parameter, gradient in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters()))):
            parameter.grad = gradient
        optimizer.step()
        for parameter in model.parameters():
            parameter.grad = None

    _trained(model, step)


def clearing_by_hand() -> None:
    """Calls backward, and clears the gradients by hand."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(loss: torch.Tensor) -> None:
        loss.backward()
        optimizer.step()
        for parameter in model.parameters():
            parameter.grad = None

    _trained(model, step)


def in_backward() -> None:
    """Steps an optimizer for each parameter as soon as its gradient is there, so that no gradient is kept."""
    model = Net()
    optimizers = {parameter: torch.optim.SGD([parameter], lr=0.1) for parameter in model.parameters()}

    def update(parameter: torch.Tensor) -> None:
        optimizers[parameter].step()
        optimizers[parameter].zero_grad()

    for parameter in model.parameters():
        parameter.register_post_accumulate_grad_hook(update)
    _trained(model, lambda loss: loss.backward())


def with_closure() -> None:
    """Steps an optimizer that calls the model several times for each batch."""
    model = Net()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    for points, labels in _training():

        def closure() -> torch.Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(points), labels)  # noqa: B023
            loss.backward()
            return loss

        optimizer.step(closure)


def compiled() -> None:
    """Trains a compiled model."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    fast = torch.compile(model, backend="eager")

    def step(loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    _trained(fast, step)  # type: ignore[arg-type]


class Thrifty(Net):
    """Computes its hidden layer again in backward, to save memory."""

    reentrant = False

    def forward(self, points: torch.Tensor) -> torch.Tensor:
        if self.reentrant:
            points = points.clone().requires_grad_()
        hidden = checkpoint(lambda x: F.relu(self.norm(self.hidden(x))), points, use_reentrant=self.reentrant)
        scores: torch.Tensor = self.head(self.drop(hidden))
        return scores


def checkpointed(reentrant: bool = False) -> None:
    model = Thrifty()
    model.reentrant = reentrant
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        torch.autograd.backward(loss)
        optimizer.step()

    _trained(model, step)


def checkpointed_reentrant() -> None:
    """Checkpoints in the way in which backward calls backward again."""
    checkpointed(reentrant=True)


def several() -> None:
    """Trains two models by two optimizers, each by a loss of its own."""
    models = Net(), Net(width=4)
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in models]
    for points, labels in _training():
        for model, optimizer in zip(models, optimizers):
            optimizer.zero_grad()
            F.cross_entropy(model(points), labels).backward()
            optimizer.step()


def cleared_by_module() -> None:
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def step(loss: torch.Tensor) -> None:
        model.zero_grad()
        loss.backward()
        optimizer.step()

    _trained(model, step)


def accumulating(batches: int = 3) -> None:
    """Steps once in three batches; the last one of ten is not stepped for."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for number, (points, labels) in enumerate(_training()):
        (F.cross_entropy(model(points), labels) / batches).backward()
        if number % batches == batches - 1:
            optimizer.step()
            optimizer.zero_grad()


def scheduled(per_batch: bool = False) -> dict[str, float]:
    """Steps its scheduler once an epoch, or after every batch by mistake."""
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    for _ in range(2):
        model.train()
        for points, labels in _training():
            optimizer.zero_grad()
            F.cross_entropy(model(points), labels).backward()
            optimizer.step()
            if per_batch:
                scheduler.step()
        if not per_batch:
            scheduler.step()
    return evaluate(model)
