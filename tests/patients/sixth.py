"""Six of twenty more, of trainings with Lightning in public threads, written before the doctor was shown any of them.

The others are beside it, of data and of schedules. The threads were chosen for a cause that they state and for the
spread of the causes; `cause` and `remedy` are what a right diagnosis has to name, and were written down with the
scripts. Of the twenty it named six: the length of a sampler, schedulers that nobody steps, frozen statistics, a
validation loss that is not logged, a hook's name and a batch's parts. On one more it repeated Lightning's own message
without a remedy, and on one it saw the symptom alone.
"""

from __future__ import annotations

from tests.patients.patient import ADAM, Patient

PATIENTS = [
    # The weights of the latitudes are cosines of degrees, and many are below zero.
    Patient(
        "negative-weights",
        "tung-nd/stormer#4",
        """
latitudes = torch.linspace(-87.1875, 87.1875, 32)


def area():
    weights = torch.cos({ANGLES})
    return weights / weights.mean()


class Fields(Dataset):
    def __len__(self):
        return 128

    def __getitem__(self, index):
        now = torch.randn(32, generator=torch.Generator().manual_seed(index))
        return now, 0.5 * now.roll(1) + 0.5 * now


class Weather(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(32, 32)
        self.register_buffer("weights", area())

    def training_step(self, batch, batch_idx):
        now, later = batch
        loss = (self.weights * (self.net(now) - later) ** 2).mean()
        self.log("train/w_mse", loss)
        return loss
"""
        + ADAM
        + """
pl.seed_everything(0)
pl.Trainer(max_epochs=6).fit(Weather(), DataLoader(Fields(), batch_size=16, shuffle=True))
""",
        {"ANGLES": ("latitudes", "torch.deg2rad(latitudes)")},
        r"negative|below (0|zero)",
        r"weight|positive|non-negative|square|sign",
    ),
    # A term of the loss is a tensor of its own, made from numbers: nothing learns from it.
    Patient(
        "term-of-plain-numbers",
        "Wuziyi616/multi_part_assembly#4",
        """
class Assembly(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 4))

    def straightness(self, poses):
        bends = (poses[:, 1:] - poses[:, :-1]).abs().mean(1)
        return {BENDS}

    def training_step(self, batch, batch_idx):
        parts, _ = batch
        poses = self.net(parts)
        losses = {"position": F.mse_loss(poses, parts), "straightness": self.straightness(poses).mean()}
        self.log_dict(losses)
        return losses["position"] + 2.0 * losses["straightness"]
"""
        + ADAM
        + """
pl.seed_everything(0)
pl.Trainer(max_epochs=5).fit(Assembly(), DataLoader(regression(), batch_size=16, shuffle=True))
""",
        {"BENDS": ("torch.Tensor([bend.item() for bend in bends])", "bends")},
        r"(term|part|addend|added|straightness).*(graph|grad|constant|number)|(graph|grad|constant|\.item).*(term|part|addend|added)",
        r"tensor|graph|item",
    ),
    # The validation loss is returned in a dictionary, as once was enough, and not logged.
    Patient(
        "validation-loss-returned",
        "aqlaboratory/openfold#51",
        """
from pytorch_lightning.callbacks import ModelCheckpoint


class Fold(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.mse_loss(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        loss = F.mse_loss(self.net(x), y)
{LOG}        return {"val_loss": loss}
"""
        + ADAM
        + """
checkpoints = ModelCheckpoint(filename="best", monitor="val_loss", save_top_k=1)
trainer = pl.Trainer(max_epochs=3, callbacks=[checkpoints])
trainer.fit(Fold(), DataLoader(regression(), batch_size=16), DataLoader(regression(32), batch_size=16))
""",
        {"LOG": ("", '        self.log("val_loss", loss)\n')},
        r"val_loss.*(return|not logged|never logged|logs)|(return|not logged|never logged).*val_loss",
        r"self\.log\(",
    ),
    # A hook lacks its "on_": Lightning never calls it.
    Patient(
        "hook-without-its-on",
        "Leminhbinh0209/FinetuneVAE-SD#3",
        """
import copy


class Tuned(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)
        self.averaged = copy.deepcopy(self.net).requires_grad_(False)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.averaged(x), y))

    def {HOOK}(self):
        with torch.no_grad():
            for mean, value in zip(self.averaged.parameters(), self.net.parameters()):
                mean.lerp_(value, 0.3)

    def configure_optimizers(self):
        return torch.optim.Adam(self.net.parameters(), lr=1e-2)


trainer = pl.Trainer(max_epochs=4)
trainer.fit(Tuned(), DataLoader(classes(), batch_size=16, shuffle=True), DataLoader(classes(64), batch_size=16))
""",
        {"HOOK": ("train_epoch_end", "on_train_epoch_end")},
        r"\btrain_epoch_end",
        r"\bon_train_epoch_end",
    ),
    # A class method that returns a module is called on a module, whose own weights it leaves alone.
    Patient(
        "loaded-on-an-instance",
        "Lightning-AI/pytorch-lightning#5648",
        """
class Ann(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)
"""
        + ADAM
        + """
kept = {"state_dict": Ann().state_dict(), "pytorch-lightning_version": pl.__version__}
torch.save(kept, "earlier.ckpt")
model = Ann()
{LOAD}
pl.Trainer(max_epochs=2).fit(model, DataLoader(classes(), batch_size=16, shuffle=True))
""",
        {"LOAD": ('model.load_from_checkpoint("earlier.ckpt")', 'model = Ann.load_from_checkpoint("earlier.ckpt")')},
        r"load_from_checkpoint.*(instance|class)",
        r"(Ann|[Cc]lass|type).*load_from_checkpoint|load_from_checkpoint.*(Ann|class)",
    ),
    # The number that masks attention is beyond the range of half precision.
    Patient(
        "mask-beyond-half",
        "sktime/pytorch-forecasting#285",
        """
class Attentive(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(4, 8) for _ in range(3))
        self.head = nn.Linear(8, 1)

    def forward(self, x):
        scores = self.query(x) @ self.key(x).transpose(1, 2) / 8**0.5
        later = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        attention = scores.masked_fill(later, {MASKED}).softmax(-1)
        return self.head((attention @ self.value(x))[:, -1])

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.mse_loss(self(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-2)


walks = torch.randn(64, 6, 4, generator=torch.Generator().manual_seed(0))
data = TensorDataset(walks, walks.mean((1, 2)).unsqueeze(1))
pl.Trainer(max_epochs=2, precision="16-true").fit(Attentive(), DataLoader(data, batch_size=16))
""",
        {"MASKED": ("-1e9", "-1e4")},
        r"[Hh]alf|float16|16-true",
        r"finfo|inf|smaller|-1e4|range",
    ),
]
