from enum import Enum
from pathlib import Path
from typing import Annotated, Optional

import torch
import typer
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

app = typer.Typer()


class Optimizer(str, Enum):
    adam = "adam"
    sgd = "sgd"


@app.command()
def train(
    out: Annotated[Path, typer.Argument(help="where the weights go")],
    optimizer: Annotated[Optimizer, typer.Option()] = Optimizer.adam,
    lr: float = 0.02,
    epochs: int = 10,
    seed: Optional[int] = None,
):
    # slow to import
    import pytorch_lightning as pl

    class Model(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))

        def training_step(self, batch, batch_idx):
            x, y = batch
            loss = nn.functional.mse_loss(self.net(x), y)
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self):
            cls = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[optimizer.value]
            return cls(self.parameters(), lr=lr)

    if seed is not None:
        pl.seed_everything(seed)
    x = torch.randn(320, 4)
    out.parent.mkdir(parents=True, exist_ok=True)
    trainer = pl.Trainer(max_epochs=epochs, default_root_dir=out.parent)
    trainer.fit(Model(), DataLoader(TensorDataset(x, x.abs().sum(1, keepdim=True)), 16, shuffle=True))
    trainer.save_checkpoint(out)


@app.command()
def predict(weights: Path):
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
