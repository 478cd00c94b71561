"""Forecast a noisy seasonal series with a small Transformer, trained by steps."""
from __future__ import annotations

import itertools
import os
import typing as t
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm


@dataclass(slots=True)
class OptimConfig:
    lr: float = 2e-3
    weight_decay: float = 1e-2
    betas: tuple[float, float] = (0.9, 0.98)


@dataclass(slots=True)
class Config:
    max_steps: int = 120
    val_every: int = 30
    batch_size: int = 16
    context: int = 24
    horizon: int = 6
    compile: bool = False
    patience: int = 10
    workdir: Path = Path("workdir")
    optim: OptimConfig = field(default_factory=OptimConfig)


class Windows(Dataset[dict[str, torch.Tensor]]):
    def __init__(self, series: torch.Tensor, context: int, horizon: int) -> None:
        self.windows = series.unfold(0, context + horizon, 1)
        self.context = context

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        window = self.windows[index]
        return {"past": window[: self.context], "future": window[self.context :]}


class Forecaster(nn.Module):
    def __init__(self, context: int, horizon: int, d_model: int = 24) -> None:
        super().__init__()
        self.embed = nn.Linear(1, d_model)
        self.position = nn.Parameter(0.02 * torch.randn(context, d_model))
        layer = nn.TransformerEncoderLayer(d_model, 4, 2 * d_model, dropout=0.05, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(d_model, 2 * horizon)

    def forward(self, past: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scale = past.std(dim=1, keepdim=True) + 1e-3
        center = past.mean(dim=1, keepdim=True)
        hidden = self.encoder(self.embed(((past - center) / scale).unsqueeze(-1)) + self.position)
        mean, raw = self.head(hidden.mean(dim=1)).chunk(2, dim=-1)
        return mean * scale + center, nn.functional.softplus(raw) * scale + 1e-4


class Callback:
    def on_step_end(self, trainer: "BaseTrainer", loss: float) -> None: ...
    def on_validation_end(self, trainer: "BaseTrainer", metrics: dict[str, float]) -> None: ...


class Checkpoint(Callback):
    def __init__(self) -> None:
        self.best = float("inf")

    def on_validation_end(self, trainer: "BaseTrainer", metrics: dict[str, float]) -> None:
        if metrics["val_nll"] < self.best:
            self.best = metrics["val_nll"]
            trainer.save(trainer.config.workdir / "best.pt")


class EarlyStop(Callback):
    def __init__(self, patience: int) -> None:
        self.patience, self.best, self.bad = patience, float("inf"), 0

    def on_validation_end(self, trainer: "BaseTrainer", metrics: dict[str, float]) -> None:
        self.bad = 0 if metrics["val_nll"] < self.best else self.bad + 1
        self.best = min(self.best, metrics["val_nll"])
        trainer.stop = self.bad > self.patience


class BaseTrainer(ABC):
    def __init__(self, model: nn.Module, config: Config, callbacks: t.Sequence[Callback] = ()) -> None:
        self.config = config
        self.device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0))) if torch.cuda.is_available() else torch.device("cpu")
        self.model = model.to(self.device)
        self.forward: t.Callable[..., t.Any] = torch.compile(self.model) if config.compile else self.model
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.optim.lr, betas=config.optim.betas, weight_decay=config.optim.weight_decay)
        self.scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(self.optimizer, factor=0.5, patience=1)
        self.callbacks = list(callbacks)
        self.step = 0
        self.stop = False

    @abstractmethod
    def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor: ...

    @abstractmethod
    def validation_step(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]: ...

    def _to(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: value.to(self.device, non_blocking=True) for name, value in batch.items()}

    def fit(self, train: DataLoader, valid: DataLoader) -> dict[str, float]:
        metrics: dict[str, float] = {}
        endless = itertools.chain.from_iterable(itertools.repeat(train))
        with tqdm(total=self.config.max_steps, disable=None) as bar:
            while self.step < self.config.max_steps and not self.stop:
                self.model.train()
                loss = self.training_step(self._to(next(endless)))
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                nn.utils.clip_grad_value_(self.model.parameters(), 1.0)
                self.optimizer.step()
                self.step += 1
                bar.update()
                for callback in self.callbacks:
                    callback.on_step_end(self, loss.item())
                if self.step % self.config.val_every == 0:
                    metrics = self.validate(valid)
                    self.scheduler.step(metrics["val_nll"])
                    bar.write(f"[{self.step}] " + ", ".join(f"{name}: {value:.4f}" for name, value in metrics.items()))
                    for callback in self.callbacks:
                        callback.on_validation_end(self, metrics)
        return metrics

    @torch.inference_mode()
    def validate(self, loader: DataLoader) -> dict[str, float]:
        self.model.eval()
        parts = [self.validation_step(self._to(batch)) for batch in loader]
        return {f"val_{name}": torch.stack([part[name] for part in parts]).mean().item() for name in parts[0]}

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save({"step": self.step, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}, path)


class ForecastTrainer(BaseTrainer):
    def training_step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        mean, scale = self.forward(batch["past"])
        return -torch.distributions.Normal(mean, scale).log_prob(batch["future"]).mean()

    def validation_step(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        mean, scale = self.forward(batch["past"])
        nll = -torch.distributions.Normal(mean, scale).log_prob(batch["future"]).mean()
        return {"nll": nll, "mae": (mean - batch["future"]).abs().mean()}


def series(length: int = 900) -> torch.Tensor:
    time = torch.arange(length, dtype=torch.float32)
    noise = 0.1 * torch.randn(length, generator=torch.Generator().manual_seed(3))
    return torch.sin(time * 0.52) + 0.5 * torch.sin(time * 0.13) + noise


def run(config: Config) -> dict[str, float]:
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("high")
    values = series()
    train = DataLoader(Windows(values[:700], config.context, config.horizon), config.batch_size, shuffle=True, drop_last=True)
    valid = DataLoader(Windows(values[700:], config.context, config.horizon), 64)
    trainer = ForecastTrainer(Forecaster(config.context, config.horizon), config, [Checkpoint(), EarlyStop(config.patience)])
    return trainer.fit(train, valid)


if __name__ == "__main__":
    print(run(Config()))
