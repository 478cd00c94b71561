"""Trainings that learn nothing, or whose evaluation fails, because of one part that an experiment can change."""

from __future__ import annotations

from tests.patients.blind.case import Case

_DATA = """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(600, 12)
y = x[:, :4].argmax(1)
train_loader = DataLoader(TensorDataset(x[:480], y[:480]), batch_size=40, shuffle=True)
val_loader = DataLoader(TensorDataset(x[480:], y[480:]), batch_size=60)
"""
_LOOP = """
for epoch in range(10):
    model.train()
    for inputs, targets in train_loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        val_loss = sum(F.cross_entropy(model(inputs), targets).item() for inputs, targets in val_loader) / 2
    print(epoch, loss.item(), val_loss)
score = val_loss
"""
_MODULE = (
    _DATA
    + """
import pytorch_lightning as pl


class Classifier(pl.LightningModule):
    def __init__(self):
        super().__init__()
        {NETWORK}

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))

    def configure_optimizers(self):
        {OPTIMIZER}


model = Classifier()
trainer = pl.Trainer(
    max_epochs=10, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
)
trainer.fit(model, train_loader, val_loader)
score = trainer.callback_metrics["val_loss"].item()
"""
)
_NET = "nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 4))"

LOOPS = [
    Case(
        "epsilon-outweighs-the-gradients",
        "",
        "Adam's eps is far larger than the gradients, so that its steps are tiny.",
        _DATA + f"model = {_NET}\n" + "optimizer = torch.optim.Adam(model.parameters(), lr=0.01{EPS})\n" + _LOOP,
        {"EPS": (", eps=100.0", "")},
        r"eps.*100",
        r"usual settings|1e-8",
        1.2,
    ),
    Case(
        "every-weight-zero",
        "",
        "All weights are 0 at the beginning: no neuron gets a gradient.",
        _DATA
        + f"model = {_NET}\n"
        + "for weight in model.parameters():\n    {ZERO}\n"
        + "optimizer = torch.optim.SGD(model.parameters(), lr=0.1)\n"
        + _LOOP,
        {"ZERO": ("nn.init.zeros_(weight)", "pass")},
        r"initial weights|weights.*zero|zero.*weights|dead",
        r"initial|init",
        1.2,
    ),
    Case(
        "decay-as-strong-as-the-loss",
        "",
        "The weight decay pulls all weights to 0.",
        _DATA
        + f"model = {_NET}\n"
        + "optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay={DECAY})\n"
        + _LOOP,
        {"DECAY": ("1.5", "1e-4")},
        r"weight.decay",
        r"weight_decay",
        1.2,
    ),
    Case(
        "nearly-all-is-dropped",
        "",
        "The rate of dropout was taken for the share to keep.",
        _DATA
        + "model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Dropout({DROPPED}), nn.Linear(32, 4))\n"
        + "optimizer = torch.optim.Adam(model.parameters(), lr=0.01)\n"
        + _LOOP,
        {"DROPPED": ("0.99", "0.1")},
        r"[Dd]ropout",
        r"drop|\bp\b|keep|kept",
        1.2,
    ),
    Case(
        "statistics-that-hardly-move",
        "",
        "BatchNorm's momentum is that of another library, so that its statistics stay at their beginning.",
        _DATA.replace("x = torch.randn(600, 12)", "x = torch.randn(600, 12)\nshifted = 30 * x + 50").replace(
            "TensorDataset(x[", "TensorDataset(shifted["
        )
        + "model = nn.Sequential(nn.BatchNorm1d(12, momentum={MOMENTUM}), *{NET})\n".replace("{NET}", _NET)
        + "optimizer = torch.optim.Adam(model.parameters(), lr=0.01)\n"
        + _LOOP,
        {"MOMENTUM": ("0.0001", "0.1")},
        r"statistics.*BatchNorm|BatchNorm.*statistics",
        r"momentum",
    ),
]
LIGHTNING = [
    Case(
        "module-with-a-large-epsilon",
        "",
        "Adam's eps is far larger than the gradients, so that its steps are tiny.",
        _MODULE.replace("{NETWORK}", f"self.net = {_NET}"),
        {
            "OPTIMIZER": (
                "return torch.optim.Adam(self.parameters(), lr=0.01, eps=100.0)",
                "return torch.optim.Adam(self.parameters(), lr=0.01)",
            )
        },
        r"eps.*100",
        r"usual settings|1e-8",
        1.2,
    ),
    Case(
        "module-that-drops-nearly-all",
        "",
        "The rate of dropout was taken for the share to keep.",
        _MODULE.replace("{OPTIMIZER}", "return torch.optim.Adam(self.parameters(), lr=0.01)").replace(
            "{NETWORK}",
            "self.net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Dropout({DROPPED}), nn.Linear(32, 4))",
        ),
        {"DROPPED": ("0.99", "0.1")},
        r"[Dd]ropout",
        r"drop|\bp\b|keep|kept",
        1.2,
    ),
]
