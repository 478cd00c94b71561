from __future__ import annotations

import math
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from typing import Optional

import torch
from sklearn.datasets import make_classification
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset, random_split
from tqdm.auto import tqdm


@dataclass
class TrainConfig:
    epochs: int = 3
    batch_size: int = 32
    lr: float = 3e-3
    warmup: int = 10
    accum: int = 2
    clip: float = 1.0
    amp: bool = True
    ckpt: Optional[str] = "last.ckpt"


class Residual(nn.Module):
    def __init__(self, dim: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.ff = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.ff(self.norm(x))


class TabNet(nn.Module):
    def __init__(self, n_in: int, n_out: int, dim: int = 32, depth: int = 3) -> None:
        super().__init__()
        self.stem = nn.Linear(n_in, dim)
        self.blocks = nn.ModuleList(Residual(dim) for _ in range(depth))
        self.head = nn.Linear(dim, n_out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x)


class Trainer:
    def __init__(self, model: nn.Module, cfg: TrainConfig) -> None:
        self.cfg = cfg
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.model = model.to(self.device)
        self.loss_fn = nn.CrossEntropyLoss(label_smoothing=0.05)
        decay = [p for p in model.parameters() if p.ndim > 1]
        no_decay = [p for p in model.parameters() if p.ndim <= 1]
        self.opt = torch.optim.AdamW([{"params": decay, "weight_decay": 0.01}, {"params": no_decay, "weight_decay": 0.0}], lr=cfg.lr)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=cfg.amp and self.device.type == "cuda")
        self.global_step = 0
        self.history: list[dict[str, float]] = []

    def _ctx(self):
        return torch.autocast(self.device.type, dtype=torch.bfloat16) if self.cfg.amp else nullcontext()

    def _schedule(self, total: int):
        def f(step: int) -> float:
            if step < self.cfg.warmup:
                return (step + 1) / self.cfg.warmup
            return 0.5 * (1 + math.cos(math.pi * (step - self.cfg.warmup) / max(1, total - self.cfg.warmup)))
        return torch.optim.lr_scheduler.LambdaLR(self.opt, f)

    def fit(self, train_dl: DataLoader, val_dl: DataLoader) -> list[dict[str, float]]:
        sched = self._schedule(self.cfg.epochs * len(train_dl) // self.cfg.accum)
        for epoch in range(self.cfg.epochs):
            self.model.train()
            bar = tqdm(train_dl, desc=f"epoch {epoch}", leave=False)
            for i, (x, y) in enumerate(bar):
                x, y = x.to(self.device, non_blocking=True), y.to(self.device, non_blocking=True)
                with self._ctx():
                    loss = self.loss_fn(self.model(x), y) / self.cfg.accum
                self.scaler.scale(loss).backward()
                if (i + 1) % self.cfg.accum == 0 or i + 1 == len(train_dl):
                    self.scaler.unscale_(self.opt)
                    nn.utils.clip_grad_norm_(self.model.parameters(), self.cfg.clip)
                    self.scaler.step(self.opt)
                    self.scaler.update()
                    self.opt.zero_grad(set_to_none=True)
                    sched.step()
                    self.global_step += 1
                bar.set_postfix(loss=f"{loss.item() * self.cfg.accum:.3f}", lr=f"{sched.get_last_lr()[0]:.2e}")
            metrics = self.validate(val_dl)
            self.history.append({"epoch": epoch, **metrics})
            tqdm.write(f"epoch {epoch}: " + " ".join(f"{k}={v:.4f}" for k, v in metrics.items()))
            if self.cfg.ckpt:
                self.save(self.cfg.ckpt)
        return self.history

    @torch.inference_mode()
    def validate(self, dl: DataLoader) -> dict[str, float]:
        self.model.eval()
        loss = correct = seen = 0.0
        for x, y in dl:
            x, y = x.to(self.device), y.to(self.device)
            with self._ctx():
                out = self.model(x)
            loss += nn.functional.cross_entropy(out.float(), y, reduction="sum").item()
            correct += (out.argmax(-1) == y).sum().item()
            seen += len(y)
        return {"val_loss": loss / seen, "val_acc": correct / seen}

    def save(self, path: str) -> None:
        torch.save({"model": self.model.state_dict(), "opt": self.opt.state_dict(), "scaler": self.scaler.state_dict(),
                    "step": self.global_step, "cfg": asdict(self.cfg)}, path)


def main() -> None:
    torch.manual_seed(0)
    x, y = make_classification(1200, 20, n_informative=8, n_classes=4, random_state=0)
    ds = TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))
    tr, va = random_split(ds, [1000, 200], generator=torch.Generator().manual_seed(0))
    cfg = TrainConfig()
    trainer = Trainer(TabNet(20, 4), cfg)
    hist = trainer.fit(DataLoader(tr, cfg.batch_size, shuffle=True, drop_last=True), DataLoader(va, 100))
    print("best:", max(h["val_acc"] for h in hist))


if __name__ == "__main__":
    main()
