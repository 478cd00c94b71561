"""A classifier of digits that two processes train and validate, with metrics that are reduced over ranks."""

import torch
import torch.distributed as dist
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.ranks import WORLD, together
from benchmarks.realbugs.training import Loop, error_rate, evaluate


def objective(model, batch):
    images, labels = batch
    return F.cross_entropy(model(images), labels)


def scored(logits, labels):
    hits = (logits.argmax(-1) == labels).float().sum()
    count = torch.tensor(float(len(labels)))
    return {"hits": hits, "count": count, "top": hits.clone(), "seen": count.clone()}


def build():
    train_set, held_out = digits()
    model = Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 350, False), 10, optimizer=optimizer)


def train(parts):
    def work(rank):
        wrapped = DistributedDataParallel(parts.model)
        sampler = DistributedSampler(parts.loader.dataset, WORLD, rank)
        for epoch in range(2):
            sampler.set_epoch(epoch)
            wrapped.train()
            for batch in DataLoader(parts.loader.dataset, 32, sampler=sampler):
                parts.optimizer.zero_grad()
                loss = objective(wrapped, batch)
                loss.backward()
                parts.optimizer.step()
            wrapped.eval()
            images, labels = list(parts.validation)[rank]
            with torch.no_grad():
                metrics = scored(parts.model(images), labels)
            for value in metrics.values():
                dist.all_reduce(value)
        return float(metrics["hits"] / metrics["count"])

    parts.kept["accuracy"] = together(work)


def measure(parts):
    return abs(parts.kept["accuracy"] - (1 - evaluate(parts.model, parts.validation, error_rate)))
