"""Zoo loops that train on several ranks, as scripts for ``torchrun`` and for ``torch.multiprocessing.spawn`` do."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import torch
import torch.distributed as dist
import torch.multiprocessing as mp
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from tests.zoo.models import _points


class Net(nn.Module):
    """With buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits."""
        out: torch.Tensor = self.layers(x)
        return out


def _sharded() -> tuple[DataLoader[Any], DistributedSampler[Any]]:
    data = TensorDataset(*_points())
    sampler: DistributedSampler[Any] = DistributedSampler(data)
    return DataLoader(data, batch_size=4, sampler=sampler), sampler


def train_step(model: nn.Module, batch: Any) -> torch.Tensor:
    """Return the loss of a batch."""
    x, y = batch
    return F.cross_entropy(model(x), y)


def evaluate(model: nn.Module) -> dict[str, float]:
    """Return the loss on all data, in one process."""
    model.eval()
    with torch.no_grad():
        return {"val_loss": F.cross_entropy(model(_points()[0]), _points()[1]).item()}


def ddp(epochs: int = 2) -> dict[str, float]:
    """Train under DistributedDataParallel, with the variables of ``torchrun``."""
    dist.init_process_group("gloo" if not torch.cuda.is_available() else "nccl")
    assert int(os.environ["LOCAL_RANK"]) == dist.get_rank()
    model, (loader, sampler) = DistributedDataParallel(Net()), _sharded()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    metrics: dict[str, float] = {}
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        model.train()
        for batch in loader:
            loss = train_step(model, batch)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        if dist.get_rank() == 0:
            metrics = {"train_loss": mean.item() / dist.get_world_size(), **evaluate(model.module)}
        dist.barrier()
    dist.destroy_process_group()
    return metrics


def watched(epochs: int = 2) -> dict[str, float]:
    """Train as `ddp` does, under a guard that compares ranks."""
    from faultlab import guards

    dist.init_process_group("gloo")
    model, (loader, sampler) = DistributedDataParallel(Net()), _sharded()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    with guards.watch(model, optimizer, guards=[guards.RanksAgree()], loader=loader):
        for epoch in range(epochs):
            sampler.set_epoch(epoch)
            for batch in loader:
                loss = train_step(model, batch)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        # Before the guards are detached.
        dist.destroy_process_group()
    return evaluate(model.module) if os.environ["RANK"] == "0" else {}


def by_hand(epochs: int = 2) -> None:
    """Average the gradients by hand, in a group of its own, with every kind of collective that gloo has on one host."""
    dist.init_process_group("gloo", init_method="env://")
    rank, size = dist.get_rank(), dist.get_world_size()
    group = dist.new_group(list(range(size)))
    pairs = [dist.new_group([one]) for one in range(size)]
    torch.manual_seed(rank)
    model, (loader, sampler) = Net(), _sharded()
    for tensor in model.state_dict().values():
        dist.broadcast(tensor, 0, group=group)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for epoch in range(epochs):
        sampler.set_epoch(epoch)
        for batch in loader:
            optimizer.zero_grad()
            train_step(model, batch).backward()
            works = [
                dist.all_reduce(parameter.grad, group=group, async_op=True)
                for parameter in model.parameters()
                if parameter.grad is not None
            ]
            for work in works:
                work.wait()
            for parameter in model.parameters():
                assert parameter.grad is not None
                parameter.grad /= size
            optimizer.step()
        _talk(rank, size, pairs)
    dist.monitored_barrier()
    dist.destroy_process_group()


def _talk(rank: int, size: int, pairs: list[Any]) -> None:
    own = torch.full((2,), float(rank))
    everything = torch.empty(2 * size)
    dist.all_gather_into_tensor(everything, own)
    assert everything.tolist() == [float(one) for one in range(size) for _ in range(2)]
    dist.all_reduce(own, group=pairs[rank])
    assert own.tolist() == [rank, rank]
    parts = [torch.empty(2) for _ in range(size)] if not rank else None
    dist.gather(own, parts)
    dist.scatter(own, parts)
    objects: list[Any] = [None] * size
    dist.all_gather_object(objects, {"rank": rank})
    assert [one["rank"] for one in objects] == list(range(size))
    sent = ["said by rank 0" if not rank else None]
    dist.broadcast_object_list(sent)
    assert sent == ["said by rank 0"]


def _work(rank: int, size: int, epochs: int) -> None:
    os.environ.update(MASTER_ADDR="localhost", MASTER_PORT="12355")
    dist.init_process_group("gloo", rank=rank, world_size=size)
    torch.manual_seed(0)
    model, (loader, _) = DistributedDataParallel(Net()), _sharded()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(epochs):
        for batch in loader:
            optimizer.zero_grad()
            train_step(model, batch).backward()
            optimizer.step()
    dist.destroy_process_group()


def spawned(processes: int = 2, epochs: int = 2) -> dict[str, float]:
    """Start the ranks, as scripts do that are run without a launcher."""
    mp.spawn(_work, args=(processes, epochs), nprocs=processes, join=True)
    assert "RANK" not in os.environ or os.environ["RANK"] == "0", "this process is none of the ranks"
    return {"done": 1.0}


def alone() -> None:
    """Train without any process group."""
    model, optimizer = Net(), None
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    train_step(model, _points()).backward()
    optimizer.step()


def four(rank: int = 0) -> None:
    """Name another number of ranks than two, or another rank than this one."""
    dist.init_process_group("gloo", "tcp://localhost:23456", rank=rank, world_size=4 if not rank else 2)


def one_fails() -> None:
    """Raise on one rank while the other waits for it."""
    dist.init_process_group("gloo")
    if dist.get_rank():
        raise ValueError("the data of rank 1 is missing")
    dist.barrier()


def launched() -> None:
    """Start the ranks by a launcher, in another process."""
    subprocess.run(
        [sys.executable, "-c", "pass", "torch.distributed.run", "--nproc_per_node=2", "train.py"], check=True
    )


def forked() -> None:
    """Start the ranks as processes, by hand."""
    processes = [mp.get_context("fork").Process(target=_work, args=(rank, 2, 1)) for rank in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
