"""Ill trainings on several ranks, as scripts for ``torchrun``: each with the check and words that name its cause."""

from __future__ import annotations

from dataclasses import dataclass

HEALTHY = """
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

dist.init_process_group("gloo")
torch.manual_seed(0)
points = torch.randn(64, 4)
data = TensorDataset(points, (points[:, 0] > points[:, 1]).long())
sampler = DistributedSampler(data)
loader = DataLoader(data, batch_size=4, sampler=sampler)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
model = nn.parallel.DistributedDataParallel(net)
optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
for epoch in range(4):
    sampler.set_epoch(epoch)
    for inputs, labels in loader:
        loss = nn.functional.cross_entropy(model(inputs), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    dist.barrier()
dist.destroy_process_group()
"""

_STREAM = """class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(data)

loader = DataLoader(Stream(), batch_size=4)"""
_LOADER = "loader = DataLoader(data, batch_size=4, sampler=sampler)"


@dataclass(frozen=True)
class Ill:
    """A healthy script with some of its lines replaced."""

    name: str
    changes: tuple[tuple[str, str], ...]
    check: str
    what: str
    remedy: str

    def text(self) -> str:
        """Return the script."""
        text = HEALTHY
        for before, after in self.changes:
            assert before in text, before
            text = text.replace(before, after)
        return text


ILL = [
    Ill("no-sampler", ((_LOADER, "loader = DataLoader(data, batch_size=4)"),), "data of the ranks",
        "they train on the same batches", "DistributedSampler"),
    Ill("stream", ((_LOADER, _STREAM),), "data of the ranks", "they train on the same batches", "by its rank"),
    Ill("past-the-wrapper", (("model(inputs)", "model.module(inputs)"),), "parameters of the ranks",
        "the ranks end with different parameters", "not its .module"),
    Ill("no-epoch", (("    sampler.set_epoch(epoch)\n", ""),), "order of the epochs", "never given the epoch",
        "sampler.set_epoch(epoch)"),
    Ill("unseeded-split", (("torch.manual_seed(0)\n", ""), ("sampler = Dist", "data, _ = torch.utils.data.random_split("
        "data, [56, 8])\nsampler = Dist")), "split of the data", "draws without a seed", "generator="),
    Ill("unused", (("model = nn", "net.add_module('unused', nn.Identity())\nnet.unused.weight = nn.Parameter("
        "torch.ones(1))\nmodel = nn"),), "ranks", "have no part in the loss", "find_unused_parameters"),
    Ill("barrier-of-one", (("    dist.barrier()\n", "    if dist.get_rank() == 0:\n        dist.barrier()\n"),),
        "ranks", "the ranks wait for each other: ", "under `if rank == 0`"),
    Ill("nccl", (('"gloo"', '"nccl"'),), "ranks", "one of nccl", "torch.cuda.is_available()"),
    Ill("fixed-rank", (('"gloo"', '"gloo", "tcp://localhost:29600", rank=0, world_size=2'),), "ranks",
        "has rank=0 in the process of rank 1", "environment variable RANK"),
    Ill("one-rank-fails", (("    dist.barrier()\n", "    if dist.get_rank():\n        raise KeyError('shard-1')\n"
        "    dist.barrier()\n"),), "ranks", "rank 1 with KeyError: 'shard-1'", ""),
]  # fmt: skip
