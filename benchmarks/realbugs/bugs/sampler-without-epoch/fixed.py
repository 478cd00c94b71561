"""A loop with a DistributedSampler, as one of its processes would run it."""

import torch
from torch.nn import functional as F
from torch.utils.data import DistributedSampler

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def build():
    train_set, held_out = digits()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    sampler = DistributedSampler(train_set, num_replicas=2, rank=0, shuffle=True)
    loader = batches(train_set, 16, False, sampler=sampler)
    return Loop(model, loader, objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    firsts = parts.kept["firsts"] = []
    parts.model.train()
    for epoch in range(4):
        parts.loader.sampler.set_epoch(epoch)
        for index, batch in enumerate(parts.loader):
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()
            if index == 0:
                firsts.append(batch[0])


def measure(parts):
    first, *later = parts.kept["firsts"]
    return sum(torch.equal(first, one) for one in later) / len(later)
