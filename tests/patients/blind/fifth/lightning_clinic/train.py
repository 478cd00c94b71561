import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import BinaryAccuracy

L.seed_everything(0)


class ClinicDataModule(L.LightningDataModule):
    """Trained on the tumours that a practice saw; tested on those of a hospital, where most are malignant."""

    def __init__(self, batch_size=32):
        super().__init__()
        self.batch_size = batch_size
        x, y = load_breast_cancer(return_X_y=True)
        malignant = torch.randperm(int((y == 0).sum()))
        benign = torch.randperm(int((y == 1).sum()))
        malignant = torch.arange(len(y))[torch.tensor(y == 0)][malignant]
        benign = torch.arange(len(y))[torch.tensor(y == 1)][benign]
        self.practice = torch.cat([malignant[:92], benign[:340]])
        self.hospital = torch.cat([malignant[92:], benign[340:]])
        self.x, self.y = x, y

    def dataset(self, rows):
        features = StandardScaler().fit_transform(self.x[rows])
        labels = torch.tensor(self.y[rows] == 0, dtype=torch.float32)
        return TensorDataset(torch.tensor(features, dtype=torch.float32), labels)

    def setup(self, stage):
        if stage == "fit":
            self.train_set = self.dataset(self.practice)
        if stage == "test":
            self.test_set = self.dataset(self.hospital)

    def train_dataloader(self):
        return DataLoader(self.train_set, batch_size=self.batch_size, shuffle=True)

    def test_dataloader(self):
        return DataLoader(self.test_set, batch_size=self.batch_size)


class TumourNet(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(30, 16), nn.ReLU(), nn.Linear(16, 1))
        self.accuracy = BinaryAccuracy()

    def forward(self, x):
        return self.net(x).squeeze(-1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.binary_cross_entropy_with_logits(self(x), y)
        self.log("loss", loss, prog_bar=True)
        return loss

    def test_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.accuracy(logits, y.int())
        self.log("test_acc", self.accuracy)
        self.log("test_loss", F.binary_cross_entropy_with_logits(logits, y))

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=5e-3)


data = ClinicDataModule()
model = TumourNet()
trainer = L.Trainer(
    max_epochs=15,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(model, datamodule=data)
print(f"train loss {trainer.callback_metrics['loss']:.3f}")
result = trainer.test(model, datamodule=data, verbose=False)[0]
print(f"hospital: accuracy {result['test_acc']:.3f}, loss {result['test_loss']:.3f}")
score = 1 - result["test_acc"]
