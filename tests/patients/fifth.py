"""Ten more, of what surrounds the step: options, optimizers, schedules, checkpoints, precision, callbacks, logs.

Again written before the doctor was shown any of them: of these ten it named no cause.
"""

from __future__ import annotations

from tests.patients.patient import ADAM, Patient

PATIENTS = [
    Patient(
        "steps-counted-by-two-optimizers",
        "Lightning-AI/pytorch-lightning#17958",
        """
class Gan(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 4))
        self.critic = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))

    def training_step(self, batch, batch_idx):
        real, _ = batch
        first, second = self.optimizers()
        fake = self.generator(torch.randn(len(real), 2))
        told = torch.cat([self.critic(real), self.critic(fake.detach())])
        truth = torch.cat([torch.ones(len(real), 1), torch.zeros(len(real), 1)])
        second.zero_grad()
        self.manual_backward(F.binary_cross_entropy_with_logits(told, truth))
        second.step()
        first.zero_grad()
        self.manual_backward(F.softplus(-self.critic(fake)).mean())
        first.step()

    def configure_optimizers(self):
        return [torch.optim.Adam(net.parameters(), lr=1e-3) for net in (self.generator, self.critic)]


loader = DataLoader(regression(), batch_size=16, shuffle=True)
pl.Trainer({LENGTH}).fit(Gan(), loader)
""",
        {"LENGTH": ("max_steps=6 * len(loader)", "max_epochs=6")},
        r"max_steps.*optimizers|optimizers.*max_steps",
        r"max_epochs|max_steps",
    ),
    Patient(
        "one-rate-for-all-groups",
        "shariqfarooq123/AdaBins#44",
        """
class Depth(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
        self.head = nn.Linear(32, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.head(self.encoder(x)), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        groups = [
            {"params": self.encoder.parameters(), "lr": 1e-3},
            {"params": self.head.parameters(), "lr": 1e-2},
        ]
        optimizer = torch.optim.AdamW(groups, weight_decay=0.1)
        total = self.trainer.estimated_stepping_batches
        scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr={PEAK}, total_steps=total)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


pl.Trainer(max_epochs=5).fit(Depth(), DataLoader(classes(256), batch_size=16, shuffle=True))
""",
        {"PEAK": ("1e-2", "[1e-3, 1e-2]")},
        r"OneCycleLR.*group|group.*OneCycleLR",
        r"max_lr",
    ),
    Patient(
        "first-epoch-for-nothing",
        "meta-pytorch/torchtune#2010",
        """
import math


def warmed_cosine(warmup, total):
    def factor(epoch):
        if {POSITION} < warmup:
            return {POSITION} / warmup
        return 0.5 * (1 + math.cos(math.pi * (epoch - warmup) / (total - warmup)))

    return factor


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, warmed_cosine(2, self.trainer.max_epochs))
        return [optimizer], [scheduler]


pl.Trainer(max_epochs=6).fit(Net(), DataLoader(classes(256), batch_size=16, shuffle=True))
""",
        {"POSITION": ("epoch", "(epoch + 1)")},
        r"(rate|LambdaLR).*\b0\b.*epoch|epoch.*(rate|LambdaLR).*\b0\b",
        r"\+ 1|interval|above|other than 0",
    ),
    Patient(
        "accumulated-by-hand-undivided",
        "Lightning-AI/pytorch-lightning#14527",
        """
class Net(pl.LightningModule):
    def __init__(self, accumulate=32):
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.net = nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        opt = self.optimizers()
        loss = F.mse_loss(self.net(x), y)
        self.log("train/loss", loss, prog_bar=True)
        self.manual_backward(loss{SHARE})
        if (batch_idx + 1) % self.hparams.accumulate == 0:
            opt.step()
            opt.zero_grad()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


pl.Trainer(max_epochs=5).fit(Net(), DataLoader(regression(), batch_size=1, shuffle=True))
""",
        {"SHARE": ("", " / self.hparams.accumulate")},
        r"\b32\b.*(sum|divid|accumulat)|(sum|divid|accumulat).*\b32\b",
        r"[Dd]ivide|/",
    ),
    Patient(
        "weights-that-match-nothing",
        "AndreaCodegoni/Tiny_model_4_CD#12",
        """
def backbone():
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())


class Pretraining(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.model = backbone()


class Detector(pl.LightningModule):
    def __init__(self, weights):
        super().__init__()
        self.model = nn.Sequential(*backbone(), nn.Linear(16, 3))
        self.model.load_state_dict(weights, strict=False)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.model(x), y)
"""
        + ADAM
        + """
torch.save({"state_dict": Pretraining().state_dict()}, "pretrained.ckpt")
weights = torch.load("pretrained.ckpt")["state_dict"]{NAMES}
pl.Trainer(max_epochs=3).fit(Detector(weights), DataLoader(classes(), batch_size=16, shuffle=True))
""",
        {"NAMES": ("", '\nweights = {name.removeprefix("model."): value for name, value in weights.items()}')},
        r"load_state_dict.*strict=False|strict=False.*load_state_dict",
        r"prefix|names|model\.",
    ),
    Patient(
        "rate-from-the-checkpoint",
        "mapbox/robosat#169",
        """
class Net(pl.LightningModule):
    def __init__(self, lr):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.hparams.lr, momentum=0.9)


loader = DataLoader(classes(), batch_size=16, shuffle=True)
coarse = pl.Trainer(max_epochs=2)
coarse.fit(Net(lr=0.1), loader)
coarse.save_checkpoint("coarse.ckpt")
fine = pl.Trainer(max_epochs=4)
{FIT}
""",
        {
            "FIT": (
                'fine.fit(Net(lr=0.001), loader, ckpt_path="coarse.ckpt")',
                'fine.fit(Net.load_from_checkpoint("coarse.ckpt", lr=0.001), loader)',
            )
        },
        r"(ckpt_path|checkpoint).*rate|rate.*(ckpt_path|checkpoint)",
        r"load_from_checkpoint|on_train_start|weights",
    ),
    Patient(
        "updates-rounded-away",
        "hp-l33/AiM#10",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.AdamW(self.parameters(), lr=2e-4)


pl.seed_everything(1)
trainer = pl.Trainer(max_epochs=20, precision="{PRECISION}")
trainer.fit(Net(), DataLoader(classes(256), batch_size=16, shuffle=True))
""",
        {"PRECISION": ("bf16-true", "bf16-mixed")},
        r"bf(loat)?16.*(round|small|lost|unchanged)",
        r"bf16-mixed|32-true",
    ),
    Patient(
        "averaging-at-a-rate-of-its-own",
        "Lightning-AI/pytorch-lightning#16540",
        """
from pytorch_lightning.callbacks import StochasticWeightAveraging


def scaled(n=128):
    x = 5 * torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x.sum(1, keepdim=True))


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(4, 1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.mse_loss(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.01)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.3)]


