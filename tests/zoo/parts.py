"""Models of several parts, of which one gives the predictions; and modules that step and clip by themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

Loss = Callable[[Any, Any], torch.Tensor]
TOKENS = 11


def _random() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def pairs() -> list[Any]:
    """32 samples of four numbers, and their sums."""
    return [(x, x.sum(0, keepdim=True)) for x in torch.randn(32, 4, generator=_random())]


def module(parts: dict[str, nn.Module], loss: Loss, forward: Any = None) -> Any:
    """A module of these parts that minimises ``loss(module, batch)``, with a forward of its own if given."""

    class Module(pl.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            for name, part in parts.items():
                setattr(self, name, part)

        def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
            return loss(self, batch)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            self.log("val_loss", loss(self, batch), batch_size=8)

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.01)

    if forward is not None:
        Module.forward = forward
    return Module()


def _made(parts: dict[str, nn.Module], loss: Loss, samples: list[Any], forward: Any = None) -> tuple[Any, Any]:
    return module(parts, loss, forward), tuple(DataLoader(samples, batch_size=8) for _ in range(2))  # type: ignore[arg-type]


class Score(nn.Module):
    """Gives predictions without a parameter of its own."""

    def forward(self, one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
        return (one * other).sum(-1, keepdim=True)


class Watcher(nn.Module):
    """Looks on and gives nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: torch.Tensor) -> None:
        self.seen = self.layer(x).detach()


