"""A classifier of digits that two processes train, each on its half of the data, validated in double precision."""

import copy

import torch
import torch.distributed as dist
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.ranks import WORLD, together
from benchmarks.realbugs.training import Loop, evaluate


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def exact_loss(model, loader):
    return evaluate(copy.deepcopy(model).double(), loader, F.cross_entropy)


def build():
    train_set, held_out = digits()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    images, labels = held_out.tensors
    exact = TensorDataset(images.double(), labels)
    parts = Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)
    parts.kept["exact"] = batches(exact, 128, False)
    return parts


def train(parts):
    def work(rank):
        wrapped = DistributedDataParallel(parts.model)
        sampler = DistributedSampler(parts.loader.dataset, WORLD, rank)
        loader = DataLoader(parts.loader.dataset, 32, sampler=sampler)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            wrapped.train()
            for batch in loader:
                parts.optimizer.zero_grad()
                loss = objective(wrapped, batch)
                loss.backward()
                parts.optimizer.step()
            exact_loss(parts.model, parts.kept["exact"])
        weights = torch.cat([one.detach().flatten() for one in parts.model.parameters()])
        both = [torch.empty_like(weights) for _ in range(WORLD)]
        dist.all_gather(both, weights)
        return float((both[0] - both[1]).norm())

    parts.kept["apart"] = together(work)


def measure(parts):
    return parts.kept["apart"]