averaging = StochasticWeightAveraging(swa_lrs={RATE}, swa_epoch_start=0.75, annealing_epochs=1)
pl.Trainer(max_epochs=12, callbacks=[averaging]).fit(Net(), DataLoader(scaled(), batch_size=16, shuffle=True))
""",
        {"RATE": ("0.05", "1e-4")},
        r"(swa_lrs|StochasticWeightAveraging).*rate|rate.*(swa_lrs|StochasticWeightAveraging)",
        r"swa_lrs",
    ),
    Patient(
        "frozen-by-a-misspelt-name",
        "udacity/deep-learning-v2-pytorch#12",
        """
class Transfer(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
        self.classifier = nn.Linear(32, 3)
        for param in self.features.parameters():
            param.{FLAG} = False

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.classifier(self.features(x)), y)
"""
        + ADAM
        + """
pl.Trainer(max_epochs=3).fit(Transfer(), DataLoader(classes(), batch_size=16, shuffle=True))
""",
        {"FLAG": ("require_grad", "requires_grad")},
        r"\brequire_grad\b",
        r"\brequires_grad\b",
    ),
    Patient(
        "logged-past-the-trainer",
        "Lightning-AI/pytorch-lightning#8455",
        """
from pytorch_lightning.callbacks import EarlyStopping
from pytorch_lightning.loggers import CSVLogger


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        {LOG}
        return loss
"""
        + ADAM
        + """
stopping = EarlyStopping(monitor="val_loss", min_delta=1e-2, patience=5)
trainer = pl.Trainer(max_epochs=4, logger=CSVLogger("logs"), callbacks=[stopping])
trainer.fit(Net(), DataLoader(classes(), batch_size=16), DataLoader(classes(64), batch_size=16))
""",
        {"LOG": ('self.logger.log_metrics({"val_loss": loss})', 'self.log("val_loss", loss)')},
        r"log_metrics|self\.logger",
        r"self\.log\(",
    ),
]
