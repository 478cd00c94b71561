import lightning as L
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

SEED = 0


class ArcMargin(nn.Module):
    def __init__(self, in_features, out_features, s=16.0, m=0.1):
        super().__init__()
        self.s = s
        self.m = m
        self.W = nn.Parameter(torch.empty(out_features, in_features))
        nn.init.xavier_uniform_(self.W)

    def forward(self, features, labels=None):
        cosine = F.linear(F.normalize(features), F.normalize(self.W)).clamp(-0.999, 0.999)
        if labels is None:
            return self.s * cosine
        target = torch.cos(torch.acos(cosine) + self.m)
        one_hot = F.one_hot(labels, cosine.shape[1])
        return self.s * torch.where(one_hot.bool(), target, cosine)


class Embedder(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(64, 128), nn.BatchNorm1d(128), nn.ReLU(), nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, dim)
        )

    def forward(self, x):
        return self.layers(x)


class MetricLearner(L.LightningModule):
    def __init__(self, dim=2, lr=2e-3):
        super().__init__()
        self.model = Embedder(dim)
        self.metric_fc = ArcMargin(dim, 10)
        self.lr = lr

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.metric_fc(self.model(x), y), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self.metric_fc(self.model(x))
        self.log("val_loss", F.cross_entropy(logits, y))
        self.log("val_acc", (logits.argmax(1) == y).float().mean())

    def configure_optimizers(self):
        optimizer = torch.optim.Adam(self.parameters(), lr=self.lr, weight_decay=1e-5)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=self.trainer.max_epochs)
        return [optimizer], [scheduler]


def get_loaders():
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    y = torch.tensor(y)
    order = torch.randperm(len(y))
    train, val = order[:1400], order[1400:]
    return (
        DataLoader(TensorDataset(x[train], y[train]), batch_size=64, shuffle=True, drop_last=True),
        DataLoader(TensorDataset(x[val], y[val]), batch_size=397),
    )


def main():
    L.seed_everything(SEED)
    train_loader, val_loader = get_loaders()
    trainer = L.Trainer(
        max_epochs=30, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(MetricLearner(), train_loader, val_loader)
    print(f"validation accuracy {trainer.callback_metrics['val_acc']:.3f}")
    return 1 - trainer.callback_metrics["val_acc"].item()


if __name__ == "__main__":
    score = main()
