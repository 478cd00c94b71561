"""Zoo models whose parameters are sharded over several ranks, by FSDP2 or by tensor parallelism."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.zoo.equipped import Configured
from tests.zoo.models import _points


class _Sharded(Configured):
    """Each part is sharded by itself, and the rest with the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))

    def configure_model(self) -> None:
        from torch.distributed.fsdp import fully_shard

        mesh = self.device_mesh["data_parallel"]
        fully_shard(self.net[0], mesh=mesh)
        fully_shard(self.net, mesh=mesh)

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y), sync_dist=True)


class _Split(_Sharded):
    """The first layer by columns, the second by rows."""

    def configure_model(self) -> None:
        from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, parallelize_module

        mesh = self.device_mesh["tensor_parallel"]
        parallelize_module(self.net, mesh, {"0": ColwiseParallel(), "2": RowwiseParallel()})


def _data() -> Any:
    data = TensorDataset(*_points())
    return DataLoader(data, batch_size=4, shuffle=True), DataLoader(data, batch_size=24)


def sharded() -> tuple[Any, Any, dict[str, Any]]:
    """FSDP2 over all ranks, which clip the gradients together."""
    return _Sharded(), _data(), {"gradient_clip_val": 0.3}


def split() -> tuple[Any, Any]:
    """Tensor parallelism over all ranks: each of them sees the same data."""
    return _Split(), _data()
