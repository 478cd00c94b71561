import lightning as L
import torch
from lightning.pytorch.callbacks import LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Conv(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.example_input_array = torch.zeros(1, 1, 8, 8)
        self.net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.cross_entropy(self(x), y)
        tb = self.logger.experiment
        tb.add_scalar("raw_loss", loss, self.global_step)
        if batch_idx == 0:
            tb.add_images("inputs", x[:4], self.current_epoch)
            tb.add_histogram("w", self.net[0].weight, self.current_epoch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", nn.functional.cross_entropy(self(x), y))

    def configure_optimizers(self):
        opt = torch.optim.Adam(self.parameters(), 1e-2)
        return [opt], [torch.optim.lr_scheduler.CosineAnnealingLR(opt, 10)]


if __name__ == "__main__":
    L.seed_everything(42)
    y = torch.randint(2, (400,))
    x = torch.rand(400, 1, 8, 8)
    x[y == 1, :, :4] += 0.5
    trainer = L.Trainer(
        max_epochs=10,
        logger=TensorBoardLogger("tb_logs", name="conv", log_graph=True),
        callbacks=[LearningRateMonitor(), ModelCheckpoint(monitor="val_loss", save_top_k=2)],
    )
    trainer.fit(Conv(), DataLoader(TensorDataset(x[:320], y[:320]), 16, shuffle=True), DataLoader(TensorDataset(x[320:], y[320:]), 16))
