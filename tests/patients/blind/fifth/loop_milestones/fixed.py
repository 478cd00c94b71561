import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.optim.lr_scheduler import CosineAnnealingLR, MultiStepLR
from torch.utils.data import DataLoader, TensorDataset

cfg = {
    "seed": 0,
    "epoch": 21,
    "batch_size": 16,
    "base_lr": 0.15,
    "scheduler": {"type": "MultiStepLR", "milestones": [0.55, 0.82], "gamma": 0.1},
    "train_samples": 1000,
}


def build_scheduler(optimizer, total_steps, type, milestones=None, gamma=0.1):
    if type == "MultiStepLR":
        return MultiStepLR(optimizer, milestones=[int(rate * total_steps) for rate in milestones], gamma=gamma)
    if type == "CosineAnnealingLR":
        return CosineAnnealingLR(optimizer, T_max=total_steps)
    raise ValueError(type)


def build_data(cfg):
    data, target = load_digits(return_X_y=True)
    order = np.random.RandomState(cfg["seed"]).permutation(len(data))
    data, target = torch.tensor(data[order], dtype=torch.float32) / 16, torch.tensor(target[order])
    n = cfg["train_samples"]
    train = DataLoader(TensorDataset(data[:n], target[:n]), batch_size=cfg["batch_size"], shuffle=True)
    return train, (data[n:], target[n:])


class Jitter(nn.Module):
    """Augmentation: noise on all pixels, and some of them missing."""

    def forward(self, x):
        if not self.training:
            return x
        return (x + 0.3 * torch.randn_like(x)) * (torch.rand_like(x) > 0.3)


def build_model():
    return nn.Sequential(Jitter(), nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 96), nn.ReLU(), nn.Linear(96, 10))


def train(cfg):
    torch.manual_seed(cfg["seed"])
    loader, (val_data, val_target) = build_data(cfg)
    model = build_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=cfg["base_lr"], momentum=0.9)
    total_steps = cfg["epoch"] * len(loader)
    scheduler = build_scheduler(optimizer, total_steps, **cfg["scheduler"])
    criterion = nn.CrossEntropyLoss()
    for epoch in range(cfg["epoch"]):
        model.train()
        for data, target in loader:
            optimizer.zero_grad()
            loss = criterion(model(data), target)
            loss.backward()
            optimizer.step()
            scheduler.step()
        model.eval()
        with torch.no_grad():
            val_loss = criterion(model(val_data), val_target).item()
        print(f"[{epoch + 1}/{cfg['epoch']}] val loss {val_loss:.4f}")
    return val_loss


if __name__ == "__main__":
    score = train(cfg)
