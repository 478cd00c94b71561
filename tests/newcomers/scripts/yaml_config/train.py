import argparse
from types import SimpleNamespace

import pytorch_lightning as pl
import torch
import yaml
from torch.utils.data import DataLoader, Dataset


class Sines(Dataset):
    def __init__(self, n, length):
        self.n, self.length = n, length

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        phase = i * 0.37
        t = torch.linspace(0, 6.28, self.length + 1) + phase
        s = torch.sin(t)
        return {"x": s[:-1, None], "y": s[-1:]}


class Forecaster(pl.LightningModule):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.rnn = torch.nn.GRU(1, config.model["hidden"], batch_first=True)
        self.head = torch.nn.Linear(config.model["hidden"], 1)

    def training_step(self, batch, batch_idx):
        out, _ = self.rnn(batch["x"])
        loss = torch.nn.functional.mse_loss(self.head(out[:, -1]), batch["y"])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        out, _ = self.rnn(batch["x"])
        self.log("val_loss", torch.nn.functional.mse_loss(self.head(out[:, -1]), batch["y"]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=float(self.config.optim["lr"]))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("config_file", help="see default_config.yaml")
    parser.add_argument("overrides", nargs="*", help="key=value")
    args = parser.parse_args()
    with open(args.config_file) as f:
        config = SimpleNamespace(**yaml.safe_load(f))
    for item in args.overrides:
        key, value = item.split("=")
        setattr(config, key, yaml.safe_load(value))
    if config.mixed_precision != "no" and not torch.cuda.is_available():
        config.mixed_precision = "no"
    trainer = pl.Trainer(
        max_epochs=config.num_epochs,
        devices=config.num_processes,
        accelerator="cpu" if config.use_cpu else "auto",
        accumulate_grad_batches=config.gradient_accumulation_steps,
    )
    trainer.fit(
        Forecaster(config),
        DataLoader(Sines(256, 20), batch_size=config.batch_size, shuffle=True),
        DataLoader(Sines(32, 20), batch_size=config.batch_size),
    )


if __name__ == "__main__":
    main()
