import click
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class AutoEncoder(pl.LightningModule):
    def __init__(self, width, lr=1e-2):
        super().__init__()
        self.lr = lr
        self.encoder = nn.Sequential(nn.Linear(20, width), nn.ReLU())
        self.decoder = nn.Linear(width, 20)

    def forward(self, x):
        return self.decoder(self.encoder(x))

    def step(self, batch, name):
        (x,) = batch
        loss = ((self(x) - x) ** 2).mean()
        self.log(name, loss, prog_bar=True)
        return loss

    def training_step(self, batch, idx):
        return self.step(batch, "train/mse")

    def validation_step(self, batch, idx):
        return self.step(batch, "val/mse")

    def configure_optimizers(self):
        opt = torch.optim.AdamW(self.parameters(), lr=self.lr)
        sched = torch.optim.lr_scheduler.ReduceLROnPlateau(opt)
        return {"optimizer": opt, "lr_scheduler": {"scheduler": sched, "monitor": "val/mse"}}


@click.command()
@click.option("--width", type=int, required=True)
@click.option("--epochs", default=50, show_default=True)
@click.option("--out", type=click.Path(), default="checkpoints")
@click.option("--debug/--no-debug", default=False)
def main(width, epochs, out, debug):
    basis = torch.randn(4, 20)
    data = torch.randn(400, 4) @ basis
    trainer = pl.Trainer(
        max_epochs=epochs,
        fast_dev_run=debug,
        callbacks=[EarlyStopping("val/mse", patience=5), ModelCheckpoint(out, monitor="val/mse")],
    )
    trainer.fit(AutoEncoder(width), DataLoader(TensorDataset(data[:320]), 32, shuffle=True), DataLoader(TensorDataset(data[320:]), 32))
    click.echo(trainer.checkpoint_callback.best_model_path)


if __name__ == "__main__":
    main()
