"""One model in every form that `torch.compile` gives it, by a backend that needs no compiler and counts its graphs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

FORMS = ("wrapped", "in place", "method", "itself", "whole")
graphs: list[int] = []
"""How many operations each graph has that was compiled in this process."""


def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
    graphs.append(len(graph.graph.nodes))
    return graph.forward


class Network(nn.Module):
    """Has what guards listen to; ``broken`` is what its outputs are multiplied by."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(8, 2)
        self.register_buffer("broken", torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x)) * self.broken


def model(form: str = "", fullgraph: bool = True, namespace: str = "pytorch_lightning") -> Any:
    """The model compiled in one of the forms, in none where it is empty."""
    pl = importlib.import_module(namespace)

    class Compiled(pl.LightningModule):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = Network()
            how: dict[str, Any] = {"backend": backend, "fullgraph": fullgraph}
            if form == "wrapped":
                self.network = torch.compile(self.network, **how)
            elif form == "in place":
                self.network.compile(**how)
            elif form == "method":
                self.network.forward = torch.compile(self.network.forward, **how)
            elif form == "itself":
                self.compile(**how)

        def forward(self, x: torch.Tensor) -> Any:
            return self.network(x)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            # What does the work is the network, unless the module is what was compiled.
            outputs = self(batch[0]) if form == "itself" else self.network(batch[0])
            return F.cross_entropy(outputs, batch[1])

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", F.cross_entropy(self(batch[0]), batch[1]))

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    # What Lightning does in a step, such as logging, breaks the graph of a whole step.
    return torch.compile(Compiled(), backend=backend) if form == "whole" else Compiled()


def loaders() -> tuple[DataLoader[Any], DataLoader[Any]]:
    x = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
    data = TensorDataset(x, (x.sum(1) > 0).long())
    return DataLoader(data, batch_size=8, shuffle=True), DataLoader(data, batch_size=16)


def build(form: str = "", fullgraph: bool = True) -> tuple[Any, Any]:
    return model(form, fullgraph), loaders()
