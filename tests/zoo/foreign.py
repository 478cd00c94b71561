"""Forms that modules of other projects were found to have, each rebuilt as small as it goes."""

from __future__ import annotations

import importlib
from collections import UserDict
from collections.abc import Callable, Iterator, MutableMapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tests.zoo.models import PLAIN

TOKENS = 11


def _fit(namespace: str, parts: dict[str, nn.Module], loss: Callable[[Any, Any], Any], batches: list[Any]) -> Any:
    """A module with these parts that minimises ``loss(module, batch)`` over batches that are made already."""
    pl = importlib.import_module(namespace)

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return loss(self, batch)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.SGD(self.parameters(), lr=0.05)

    return Module(), DataLoader(batches, batch_size=None)


def _random() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def teacher_forced(namespace: str = PLAIN, named: bool = False) -> tuple[Any, Any]:
    """A translator: the decoder is given the very targets that the loss compares its outputs with."""
    g = _random()
    pairs = [torch.randint(1, TOKENS, (2, 4, 5), generator=g).unbind() for _ in range(4)]
    batches = [{"source": x, "labels": y} if named else (x, y) for x, y in pairs]

    def loss(module: Any, batch: Any) -> torch.Tensor:
        source, target = batch.values() if named else batch
        state = module.embed(source).mean(1, keepdim=True)
        logits = module.head(module.embed(F.pad(target, (1, -1))) + state)
        return F.cross_entropy(logits.flatten(0, 1), target.flatten())

    return _fit(namespace, {"embed": nn.Embedding(TOKENS, 8), "head": nn.Linear(8, TOKENS)}, loss, batches)


def autoencoder(namespace: str = PLAIN) -> tuple[Any, Any]:
    """Its input is its own label, under a condition that is none."""
    g = _random()
    batches = [{"x": torch.randn(6, 4, generator=g), "group": torch.randint(3, (6,), generator=g)} for _ in range(4)]

    def loss(module: Any, batch: Any) -> torch.Tensor:
        return F.mse_loss(module.net(batch["x"]) + module.shift(batch["group"]), batch["x"])

    return _fit(namespace, {"net": nn.Linear(4, 4), "shift": nn.Embedding(3, 4)}, loss, batches)


