"""Six of the seventh file's twenty, of validation, batches and logs."""

from __future__ import annotations

from tests.patients.patient import ADAM, Patient

PATIENTS = [
    # Validation gets the training set's random transform.
    Patient(
        "validated-as-trained",
        "Lightning-AI/tutorials#367",
        """
class Views(Dataset):
    def __init__(self, n, transform):
        self.images = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(n))
        self.transform = transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        return self.transform(image), image.flatten()[:3].argmax()


def train_transform(image):
    return image + 0.2 * torch.randn_like(image)


def val_transform(image):
    return image


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))
"""
        + ADAM
        + """
train_set, val_set = Views(128, train_transform), Views(64, {TRANSFORM})
loaders = DataLoader(train_set, batch_size=16, shuffle=True), DataLoader(val_set, batch_size=16)
pl.Trainer(max_epochs=3).fit(Net(), *loaders)
""",
        {"TRANSFORM": ("train_transform", "val_transform")},
        r"validation.*(random|augment|differ|another|each time)",
        r"without|augment|val_transform|random",
    ),
    # The validation part is made in train_dataloader, which Lightning calls after val_dataloader.
    Patient(
        "split-in-the-wrong-loader",
        "Lightning-AI/pytorch-lightning#7050",
        """
from torch.utils.data import random_split


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
{EARLY}
    def train_dataloader(self):
{LATE}        return DataLoader(self.train_set, batch_size=16)

    def val_dataloader(self):
        return DataLoader(self.val_set, batch_size=16)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))
"""
        + ADAM
        + """
pl.Trainer(max_epochs=2).fit(Net())
""",
        {
            "EARLY": (
                "",
                """
    def setup(self, stage):
        self.train_set, self.val_set = random_split(classes(), [96, 32])
""",
            ),
            "LATE": ("        self.train_set, self.val_set = random_split(classes(), [96, 32])\n", ""),
        },
        r"val_set.*(train_dataloader|before|not yet|order|later)",
        r"setup|__init__",
    ),
    # A value that is logged by step alone is none that a checkpoint can wait for.
    Patient(
        "logged-by-step-alone",
        "Lightning-AI/pytorch-lightning#10718",
        """
from pytorch_lightning.callbacks import ModelCheckpoint


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.mse_loss(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("valid_loss", F.mse_loss(self.net(x), y){WHEN})
"""
        + ADAM
        + """
trainer = pl.Trainer(max_epochs=3, callbacks=[ModelCheckpoint(monitor="valid_loss")])
trainer.fit(Net(), DataLoader(regression(), batch_size=16), DataLoader(regression(32), batch_size=16))
""",
        {"WHEN": (", on_step=True, on_epoch=False", "")},
        r"on_epoch|on_step|step alone|only .*step",
        r"on_epoch=True|on_epoch|on_step",
    ),
    # The dataset makes batches, and the loader makes batches of them.
    Patient(
        "batches-of-batches",
        "tgisaturday/dalle-lightning#10",
        """
class Shards(IterableDataset):
    def __iter__(self):
        x, y = classes(256).tensors
        yield from zip(x.split(16), y.split(16))


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)
"""
        + ADAM
        + """
pl.Trainer(max_epochs=3).fit(Net(), DataLoader(Shards(), batch_size={SIZE}))
""",
        {"SIZE": ("4", "None")},
        r"batch(es)? of batches|already.*batch|batch.*(twice|already)|\(4, 16",
        r"batch_size=None",
    ),
    # What is monitored has another name than what is logged.
    Patient(
        "monitored-by-its-old-name",
        "facebookresearch/fastMRI#108",
        """
from pytorch_lightning.callbacks import ModelCheckpoint


class Mri(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.mse_loss(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("validation_loss", F.mse_loss(self.net(x), y))
"""
        + ADAM
        + """
trainer = pl.Trainer(max_epochs=2, callbacks=[ModelCheckpoint(monitor="{MONITOR}")])
trainer.fit(Mri(), DataLoader(regression(), batch_size=16), DataLoader(regression(32), batch_size=16))
""",
        {"MONITOR": ("val_loss", "validation_loss")},
        r"val_loss.*(no step logs|not logged)",
        r"monitor",
    ),
    # What the end of validation computes is returned, and not logged.
    Patient(
        "metric-of-an-epoch-returned",
        "siddk/vqa-outliers#6",
        """
from pytorch_lightning.callbacks import ModelCheckpoint


class Vqa(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)
        self.right = []

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.right.append((self.net(x).argmax(1) == y).float().mean())

    def on_validation_epoch_end(self):
        log = {"val_acc": torch.stack(self.right).mean()}
        self.right.clear()
        {GIVE}
"""
        + ADAM
        + """
trainer = pl.Trainer(max_epochs=3, callbacks=[ModelCheckpoint(monitor="val_acc", mode="max")])
trainer.fit(Vqa(), DataLoader(classes(), batch_size=16), DataLoader(classes(64), batch_size=16))
""",
        {"GIVE": ("return log", "self.log_dict(log)")},
        r"val_acc.*(no step logs|not logged|return)",
        r"self\.log",
    ),
]
