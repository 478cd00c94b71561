import json
import logging

import hydra
import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import nn
from torch.utils.data import DataLoader, Dataset

log = logging.getLogger(__name__)


class Windows(Dataset):
    def __init__(self, series, window, horizon):
        self.series, self.window, self.horizon = series, window, horizon

    def __len__(self):
        return len(self.series) - self.window - self.horizon + 1

    def __getitem__(self, i):
        x = self.series[i:i + self.window]
        y = self.series[i + self.window:i + self.window + self.horizon]
        return torch.from_numpy(x).float().unsqueeze(-1), torch.from_numpy(y).float()


class Forecaster(nn.Module):
    def __init__(self, hidden, layers, horizon):
        super().__init__()
        self.lstm = nn.LSTM(1, hidden, layers, batch_first=True)
        self.fc = nn.Linear(hidden, horizon)

    def forward(self, x):
        h0 = torch.zeros(self.lstm.num_layers, x.size(0), self.lstm.hidden_size, device=x.device)
        out, _ = self.lstm(x, (h0, torch.zeros_like(h0)))
        return self.fc(out[:, -1])


@hydra.main(version_base=None, config_path="conf", config_name="config")
def main(cfg: DictConfig) -> float:
    log.info("\n%s", OmegaConf.to_yaml(cfg))
    torch.manual_seed(cfg.seed)
    t = np.arange(cfg.data.length)
    series = np.sin(t / 7) + 0.3 * np.sin(t / 3) + 0.05 * np.random.RandomState(cfg.seed).randn(len(t))
    cut = int(0.8 * len(series))
    train = DataLoader(Windows(series[:cut], cfg.data.window, cfg.data.horizon), cfg.train.batch_size, shuffle=True)
    valid = DataLoader(Windows(series[cut:], cfg.data.window, cfg.data.horizon), 64)
    model = Forecaster(cfg.model.hidden, cfg.model.layers, cfg.data.horizon)
    optimizer = instantiate(cfg.optim, params=model.parameters())
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, cfg.train.epochs)
    best = float("inf")
    for epoch in range(cfg.train.epochs):
        model.train()
        for x, y in train:
            loss = nn.functional.mse_loss(model(x), y)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scheduler.step()
        model.eval()
        with torch.no_grad():
            rmse = float(np.sqrt(np.mean([((model(x) - y) ** 2).mean().item() for x, y in valid])))
        log.info(f"epoch {epoch} valid rmse {rmse:.4f}")
        if rmse < best:
            best = rmse
            torch.save(model.state_dict(), "best.pt")
    with open("metrics.json", "w") as f:
        json.dump({"rmse": best}, f)
    return best


if __name__ == "__main__":
    main()
