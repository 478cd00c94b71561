"""Three LightningModules of the second blind round.

They were written after the doctor was mended for the first one, before it saw any of these.
"""

from __future__ import annotations

from tests.patients.blind.case import Case

CASES = [
    Case(
        "monitor-under-another-name",
        "facebookresearch/fastMRI#108",
        "The checkpoint monitors val_loss, and the module logs it as validation_loss: the training ends with an error "
        "at the first validation.",
        """
import tempfile

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Reconstruction(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(16, 8), torch.nn.ReLU(), torch.nn.Linear(8, 16))

    def training_step(self, batch, batch_idx):
        loss = F.l1_loss(self.net(batch[0]), batch[0])
        self.log("loss", loss.detach())
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("validation_loss", F.l1_loss(self.net(batch[0]), batch[0]))

    def configure_optimizers(self):
        return torch.optim.RMSprop(self.parameters(), lr=0.002)


pl.seed_everything(0)
x = torch.randn(200, 4) @ torch.randn(4, 16)
checkpoint = ModelCheckpoint(dirpath=tempfile.mkdtemp(), monitor="{MONITOR}", mode="min", save_top_k=1)
trainer = pl.Trainer(
    max_epochs=4, accelerator="cpu", logger=False, callbacks=[checkpoint], enable_progress_bar=False
)
model = Reconstruction()
try:
    trainer.fit(
        model,
        DataLoader(TensorDataset(x[:160]), batch_size=20, shuffle=True),
        DataLoader(TensorDataset(x[160:]), batch_size=40),
    )
finally:
    score = 1.0 if checkpoint.best_model_path else 10.0
""",
        {"MONITOR": ("val_loss", "validation_loss")},
        r"val_loss.*(not|which no|never).*log|monitor.*val_loss",
        r"validation_loss|self\.log\(\"?'?val_loss",
    ),
    Case(
        "trains-in-eval-mode",
        "Lightning-AI/pytorch-lightning#20216",
        "A hook puts the module into eval mode, and Lightning does not put it back for the training step: dropout and "
        "batch norm are off in the training.",
        """
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(30, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Dropout(0.5))
        self.head = nn.Linear(64, 2)

    def forward(self, x):
        return self.head(self.body(x))

    def on_train_start(self):
        self.eval()
        with torch.no_grad():
            print("before training", self(torch.zeros(2, 30)).softmax(1)[0])
{BACK}
    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


pl.seed_everything(0)
x = 40 + 10 * torch.randn(160, 30)
y = (x[:, 0] > 40).long()
model = Net()
trainer = pl.Trainer(
    max_epochs=10, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
)
trainer.fit(model, DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True))
mean = model.body[1].running_mean
with torch.no_grad():
    score = (mean - model.body[0](x).mean(0)).abs().mean().item() / model.body[0](x).mean(0).abs().mean().item()
""",
        {"BACK": ("", "        self.train()\n")},
        r"eval",
        r"train\(\)",
    ),
    Case(
        "validation-not-normalized",
        "PolymathicAI/the_well#68",
        "The data module passes the normalization to the training dataset alone: validation inputs have another scale.",
        """
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class Fields(Dataset):
    def __init__(self, number, seed, use_normalization=False):
        self.x = 300 + 20 * torch.randn(number, 10, generator=torch.Generator().manual_seed(seed))
        self.y = (self.x[:, :3] - 300).argmax(1)
        self.use_normalization = use_normalization

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        x = self.x[index]
        if self.use_normalization:
            x = (x - 300) / 20
        return x, self.y[index]


class FieldsModule(pl.LightningDataModule):
    def __init__(self, use_normalization=True):
        super().__init__()
        self.train_dataset = Fields(400, 0, use_normalization=use_normalization)
        self.val_dataset = Fields(100, 1{NORMALIZED})

    def train_dataloader(self):
        return DataLoader(self.train_dataset, batch_size=20, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val_dataset, batch_size=50)


class Surrogate(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


pl.seed_everything(0)
trainer = pl.Trainer(
    max_epochs=5, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
)
trainer.fit(Surrogate(), datamodule=FieldsModule())
score = float(trainer.callback_metrics["val_loss"])
""",
        {"NORMALIZED": ("", ", use_normalization=use_normalization")},
        r"validation.*(scale|mean|distribution|normal|differ)",
        r"normal|same (transform|preprocessing)",
    ),
]