def weighed(namespace: str = PLAIN) -> tuple[Any, Any]:
    """The loss has a weight that is learnt, as the losses of several tasks have."""
    g = _random()
    batches = [(torch.randn(6, 4, generator=g), torch.randn(6, 1, generator=g)) for _ in range(4)]

    class Weight(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.log = nn.Parameter(torch.zeros(()))

    def loss(module: Any, batch: Any) -> torch.Tensor:
        x, y = batch
        return F.mse_loss(module.net(x), y) * torch.exp(-module.weight.log) + module.weight.log

    return _fit(namespace, {"net": nn.Linear(4, 1), "weight": Weight()}, loss, batches)


def forecaster(namespace: str = PLAIN) -> tuple[Any, Any]:
    """A nested batch with lengths, a scale of the targets, a mask of ones, and the targets themselves in two places."""
    g = _random()
    batches = []
    for _ in range(4):
        future = torch.randn(6, 3, generator=g)
        past = {
            "history": torch.randn(6, 5, generator=g),
            "history_lengths": torch.randint(2, 6, (6,), generator=g),
            "future": future,
            "target_scale": torch.rand(6, 2, generator=g) + 1,
            "observed": torch.ones(6, 3),
        }
        batches.append((past, (future, None)))

    def loss(module: Any, batch: Any) -> torch.Tensor:
        past, (future, _) = batch
        lengths = past["history_lengths"]
        if not bool((lengths > 0).all()):
            raise ValueError("a history is empty")
        known = torch.arange(5) < lengths[:, None]
        centre, spread = past["target_scale"][:, :1], past["target_scale"][:, 1:]
        predicted = module.net(past["history"] * known) * spread + centre
        return ((predicted - future) * past["observed"]).square().mean() + 0 * (past["future"] - predicted).mean()

    return _fit(namespace, {"net": nn.Linear(5, 3)}, loss, batches)


def augmented(namespace: str = PLAIN) -> tuple[Any, Any]:
    """A hook replaces every tensor of the batch before the step, as augmentation and a move to a device do."""
    g = _random()
    batches = [(torch.randn(6, 1, generator=g), torch.randn(6, 4, generator=g)) for _ in range(4)]
    base, data = _fit(
        namespace, {"net": nn.Linear(4, 1)}, lambda module, batch: F.mse_loss(module.net(batch[1]), batch[0]), batches
    )

    class Module(type(base)):  # type: ignore[misc]
        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            wanted, x = batch
            return wanted.clone(), x * 2

    return Module(), data


def headed(namespace: str = PLAIN) -> tuple[Any, Any]:
    """Trains through a backbone and one of several heads; its forward is there for validation and prediction alone."""
    g = _random()
    batches = [(torch.randn(6, 4, generator=g), torch.randn(6, 1, generator=g)) for _ in range(4)]
    heads = nn.ModuleDict({"value": nn.Sequential(nn.ReLU(), nn.Linear(8, 1)), "unused": nn.Linear(8, 3)})

    def loss(module: Any, batch: Any) -> torch.Tensor:
        x, y = batch
        return F.mse_loss(module.heads["value"](module.backbone(x)), y)

    base, data = _fit(namespace, {"backbone": nn.Linear(4, 8), "heads": heads}, loss, batches)

    class Module(type(base)):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.heads["value"](self.backbone(x))  # type: ignore[no-any-return]

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            x, y = batch
            self.log("val_loss", F.mse_loss(self(x), y))

    return Module(), (data, data)


class Joined(DataLoader[Any]):
    """Draws from two loaders at once, and from its own dataset nothing."""

    def __init__(self, *loaders: DataLoader[Any]) -> None:
        super().__init__(loaders[0].dataset, batch_size=loaders[0].batch_size)
        self.loaders = loaders

    def __len__(self) -> int:
        return min(map(len, self.loaders))

    def __iter__(self) -> Any:
        return zip(*self.loaders)


def joined(namespace: str = PLAIN) -> tuple[Any, Any]:
    """Two loaders in one, for training and for validation."""
    g = _random()
    loader = Joined(*(DataLoader(list(torch.randn(12, size, generator=g)), batch_size=4) for size in (4, 1)))
    base, _ = _fit(
        namespace, {"net": nn.Linear(4, 1)}, lambda module, batch: F.mse_loss(module.net(batch[0]), batch[1]), []
    )

    class Module(type(base)):  # type: ignore[misc]
        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", F.mse_loss(self.net(batch[0]), batch[1]))

    return Module(), (loader, loader)


class Encoding(UserDict):  # type: ignore[type-arg]
    """A batch as tokenizers make it: a mapping that is no dict, read by attribute too."""

    def __getattr__(self, name: str) -> Any:
        if name == "data":
            raise AttributeError(name)
        try:
            return self.data[name]
        except KeyError:
            raise AttributeError(name) from None


def encoded(namespace: str = PLAIN) -> tuple[Any, Any]:
    """Batches of that kind, with a mask beside the tokens."""
    g = _random()
    batches = []
    for _ in range(4):
        ids = torch.randint(1, TOKENS, (6, 5), generator=g)
        mask = (torch.arange(5) < torch.randint(2, 6, (6, 1), generator=g)).long()
        batches.append(Encoding(input_ids=ids, attention_mask=mask, labels=ids.sum(1) % 3))

    def loss(module: Any, batch: Any) -> torch.Tensor:
        mask = batch.attention_mask[..., None]
        hidden = (module.embed(batch.input_ids) * mask).sum(1) / mask.sum(1)
        return F.cross_entropy(module.head(hidden), batch["labels"])

    return _fit(namespace, {"embed": nn.Embedding(TOKENS, 8), "head": nn.Linear(8, 3)}, loss, batches)


class Store(MutableMapping[str, Any]):
    """A mapping made by hand, whose shallow copy shares what it holds."""

    def __init__(self, **items: Any) -> None:
        self._items = items

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._items[key] = value

    def __delitem__(self, key: str) -> None:
        del self._items[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)


class Graph:
    """Several graphs as one: nodes, edges that count through all of them, and the graph that each node is of."""

    def __init__(self, **items: Any) -> None:
        self.store = Store(**items)

    def __call__(self, *names: str) -> list[Any]:
        return [self.store[name] for name in names]

    def to(self, *args: Any, **kwargs: Any) -> Graph:
        return Graph(**{name: part.to(*args, **kwargs) for name, part in self.store.items()})


def graphs(namespace: str = PLAIN) -> tuple[Any, Any]:
    """One message-passing layer, and a class for each graph."""
    g = _random()
    batches = []
    for _ in range(4):
        nodes = torch.randn(12, 4, generator=g)
        batch = torch.arange(12) // 3
        edges = torch.randint(12, (2, 20), generator=g)
        batches.append(Graph(x=nodes, edge_index=edges, batch=batch, y=torch.randint(2, (4,), generator=g)))

    def loss(module: Any, graph: Graph) -> torch.Tensor:
        x, (source, sink), batch, y = graph("x", "edge_index", "batch", "y")
        passed = torch.zeros(12, 8).index_add(0, sink, module.message(x)[source])
        pooled = torch.zeros(4, 8).index_add(0, batch, passed)
        return F.cross_entropy(module.head(pooled), y)

    return _fit(namespace, {"message": nn.Linear(4, 8), "head": nn.Linear(8, 2)}, loss, batches)


def writing(namespace: str = PLAIN) -> tuple[Any, Any]:
    """Writes a file at every step where the Trainer says, and insists that those of all steps before are there."""
    base, data = weighed(namespace)

    class Module(type(base)):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            folder, step = Path(self.trainer.default_root_dir), self.trainer.global_step
            assert sorted(path.name for path in folder.glob("step-*")) == [f"step-{n}" for n in range(step)]
            (folder / f"step-{step}").touch()
            return super().training_step(batch, batch_idx)

    return Module(), data
