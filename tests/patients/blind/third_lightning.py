"""Two modules of the third blind round: everyday mistakes, not from threads, and written before the doctor saw them."""

from __future__ import annotations

from tests.patients.blind.case import Case

CASES = [
    Case(
        "outputs-of-all-epochs",
        "",
        "The module appends the results of its validation steps to a list that it never clears: the accuracy of an "
        "epoch is that of all epochs before it too.",
        """
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Classifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))
        self.outputs = []

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.outputs.append((self.net(x).argmax(1) == y).float())

    def on_validation_epoch_end(self):
        self.log("val_acc", torch.cat(self.outputs).mean()){CLEARED}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05)


pl.seed_everything(0)
x = torch.randn(500, 12)
y = x[:, :3].argmax(1)
model = Classifier()
trainer = pl.Trainer(
    max_epochs=8,
    num_sanity_val_steps=0,
    accelerator="cpu",
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
)
trainer.fit(
    model,
    DataLoader(TensorDataset(x[:400], y[:400]), batch_size=20, shuffle=True),
    DataLoader(TensorDataset(x[400:], y[400:]), batch_size=50),
)
with torch.no_grad():
    score = abs(trainer.callback_metrics["val_acc"] - (model.net(x[400:]).argmax(1) == y[400:]).float().mean()).item()
""",
        {"CLEARED": ("", "\n        self.outputs.clear()")},
        r"outputs.*(never (cleared|emptied)|grow|all epochs|earlier epochs|not cleared)",
        r"clear|empty|reset",
    ),
    Case(
        "anchor-for-its-positive",
        "",
        "The positive's embedding is computed from the anchor: the positive sample is never used, and the loss only "
        "pushes negatives away.",
        """
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Embedder(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(20, 32), nn.ReLU(), nn.Linear(32, 8))

    def training_step(self, batch, batch_idx):
        anchor, positive, negative = batch
        a = self.encoder(anchor)
        p = self.encoder({PAIRED})
        n = self.encoder(negative)
        loss = F.triplet_margin_loss(a, p, n, margin=1.0)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.005)


def sample(kind):
    return torch.cat([kind, 2 * torch.randn(len(kind), 16)], 1)


pl.seed_everything(0)
one, other = 2 * torch.randn(600, 4), 2 * torch.randn(600, 4)
anchors, positives, negatives = sample(one), sample(one), sample(other)
model = Embedder()
trainer = pl.Trainer(
    max_epochs=12, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
)
trainer.fit(
    model,
    DataLoader(TensorDataset(anchors[:500], positives[:500], negatives[:500]), batch_size=25, shuffle=True),
)
with torch.no_grad():
    a, p, n = (model.encoder(part[500:]) for part in (anchors, positives, negatives))
    score = ((a - p).norm(dim=1) > (a - n).norm(dim=1)).float().mean().item()
""",
        {"PAIRED": ("anchor", "positive")},
        r"(positive|second part|part 1|batch\[1\]|element 1).*(not used|unused|never|no effect|not depend|does not)|"
        r"loss does not depend on.*(positive|part|\[1\])",
        r"positive|use|\[1\]",
    ),
]
