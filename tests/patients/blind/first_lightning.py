"""Five LightningModules of the first blind round, after the hits of fixed queries in their order."""

from __future__ import annotations

from tests.patients.blind.case import Case

CASES = [
    Case(
        "one-metric-for-two-stages",
        "Lightning-AI/torchmetrics#637",
        "Training and validation share one metric object: validation resets it before the training epoch ends, so that "
        "the training's accuracy is lost.",
        """
import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.classification import MulticlassAccuracy


class Images(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(9, 24), torch.nn.ReLU(), torch.nn.Linear(24, 3))
        self.accuracy = MulticlassAccuracy(3)
        self.{OTHER} = MulticlassAccuracy(3)
        self.reported = []

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.accuracy.update(logits, y)
        return F.cross_entropy(logits, y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.{VALIDATES}.update(logits, y)
        self.log("val_loss", F.cross_entropy(logits, y))

    def on_train_epoch_end(self):
        self.reported.append(self.accuracy.compute().item())
        self.log("train_acc", self.accuracy.compute())
        self.accuracy.reset()

    def on_validation_epoch_end(self):
        self.log("val_acc", self.{VALIDATES}.compute())
        self.{VALIDATES}.reset()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


pl.seed_everything(0)
x = torch.randn(480, 9)
y = x[:, :3].argmax(1)
model = Images()
trainer = pl.Trainer(
    max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
)
trainer.fit(
    model,
    DataLoader(TensorDataset(x[:400], y[:400]), batch_size=20, shuffle=True),
    DataLoader(TensorDataset(x[400:], y[400:]), batch_size=40),
)
with torch.no_grad():
    score = abs(model.reported[-1] - (model(x[:400]).argmax(1) == y[:400]).float().mean().item())
""",
        {"OTHER": ("unused", "val_accuracy"), "VALIDATES": ("accuracy", "val_accuracy")},
        r"accuracy.*(shared|both|training and validation|one object|same metric)",
        r"(its own|separate|one (metric )?(object )?(for|per) each|second)",
    ),
    Case(
        "one-cycle-per-epoch",
        "Lightning-AI/pytorch-lightning#3869",
        "OneCycleLR is planned in batches, but Lightning steps a scheduler once per epoch unless it is told "
        '"interval": "step": the rate stays at its low beginning.',
        """
import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Tabular(pl.LightningModule):
    def __init__(self, learning_rate=0.02, epochs=3, batches=20):
        super().__init__()
        self.save_hyperparameters()
        self.net = torch.nn.Sequential(torch.nn.Linear(12, 32), torch.nn.ReLU(), torch.nn.Linear(32, 4))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.learning_rate)
        lr_scheduler = {
            "scheduler": torch.optim.lr_scheduler.OneCycleLR(
                optimizer,
                max_lr=self.hparams.learning_rate,
                steps_per_epoch=self.hparams.batches,
                epochs=self.hparams.epochs,
                anneal_strategy="linear",
            ),
            "name": "learning_rate",{INTERVAL}
        }
        return [optimizer], [lr_scheduler]


pl.seed_everything(0)
x = torch.randn(600, 12)
y = x[:, :4].argmax(1)
model = Tabular()
trainer = pl.Trainer(
    max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
)
trainer.fit(model, DataLoader(TensorDataset(x, y), batch_size=30, shuffle=True))
with torch.no_grad():
    score = F.cross_entropy(model.net(x), y).item()
""",
        {"INTERVAL": ("", '\n            "interval": "step",')},
        r"OneCycleLR.*(once per epoch|epoch)",
        r'"interval": "step"',
        1.3,
    ),
    Case(
        "query-predictions-of-the-support",
        "rcmalli/lightning-maml#3",
        "The accuracy on the query set is computed from the logits of the support set.",
        """
import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class Episodes(Dataset):
    def __init__(self, number, seed):
        draw = torch.Generator().manual_seed(seed)
        self.support = torch.randn(number, 12, 10, generator=draw)
        self.query = torch.randn(number, 12, 10, generator=draw)

    def __len__(self):
        return len(self.support)

    def __getitem__(self, index):
        support, query = self.support[index], self.query[index]
        return {"support": (support, support[:, :3].argmax(1)), "query": (query, query[:, :3].argmax(1))}


class Learner(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(10, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))
        self.accuracy = 0.0

    def step(self, batch):
        train_inputs, train_targets = batch["support"]
        test_inputs, test_targets = batch["query"]
        train_logit = self.net(train_inputs)
        inner_loss = F.cross_entropy(train_logit.flatten(0, 1), train_targets.flatten())
        test_logit = self.net(test_inputs)
        outer_loss = F.cross_entropy(test_logit.flatten(0, 1), test_targets.flatten())
        with torch.no_grad():
            test_preds = torch.softmax({LOGIT}, dim=-1).argmax(-1)
            outer_accuracy = (test_preds == test_targets).float().mean()
        return inner_loss, outer_loss, outer_accuracy

    def training_step(self, batch, batch_idx):
        inner_loss, outer_loss, accuracy = self.step(batch)
        self.log("metatrain/outer_accuracy", accuracy)
        return inner_loss + outer_loss

    def validation_step(self, batch, batch_idx):
        _, outer_loss, accuracy = self.step(batch)
        self.accuracy = accuracy.item()
        self.log_dict({"metaval/outer_loss": outer_loss, "metaval/outer_accuracy": accuracy}, batch_size=8)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


pl.seed_everything(0)
model = Learner()
held_out = Episodes(8, 1)
trainer = pl.Trainer(
    max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
)
trainer.fit(model, DataLoader(Episodes(80, 0), batch_size=8, shuffle=True), DataLoader(held_out, batch_size=8))
with torch.no_grad():
    score = abs(model.accuracy - (model.net(held_out.query).argmax(-1) == held_out.query[..., :3].argmax(-1))
                .float().mean().item()) + 1e-6
""",
        {"LOGIT": ("train_logit", "test_logit")},
        r"(accuracy|prediction|test_preds).*(support|train_logit|other|not depend|does not|chance|different (input|"
        r"sample))",
        r"test_logit|same (input|sample|batch)|query",
    ),
    Case(
        "hook-almost-named",
        "Lightning-AI/pytorch-lightning#18462",
        "The method is named on_training_epoch_end, which is no hook; the hook is on_train_epoch_end.",
        """
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset


class Regressor(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Linear(5, 1)
        self.training_step_outputs = []
        self.validation_step_outputs = []

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = torch.nn.functional.mse_loss(self.net(x), y)
        self.training_step_outputs.append(loss.detach())
        return loss

    def {HOOK}(self):
        self.log("train_loss_epoch", torch.stack(self.training_step_outputs).mean())
        self.training_step_outputs.clear()

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.validation_step_outputs.append(torch.nn.functional.mse_loss(self.net(x), y))

    def on_validation_epoch_end(self):
        self.log("val_loss_epoch", torch.stack(self.validation_step_outputs).mean())
        self.validation_step_outputs.clear()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.02)


pl.seed_everything(0)
x = torch.randn(300, 5)
y = x @ torch.tensor([[1.0], [2.0], [0.0], [-1.0], [0.5]])
trainer = pl.Trainer(
    max_epochs=3, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
)
trainer.fit(
    Regressor(),
    DataLoader(TensorDataset(x[:240], y[:240]), batch_size=20, shuffle=True),
    DataLoader(TensorDataset(x[240:], y[240:]), batch_size=60),
)
score = 0.1 if "train_loss_epoch" in trainer.callback_metrics else 1.0
""",
        {"HOOK": ("on_training_epoch_end", "on_train_epoch_end")},
        r"on_training_epoch_end.*on_train_epoch_end",
        r"Rename it to on_train_epoch_end",
    ),
    Case(
        "optimizer-of-a-fresh-module",
        "Lightning-AI/pytorch-lightning#10822",
        "configure_optimizers makes the optimizer from a new instance of the module, so that it trains the weights of "
        "that one.",
        """
import pytorch_lightning as pl
import torch
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class LitDigits(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer_1 = torch.nn.Linear(16, 32)
        self.layer_2 = torch.nn.Linear(32, 4)

    def forward(self, x):
        return F.log_softmax(self.layer_2(torch.relu(self.layer_1(x.flatten(1)))), dim=1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.nll_loss(self(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam({OWNER}.parameters(), lr=1e-2)


pl.seed_everything(0)
x = torch.randn(400, 1, 4, 4)
y = x.flatten(1)[:, :4].argmax(1)
model = LitDigits()
trainer = pl.Trainer(
    max_epochs=4, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
)
trainer.fit(model, DataLoader(TensorDataset(x, y), batch_size=20, shuffle=True))
with torch.no_grad():
    score = F.nll_loss(model(x), y).item()
""",
        {"OWNER": ("LitDigits()", "self")},
        r"optimizer.*(none|no|not|other|another).*(weights|parameters|module)",
        r"self\.parameters\(\)",
    ),
]
