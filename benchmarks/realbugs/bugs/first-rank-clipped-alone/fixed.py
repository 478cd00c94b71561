"""A classifier of digits whose hidden layer two processes share, each with one half of its neurons."""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.ranks import WORLD, together
from benchmarks.realbugs.training import Loop


def summed(values):
    total = values.detach().clone()
    if dist.is_initialized():
        dist.all_reduce(total)
    return total


class SumForward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        return summed(values)

    @staticmethod
    def backward(ctx, gradient):
        return gradient


class SumBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values):
        return values.clone()

    @staticmethod
    def backward(ctx, gradient):
        return summed(gradient)


class Half(nn.Module):
    """A normalization that every rank has, and the rank's own half of the neurons."""

    def __init__(self):
        super().__init__()
        self.norm = nn.LayerNorm(64)
        self.into = nn.Linear(64, 24)
        self.out = nn.Linear(24, 10, bias=False)

    def forward(self, images):
        inputs = SumBackward.apply(self.norm(images))
        return SumForward.apply(self.out(torch.relu(self.into(inputs))))


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def counted(model, rank):
    """Return the parameters whose gradients a rank adds to the norm of all: those that all ranks have count once."""
    return [one for name, one in model.named_parameters() if rank == 0 or not name.startswith("norm")]


def clip(model, rank, most):
    mine = counted(model, rank)
    norm = summed(sum(one.grad.square().sum() for one in mine)).sqrt()
    for one in model.parameters():
        one.grad.mul_((most / norm).clamp(max=1))


def build():
    train_set, held_out = digits()
    model = Half()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.3)
    return Loop(model, batches(train_set, 32, False), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    def work(rank):
        if rank == 1:
            parts.model.into.reset_parameters()
            parts.model.out.reset_parameters()
        parts.model.train()
        for _ in range(2):
            for batch in parts.loader:
                parts.optimizer.zero_grad()
                loss = objective(parts.model, batch)
                loss.backward()
                clip(parts.model, rank, 0.5)
                parts.optimizer.step()
        weights = torch.cat([one.detach() for one in parts.model.norm.parameters()])
        both = [torch.empty_like(weights) for _ in range(WORLD)]
        dist.all_gather(both, weights)
        return float((both[0] - both[1]).norm())

    parts.kept["apart"] = together(work)


def measure(parts):
    return parts.kept["apart"]
