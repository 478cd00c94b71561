"""A contrastive training on digits by two processes that compare their samples with those of both."""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.ranks import WORLD, together
from benchmarks.realbugs.training import Loop


class Gathered(torch.autograd.Function):
    @staticmethod
    def forward(ctx, mine):
        parts = [torch.empty_like(mine) for _ in range(WORLD)]
        dist.all_gather(parts, mine)
        return torch.stack(parts)

    @staticmethod
    def backward(ctx, gradient):
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total[dist.get_rank()]


def contrast(first, second, begin=0):
    return F.cross_entropy(first @ second.T / 0.2, begin + torch.arange(len(first)))


def objective(model, batch):
    images = batch[0]
    flipped = images.view(-1, 8, 8).roll(1, 2).flatten(1)
    return contrast(F.normalize(model(images), dim=-1), F.normalize(model(flipped), dim=-1))


def build():
    train_set, _ = digits(640)
    model = nn.Sequential(nn.Linear(64, 48), nn.ReLU(), nn.Linear(48, 16))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    return Loop(model, batches(train_set, 32, False), objective, optimizer=optimizer)


def gradient(model):
    return torch.cat([one.grad.flatten() for one in model.parameters()])


def train(parts):
    def work(rank):
        wrapped = DistributedDataParallel(parts.model)
        wrapped.train()
        deviation = None
        for images, _ in parts.loader:
            if deviation is None:
                objective(parts.model, (images,)).backward()
                true = gradient(parts.model)
            parts.optimizer.zero_grad()
            size = len(images) // WORLD
            mine = images[rank * size : (rank + 1) * size]
            views = torch.cat([mine, mine.view(-1, 8, 8).roll(1, 2).flatten(1)])
            first, second = F.normalize(wrapped(views), dim=-1).chunk(2)
            loss = contrast(first, Gathered.apply(second).flatten(0, 1), rank * size)
            loss.backward()
            if deviation is None:
                deviation = float((gradient(parts.model) - true).norm() / true.norm())
            parts.optimizer.step()
        return deviation

    parts.kept["deviation"] = together(work)


def measure(parts):
    return parts.kept["deviation"]
