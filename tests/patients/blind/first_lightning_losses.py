"""Two LightningModules of the first blind round whose losses are summed or weighted wrongly, in their order."""

from __future__ import annotations

from tests.patients.blind.case import Case

CASES = [
    Case(
        "weight-of-a-loss-applied-twice",
        "paninski-lab/lightning-pose#375",
        "The weight of a loss is multiplied in by the loss itself and again by the factory that adds the losses up: "
        "the term counts with the square of its weight.",
        """
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Heatmap(nn.Module):
    weight = 1.0

    def forward(self, found, wanted):
        scalar_loss = F.mse_loss(found[0], wanted[0])
        return {SCALED}


class Temporal(nn.Module):
    weight = 0.05

    def forward(self, found, wanted):
        scalar_loss = F.mse_loss(found[1], wanted[1])
        return {SCALED}


class LossFactory(nn.Module):
    def __init__(self):
        super().__init__()
        self.losses = nn.ModuleDict({"heatmap": Heatmap(), "temporal": Temporal()})

    def forward(self, found, wanted):
        total = 0.0
        for instance in self.losses.values():
            total = total + instance.weight * instance(found, wanted)
        return total


class Pose(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.points, self.motion = nn.Linear(8, 4), nn.Linear(8, 2)
        self.factory = LossFactory()

    def training_step(self, batch, batch_idx):
        x, points, motion = batch
        loss = self.factory((self.points(x), self.motion(x)), (points, motion))
        self.log("total_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.3, momentum=0.9)


pl.seed_everything(0)
x = torch.randn(400, 8)
points, motion = x @ torch.randn(8, 4), x @ torch.randn(8, 2)
model = Pose()
trainer = pl.Trainer(
    max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
)
trainer.fit(model, DataLoader(TensorDataset(x, points, motion), batch_size=20, shuffle=True))
with torch.no_grad():
    score = F.mse_loss(model.motion(x), motion).item()
""",
        {"SCALED": ("self.weight * scalar_loss", "scalar_loss")},
        r"(0\.05|weight).*(twice|squared?|again)",
        r"once",
    ),
    Case(
        "training-loss-summed-over-outputs",
        "Lightning-Universe/lightning-bolts#849",
        "The training loss is summed over the outputs and divided by the batch size alone, while the validation loss "
        "is the mean: they differ by the number of outputs.",
        """
import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class LinearRegression(pl.LightningModule):
    def __init__(self, input_dim=10, output_dim=8):
        super().__init__()
        self.linear = torch.nn.Linear(input_dim, output_dim)

    def forward(self, x):
        return self.linear(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        y_hat = self(x)
        loss = F.mse_loss(y_hat, y, reduction="sum")
        loss = loss / {COUNT}
        self.log("train_loss", loss, on_step=False, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.mse_loss(self(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.03)


pl.seed_everything(0)
x = torch.randn(500, 10)
y = x @ torch.randn(10, 8) + 0.5 * torch.randn(500, 8)
trainer = pl.Trainer(
    max_epochs=8, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
)
trainer.fit(
    LinearRegression(),
    DataLoader(TensorDataset(x[:400], y[:400]), batch_size=20, shuffle=True),
    DataLoader(TensorDataset(x[400:], y[400:]), batch_size=50),
)
score = abs(float(trainer.callback_metrics["train_loss"] / trainer.callback_metrics["val_loss"]) - 1)
""",
        {"COUNT": ("x.size(0)", "y.numel()")},
        r"training.*loss.*validation.*(8|times|factor|scale)",
        r"mean|numel|same|divide",
    ),
]
