import pytorch_lightning as pl
import torch
from sklearn.datasets import load_digits
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

pl.seed_everything(0)


class DigitsModel(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.l1 = torch.nn.Linear(8 * 8, 10)

    def forward(self, x):
        return self.l1(x.view(x.size(0), -1))

    def training_step(self, batch, batch_nb):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_nb):
        x, y = batch
        out = self(x)
        self.log("val_loss", F.cross_entropy(out, y))
        self.log("val_acc", (out.argmax(dim=1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.02)


images, labels = load_digits(return_X_y=True)
images = torch.tensor(images / 16, dtype=torch.float32).view(-1, 1, 8, 8)
labels = torch.tensor(labels)
order = torch.randperm(len(labels))
train = TensorDataset(images[order[:1400]], labels[order[:1400]])
val = TensorDataset(images[order[1400:]], labels[order[1400:]])

model = DigitsModel()
trainer = pl.Trainer(
    max_epochs=15, accelerator="cpu", enable_progress_bar=False, enable_checkpointing=False, logger=False
)
trainer.fit(model, DataLoader(train, batch_size=32, shuffle=True), DataLoader(val, batch_size=64))
print("val_loss", trainer.callback_metrics["val_loss"].item(), "val_acc", trainer.callback_metrics["val_acc"].item())
score = 1 - trainer.callback_metrics["val_acc"].item()
