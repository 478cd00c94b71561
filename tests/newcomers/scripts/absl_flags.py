import lightning as L
import torch
from absl import app, flags, logging
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

FLAGS = flags.FLAGS
flags.DEFINE_integer("hidden", 24, "Hidden units.")
flags.DEFINE_float("learning_rate", None, "Learning rate.", required=True)
flags.DEFINE_enum("loss", "mse", ["mse", "l1"], "Loss.")


class Model(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, FLAGS.hidden), nn.SiLU(), nn.Linear(FLAGS.hidden, 1))
        self.loss = nn.MSELoss() if FLAGS.loss == "mse" else nn.L1Loss()

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = self.loss(self.net(x), y)
        self.log("loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", self.loss(self.net(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=FLAGS.learning_rate)


def main(argv):
    if len(argv) > 1:
        raise app.UsageError("Too many command-line arguments.")
    logging.info("hidden %d", FLAGS.hidden)
    x = torch.rand(400, 3)
    y = (x[:, :1] * x[:, 1:2]).sin()
    L.Trainer(max_epochs=20).fit(Model(), DataLoader(TensorDataset(x[:320], y[:320]), 16, shuffle=True), DataLoader(TensorDataset(x[320:], y[320:]), 16))


if __name__ == "__main__":
    app.run(main)
