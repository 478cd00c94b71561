"""Eight ill trainings of what the Trainer is told and calls, written before the doctor was shown any of them."""

from __future__ import annotations

from tests.patients.patient import Patient

PATIENTS = [
    Patient(
        "gradient-in-validation",
        "Lightning-AI/pytorch-lightning#19910",
        """
class Potential(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 16), nn.Tanh(), nn.Linear(16, 1))

    def force(self, x):
        x = x.detach().clone().requires_grad_(True)
        energy = self.net(x).sum()
        return torch.autograd.grad(energy, x, create_graph=True)[0]

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.mse_loss(self.force(x), -x)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        {LOG}

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


trainer = pl.Trainer(max_epochs=2{MODE})
trainer.fit(Potential(), DataLoader(regression(), batch_size=16), DataLoader(regression(), batch_size=16))
""",
        {
            "LOG": (
                "self.log('val_loss', F.mse_loss(self.force(x), -x))",
                "with torch.enable_grad():\n            self.log('val_loss', F.mse_loss(self.force(x), -x))",
            ),
            "MODE": ("", ", inference_mode=False"),
        },
        r"gradients are switched off in validation",
        r"enable_grad",
    ),
    Patient(
        "onecycle-by-epoch",
        "Lightning-AI/pytorch-lightning#3869",
        """
class Net(pl.LightningModule):
    def __init__(self, epochs):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def train_dataloader(self):
        return DataLoader(classes(), batch_size=16, shuffle=True)

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-3)
        lr_scheduler = {
            "scheduler": torch.optim.lr_scheduler.OneCycleLR(
                optimizer, max_lr=1e-2, steps_per_epoch=len(self.train_dataloader()), epochs=self.hparams.epochs,
                anneal_strategy="linear"),
            "name": "learning_rate",{INTERVAL}
        }
        return [optimizer], [lr_scheduler]


pl.Trainer(max_epochs=4).fit(Net(4))
""",
        {"INTERVAL": ("", '\n            "interval": "step",')},
        r"OneCycleLR.*(steps|epoch)",
        r"""["']?interval["']?.*step""",
    ),
    Patient(
        "manual-scheduler",
        "Lightning-AI/pytorch-lightning#17738",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        opt = self.optimizers()
        loss = F.cross_entropy(self.net(x), y)
        opt.zero_grad()
        self.manual_backward(loss)
        opt.step()
        self.log("loss", loss)
{EPOCH}
    def configure_optimizers(self):
        opt = torch.optim.SGD(self.parameters(), lr=0.1)
        return {"optimizer": opt, "lr_scheduler": {
            "scheduler": torch.optim.lr_scheduler.StepLR(opt, 1, 0.5), "interval": "epoch"}}


pl.Trainer(max_epochs=4).fit(Net(), DataLoader(classes(), batch_size=16, shuffle=True))
""",
        {"EPOCH": ("", "\n    def on_train_epoch_end(self):\n        self.lr_schedulers().step()\n")},
        r"(StepLR|scheduler).*(never|not) stepped|schedule.*nobody steps",
        r"lr_schedulers\(\).*step|\.step\(\)",
    ),
    Patient(
        "monitor-not-logged",
        "vislearn/FFF#3",
        """
from pytorch_lightning.callbacks import ModelCheckpoint

class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        {LOG}

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


keep = ModelCheckpoint(dirpath="checkpoints", monitor="val_loss", mode="min")
trainer = pl.Trainer(max_epochs=2, callbacks=[keep])
trainer.fit(Net(), DataLoader(classes(), batch_size=16), DataLoader(classes(), batch_size=16))
""",
        {"LOG": ("return loss", 'self.log("val_loss", loss)')},
        r"val_loss.*(not|never|nobody|no step|no one) log|nothing logs val_loss",
        r"""self\.log\(["']val_loss""",
    ),
    Patient(
        "clip-by-hand",
        "galilai-group/stable-pretraining#246",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        opt = self.optimizers()
        opt.zero_grad()
        self.manual_backward(F.cross_entropy(self.net(x), y))
        {CLIP}opt.step()

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


pl.Trainer(max_epochs=2{VAL}).fit(Net(), DataLoader(classes(), batch_size=16))
""",
        {
            "CLIP": ("", 'self.clip_gradients(opt, gradient_clip_val=1.0, gradient_clip_algorithm="norm")\n        '),
            "VAL": (", gradient_clip_val=1.0", ""),
        },
        r"gradient_clip_val.*manual|manual.*clip",
        r"clip_gradients",
    ),
    Patient(
        "optimizer-index",
        "hyyan2k/LiSenNet#8",
        """
class Gan(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.g, self.d = nn.Linear(4, 4), nn.Linear(4, 1)

    def training_step(self, batch, batch_idx{INDEX}):
        x, _ = batch
        opt_g, opt_d = self.optimizers()
        fake = self.g(torch.randn_like(x))
        opt_d.zero_grad()
        self.manual_backward(self.d(fake.detach()).mean() - self.d(x).mean() + self.d(x).pow(2).mean())
        opt_d.step()
        opt_g.zero_grad()
        self.manual_backward(-self.d(fake).mean() + fake.pow(2).mean())
        opt_g.step()

    def configure_optimizers(self):
        return torch.optim.Adam(self.g.parameters(), 1e-3), torch.optim.Adam(self.d.parameters(), 1e-3)


pl.Trainer(max_epochs=2).fit(Gan(), DataLoader(regression(), batch_size=16))
""",
        {"INDEX": (", optimizer_idx=None", "")},
        r"optimizer_idx",
        r"(Take|Remove).*optimizer_idx|optimizer_idx.*out",
    ),
    Patient(
        "gpus-argument",
        "facebookresearch/xformers#818",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


trainer = pl.Trainer({DEVICES}, max_epochs=2, gradient_clip_val=1)
trainer.fit(Net(), DataLoader(classes(), batch_size=16))
""",
        {"DEVICES": ("gpus=1", 'accelerator="auto", devices=1')},
        r"gpus",
        r"devices",
    ),
    Patient(
        "plateau-unmonitored",
        "EmperorJia/EquiCSP#1",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss, on_step=True, on_epoch=True)
        return loss

    def configure_optimizers(self):
        opt = torch.optim.Adam(self.parameters(), lr=1e-2)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(opt, factor=0.6, patience=3)
        return {"optimizer": opt, "lr_scheduler": scheduler, "monitor": "{MONITOR}"}


pl.Trainer(max_epochs=2).fit(Net(), DataLoader(classes(), batch_size=16))
""",
        {"MONITOR": ("val_loss", "train_loss")},
        r"val_loss",
        r"monitor|self\.log",
    ),
]
