"""Four like the fifth file's, written after the doctor was mended for its ten: again it named no cause."""

from __future__ import annotations

from tests.patients.patient import ADAM, Patient

PATIENTS = [
    Patient(
        "one-critic-twice-the-other-never",
        "line/open-universe#5",
        """
def critic():
    return nn.Sequential(nn.Linear(4, 8), nn.LeakyReLU(0.2), nn.Linear(8, 1))


class Universe(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(2, 8), nn.ReLU(), nn.Linear(8, 4))
        self.by_resolution = critic()
        self.by_period = critic()

    def training_step(self, batch, batch_idx):
        real, _ = batch
        first, second = self.optimizers()
        fake = self.generator(torch.randn(len(real), 2))
        critics = (self.by_resolution, self.by_period)
        second.zero_grad()
        hinges = [F.relu(1 - one(real)).mean() + F.relu(1 + one(fake.detach())).mean() for one in critics]
        self.manual_backward(sum(hinges))
        second.step()
        first.zero_grad()
        self.manual_backward(-sum(one(fake).mean() for one in critics))
        first.step()

    def configure_optimizers(self):
        told_apart = list(self.by_resolution.parameters()) + list(self.{OTHER}.parameters())
        return torch.optim.Adam(self.generator.parameters(), lr=1e-3), torch.optim.Adam(told_apart, lr=1e-3)


pl.Trainer(max_epochs=3).fit(Universe(), DataLoader(regression(), batch_size=16, shuffle=True))
""",
        {"OTHER": ("by_resolution", "by_period")},
        r"no optimizer has them.*by_period",
        r"[Gg]ive .*optimizer",
    ),
    Patient(
        "patience-with-what-gets-better",
        "IDSIA/brainstorm#91",
        """
from pytorch_lightning.callbacks import EarlyStopping


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_accuracy", (self.net(x).argmax(1) == y).float().mean())
"""
        + ADAM
        + """
pl.seed_everything(0)
stopping = EarlyStopping(monitor="val_accuracy", patience=3{MODE})
trainer = pl.Trainer(max_epochs=10, callbacks=[stopping])
trainer.fit(Net(), DataLoader(classes(), batch_size=16, shuffle=True), DataLoader(classes(64), batch_size=32))
""",
        {"MODE": ("", ', mode="max"')},
        r"EarlyStopping.*val_accuracy.*(min|lower|rise|better)",
        r"mode=.max",
    ),
    Patient(
        "pretrained-in-evaluation-mode",
        "Lightning-AI/pytorch-lightning#20573",
        """
class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3))

    @classmethod
    def from_pretrained(cls):
        return cls().eval()

    def forward(self, x):
        return self.layers(x)


class Tuned(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder.from_pretrained(){MODE}
        self.head = nn.Linear(32, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.head(self.encoder(x)), y)
"""
        + ADAM
        + """
pl.Trainer(max_epochs=3).fit(Tuned(), DataLoader(classes(), batch_size=16, shuffle=True))
""",
        {"MODE": ("", ".train()")},
        r"eval.*(mode|\(\))|evaluation",
        r"\.train\(\)",
    ),
    Patient(
        "patience-of-half-an-epoch",
        "Lightning-AI/pytorch-lightning#17736",
        """
from pytorch_lightning.callbacks import EarlyStopping


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.mse_loss(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.mse_loss(self.net(x), y))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


pl.seed_everything(0)
stopping = EarlyStopping(monitor="val_loss", patience=3, min_delta=0.1)
trainer = pl.Trainer(max_epochs=10, callbacks=[stopping]{EVERY})
trainer.fit(Net(), DataLoader(regression(), batch_size=8, shuffle=True), DataLoader(regression(32), batch_size=16))
""",
        {"EVERY": (", val_check_interval=2", "")},
        r"patience.*(validation|check).*(epoch|val_check_interval)",
        r"patience|val_check_interval",
    ),
]
