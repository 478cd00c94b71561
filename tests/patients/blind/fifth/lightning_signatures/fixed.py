"""Verification of handwriting: were two digits written by the same hand, that is, are they the same digit?"""

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.neighbors import KNeighborsClassifier
from torch import nn
from torch.utils.data import DataLoader, Dataset

SEED = 0
N_TRAIN = 1000


class PairDataset(Dataset):
    """Pairs of images; the label is 1 for two images of one class, and 0 for images of two classes."""

    def __init__(self, images, classes, n_pairs, seed):
        rng = np.random.default_rng(seed)
        self.images = torch.tensor(images, dtype=torch.float32)
        self.pairs = []
        for i in range(n_pairs):
            first = rng.integers(len(images))
            genuine = i % 2 == 0
            candidates = np.flatnonzero((classes == classes[first]) == genuine)
            self.pairs.append((first, rng.choice(candidates), float(genuine)))

    def __len__(self):
        return len(self.pairs)

    def __getitem__(self, index):
        first, second, label = self.pairs[index]
        return self.images[first], self.images[second], torch.tensor(label)


class ContrastiveLoss(nn.Module):
    def __init__(self, margin=1.0, alpha=1.0, beta=1.0):
        super().__init__()
        self.margin, self.alpha, self.beta = margin, alpha, beta

    def forward(self, x1, x2, y):
        distance = F.pairwise_distance(x1, x2)
        pull = distance**2
        push = torch.clamp(self.margin - distance, min=0) ** 2
        return (self.alpha * y * pull + self.beta * (1 - y) * push).mean()


class SiameseNet(pl.LightningModule):
    def __init__(self, dim=8):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, dim))
        self.loss = ContrastiveLoss()

    def forward(self, x):
        return self.encoder(x)

    def training_step(self, batch, batch_idx):
        x1, x2, y = batch
        loss = self.loss(self(x1), self(x2), y)
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def main():
    pl.seed_everything(SEED)
    images, classes = load_digits(return_X_y=True)
    order = np.random.permutation(len(images))
    images, classes = images[order] / 16, classes[order]
    train_data = PairDataset(images[:N_TRAIN], classes[:N_TRAIN], 4000, SEED)
    model = SiameseNet()
    trainer = pl.Trainer(
        max_epochs=4,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(train_data, batch_size=64, shuffle=True))
    print(f"loss {trainer.callback_metrics['train_loss']:.4f}")

    model.eval()
    with torch.no_grad():
        embeddings = model(torch.tensor(images, dtype=torch.float32)).numpy()
    neighbours = KNeighborsClassifier(5).fit(embeddings[:N_TRAIN], classes[:N_TRAIN])
    accuracy = neighbours.score(embeddings[N_TRAIN:], classes[N_TRAIN:])
    print(f"nearest neighbours of new images are of the same class: {accuracy:.3f}")
    return 1 - accuracy


if __name__ == "__main__":
    score = main()