class Weighing(nn.Module):
    """A loss that learns how much to trust itself."""

    def __init__(self) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.zeros(1))

    def forward(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return ((output - target).square() * torch.exp(-self.log) + self.log).mean()


class Noising(nn.Module):
    """Computes its own loss, from what a part of it says of noise."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        noise = torch.randn_like(x)
        return F.mse_loss(self.net(x + noise), noise)


class Critic(nn.Module):
    """Is handed all that is known, what the actor has made as well, and looks at the state alone."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 1)

    def forward(self, known: dict[str, torch.Tensor]) -> torch.Tensor:
        return self.net(known["state"])


class Last(nn.Module):
    """What comes at the end of each sequence, of which the rest is padding."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(3, 2)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        return self.net(x)[torch.arange(len(x)), lengths - 1]


def actor_critic() -> tuple[Any, Any]:
    def loss(lit: Any, batch: Any) -> torch.Tensor:
        known = {**batch, "scores": lit.actor(batch["state"])}
        value = lit.critic(known).squeeze(-1)
        reward = -known["scores"].detach().argmax(-1).float()
        chosen = known["scores"].log_softmax(-1).amax(-1)
        return -(chosen * (reward - value.detach())).mean() + F.mse_loss(value, reward)

    states = [{"state": x} for x, _ in pairs()]
    return _made({"actor": nn.Linear(4, 3), "critic": Critic()}, loss, states)


def last_of_sequences() -> tuple[Any, Any]:
    def loss(lit: Any, batch: Any) -> torch.Tensor:
        return F.cross_entropy(lit.net(batch["x"], batch["lengths"]), batch["y"])

    g = _random()
    samples = [{"x": torch.randn(5, 3, generator=g), "lengths": 1 + n % 5, "y": n % 2} for n in range(32)]
    return _made({"net": Last()}, loss, samples)


def _persons() -> list[Any]:
    return [(x, n % 3) for n, (x, _) in enumerate(pairs())]


def contrasted() -> tuple[Any, Any]:
    """What belongs to one person comes near to each other."""

    def loss(lit: Any, batch: Any) -> torch.Tensor:
        embedded = lit.net(batch[0])
        ids = batch[1].expand(len(embedded), -1)
        same = ((ids - ids.t()) == 0).triu(1).nonzero()
        return F.mse_loss(embedded[same[:, 0]], embedded[same[:, 1]])

    return _made({"net": nn.Linear(4, 8)}, loss, _persons())


def counted_classes() -> tuple[Any, Any]:
    """Classes that are counted from the lowest."""

    def loss(lit: Any, batch: Any) -> torch.Tensor:
        known = batch[1] - batch[1].min()
        return -lit.net(batch[0]).log_softmax(-1).gather(1, known[:, None]).mean()

    return _made({"net": nn.Linear(4, 8)}, loss, _persons())


def two_embeddings() -> tuple[Any, Any]:
    def loss(lit: Any, batch: Any) -> torch.Tensor:
        index = (batch[0].abs() * 3).long().clamp(max=7)
        return F.mse_loss(lit.score(lit.users(index[:, 0]), lit.items(index[:, 1])), batch[1])

    parts = {"users": nn.Embedding(8, 4), "items": nn.Embedding(8, 4), "score": Score()}
    return _made(parts, loss, pairs())


def watched() -> tuple[Any, Any]:
    def loss(lit: Any, batch: Any) -> torch.Tensor:
        value = F.mse_loss(lit.net(batch[0]), batch[1])
        lit.watcher(batch[0])
        return value

    return _made({"net": nn.Linear(4, 1), "watcher": Watcher()}, loss, pairs())


def forward_gives_nothing() -> tuple[Any, Any]:
    def loss(lit: Any, batch: Any) -> torch.Tensor:
        lit(batch[0])
        return F.mse_loss(lit.last, batch[1])

    def forward(lit: Any, x: torch.Tensor) -> None:
        lit.last = lit.net(x)

    return _made({"net": nn.Linear(4, 1)}, loss, pairs(), forward)


def own_criterion() -> tuple[Any, Any]:
    parts = {"net": nn.Linear(4, 1), "criterion": nn.MSELoss(reduction="none")}
    return _made(parts, lambda lit, batch: lit.criterion(lit.net(batch[0]), batch[1]).mean(), pairs())


def learnt_criterion() -> tuple[Any, Any]:
    parts = {"net": nn.Linear(4, 1), "criterion": Weighing()}
    return _made(parts, lambda lit, batch: lit.criterion(lit.net(batch[0]), batch[1]), pairs())


def judged() -> tuple[Any, Any]:
    def loss(lit: Any, batch: Any) -> torch.Tensor:
        made = lit.generator(batch[0])
        return F.mse_loss(made, batch[1]) + lit.critic(batch[1]).mean() - lit.critic(made).mean()

    critic = nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))
    return _made({"generator": nn.Linear(4, 1), "critic": critic}, loss, pairs())


def variational() -> tuple[Any, Any]:
    def loss(lit: Any, batch: Any) -> torch.Tensor:
        hidden = lit.encoder(batch[0]).relu()
        mean, spread = lit.mean(hidden), lit.spread(hidden)
        drawn = mean + torch.randn_like(mean) * spread.exp()
        return F.mse_loss(lit.decoder(drawn), batch[0]) + 0.01 * (mean.square() + spread.exp()).mean()

    layers = {"encoder": (4, 8), "decoder": (2, 4), "mean": (8, 2), "spread": (8, 2)}
    return _made({name: nn.Linear(*sizes) for name, sizes in layers.items()}, loss, pairs())


def language_model() -> tuple[Any, Any]:
    def loss(lit: Any, batch: Any) -> torch.Tensor:
        tokens = batch["input_ids"]
        scores = lit.net(tokens[:, :-1]) * batch["attention_mask"][:, :-1, None]
        return F.cross_entropy(scores.flatten(0, 1), tokens[:, 1:].flatten())

    drawn = torch.randint(TOKENS, (32, 6), generator=_random())
    samples = [{"input_ids": row, "attention_mask": torch.ones(6, dtype=torch.long)} for row in drawn]
    return _made({"net": nn.Sequential(nn.Embedding(TOKENS, 8), nn.Linear(8, TOKENS))}, loss, samples)


def translator() -> tuple[Any, Any]:
    def loss(lit: Any, batch: Any) -> torch.Tensor:
        state = lit.embed(batch["source"]).mean(1, keepdim=True)
        scores = lit.head(lit.embed(F.pad(batch["reply"], (1, -1))) + state)
        return F.cross_entropy(scores.flatten(0, 1), batch["reply"].flatten())

    drawn = torch.randint(1, TOKENS, (32, 2, 6), generator=_random())
    samples = [{"source": source, "reply": reply} for source, reply in drawn]
    return _made({"embed": nn.Embedding(TOKENS, 8), "head": nn.Linear(8, TOKENS)}, loss, samples)


def encoding_forward() -> tuple[Any, Any]:
    """Its forward is the encoder alone, which training calls as a part."""
    parts = {"encoder": nn.Linear(4, 2), "decoder": nn.Linear(2, 4)}
    return _made(
        parts,
        lambda lit, batch: F.mse_loss(lit.decoder(lit.encoder(batch[0])), batch[0]),
        pairs(),
        lambda lit, x: lit.encoder(x),
    )


def inner_loss() -> tuple[Any, Any]:
    return _made({"noising": Noising()}, lambda lit, batch: lit.noising(batch[0]), pairs())


def frozen_backbone() -> tuple[Any, Any]:
    def loss(lit: Any, batch: Any) -> torch.Tensor:
        return F.mse_loss(lit.head(lit.backbone(batch[0]).relu()), batch[1])

    made, data = _made({"backbone": nn.Linear(4, 8), "head": nn.Linear(8, 1)}, loss, pairs())
    made.backbone.requires_grad_(False)
    return made, data


class ByHand(pl.LightningModule):
    """Manual optimisation; ``kind`` says how the optimizer is got at, and gradients are clipped."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.kind, self.net = kind, nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1))
        self.kept = {"net": torch.optim.Adam(self.net.parameters(), lr=0.05)} if kind == "kept" else {}

    def training_step(self, batch: Any, batch_idx: int) -> None:
        if self.kind == "kept":
            optimizer = self.kept["net"]
        else:
            optimizer = self.optimizers(use_pl_optimizer=self.kind == "wrapped")
        optimizer.zero_grad()
        loss = F.mse_loss(self.net(batch[0]), batch[1])
        if self.kind == "kept":
            loss.backward()
            nn.utils.clip_grad_value_(self.parameters(), 0.01)
        else:
            self.manual_backward(loss)
            self.norm = nn.utils.clip_grad_norm_(self.parameters(), 0.01)
        optimizer.step()

    def configure_optimizers(self) -> Any:
        return None if self.kind == "kept" else torch.optim.Adam(self.net.parameters(), lr=0.05)


def by_hand(kind: str) -> tuple[Any, Any]:
    """A module that optimises by itself: ``raw`` steps torch's optimizer, ``kept`` its own, ``wrapped`` Lightning's."""
    x, y = (torch.stack(part) for part in zip(*pairs()))
    return ByHand(kind), (DataLoader(TensorDataset(x, y), batch_size=8), None)
