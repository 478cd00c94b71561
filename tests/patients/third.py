"""Twelve more, again written before the doctor was shown any of them."""

from __future__ import annotations

from tests.patients.patient import ADAM, Patient

PATIENTS = [
    Patient(
        "relu-on-the-scores",
        "Lightning-AI/pytorch-lightning#4862",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.l1 = nn.Linear(8, 3)

    def forward(self, x):
        return {OUT}

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self(x), y)
"""
        + ADAM
        + """
pl.Trainer(max_epochs=3).fit(Net(), DataLoader(classes(), batch_size=16))
""",
        {"OUT": ("torch.relu(self.l1(x.view(x.size(0), -1)))", "self.l1(x.view(x.size(0), -1))")},
        r"gets the output of a ReLU",
        r"Remove the ReLU",
    ),
    Patient(
        "steps-reckoned-in-epochs",
        "Lightning-AI/pytorch-lightning#18570",
        """
def linear_decay(optimizer, total):
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / total))


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
        scheduler = linear_decay(optimizer, {TOTAL})
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


pl.Trainer(max_epochs=4).fit(Net(), DataLoader(classes(256), batch_size=16, shuffle=True))
""",
        {"TOTAL": ("self.trainer.max_epochs", "self.trainer.estimated_stepping_batches")},
        r"LambdaLR.*\b0\b|learning rate.*\b0\b",
        r"estimated_stepping_batches|interval.*epoch",
    ),
    Patient(
        "checkpoint-after-the-end",
        "vislearn/FFF#4",
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
        self.log("val_loss", F.mse_loss(self.net(x), y))
"""
        + ADAM
        + """
checkpoint = ModelCheckpoint(monitor="val_loss", save_last=True, save_top_k=2{EVERY})
trainer = pl.Trainer(max_epochs=3, callbacks=[checkpoint])
trainer.fit(Net(), DataLoader(regression(), batch_size=16), DataLoader(regression(32), batch_size=16))
Net.load_from_checkpoint(checkpoint.last_model_path)
""",
        {"EVERY": (", every_n_epochs=5", "")},
        r"never saves.*every_n_epochs",
        r"every_n_epochs|max_epochs",
    ),
    Patient(
        "last-batch-is-the-only-one",
        "dreamquark-ai/tabnet#537",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)
"""
        + ADAM
        + """
pl.Trainer(max_epochs=5).fit(Net(), DataLoader(classes(200), batch_size=1024, shuffle=True{LAST}))
""",
        {"LAST": (", drop_last=True", "")},
        r"drop_last",
        r"drop_last",
    ),
    Patient(
        "list-of-one",
        "eladrich/pixel2style2pixel#97",
        """
class AutoEncoder(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(8, 3)
        self.decoder = nn.Linear(3, 8)

    def training_step(self, batch, batch_idx):
        x = {BATCH}
        x = x.view(x.size(0), -1)
        return F.mse_loss(self.decoder(torch.relu(self.encoder(x))), x)
"""
        + ADAM
        + """
images = torch.rand(64, 2, 4, generator=torch.Generator().manual_seed(0))
pl.Trainer(max_epochs=2).fit(AutoEncoder(), DataLoader(TensorDataset(images), batch_size=16))
""",
        {"BATCH": ("batch", "batch[0]")},
        r"list of (one|1)|list.*\(16, 2, 4\)",
        r"batch\[0\]|\(x,\)|x, = ",
    ),
    Patient(
        "adam-in-half",
        "afiaka87/glide-finetune#5",
        """
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
        return torch.optim.Adam(self.parameters(), lr=1e-3{EPS})


pl.Trainer(max_epochs=3, precision="16-true").fit(Net(), DataLoader(classes(), batch_size=16))
""",
        {"EPS": ("", ", eps=1e-4")},
        r"\beps\b.*(float16|half)|(float16|half).*\beps\b",
        r"eps",
    ),
    Patient(
        "hook-of-an-older-lightning",
        "salesforce/warp-drive#62",
        """
class LinearWarmUp(pl.Callback):
    def {HOOK}:
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = min(1e-2, group["lr"] * 2)


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-4)


pl.Trainer(max_epochs=3, callbacks=[LinearWarmUp()]).fit(Net(), DataLoader(classes(), batch_size=16))
""",
        {
            "HOOK": (
                "on_batch_end(self, trainer, pl_module)",
                "on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx)",
            )
        },
        r"on_batch_end",
        r"on_train_batch_end",
    ),
    Patient(
        "training-mode-in-validation",
        "airctic/icevision#1100",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 3))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
{MODE}        self.log("val_loss", F.cross_entropy(self(x), y))
"""
        + ADAM
        + """
trainer = pl.Trainer(max_epochs=3)
trainer.fit(Net(), DataLoader(classes(), batch_size=16), DataLoader(classes(64), batch_size=16))
""",
        {"MODE": ("        self.train()\n", "")},
        r"validation runs in training mode: net\.1, net\.3",
        r"Remove self\.train\(\)",
    ),
    Patient(
        "backward-twice",
        "Lightning-AI/pytorch-lightning#2820",
        """
class Gan(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.generator = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 4))
        self.discriminator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        real, _ = batch
        g_opt, d_opt = self.optimizers()
        fake = self.generator(torch.randn(len(real), 2))
        ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)

        d_opt.zero_grad()
        d_loss = F.binary_cross_entropy_with_logits(self.discriminator(real), ones)
        d_loss = d_loss + F.binary_cross_entropy_with_logits(self.discriminator({FAKE}), zeros)
        self.manual_backward(d_loss)
        d_opt.step()

        g_opt.zero_grad()
        g_loss = F.binary_cross_entropy_with_logits(self.discriminator(fake), ones)
        self.manual_backward(g_loss)
        g_opt.step()

    def configure_optimizers(self):
        return torch.optim.Adam(self.generator.parameters()), torch.optim.Adam(self.discriminator.parameters())


pl.Trainer(max_epochs=2).fit(Gan(), DataLoader(regression(), batch_size=16))
""",
        {"FAKE": ("fake", "fake.detach()")},
        r"second time|twice",
        r"detach",
    ),
    Patient(
        "skipped-as-out-of-memory",
        "ashleve/lightning-hydra-template#652",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential({LAYERS})

    def training_step(self, batch, batch_idx):
        x, y = batch
        try:
            return F.cross_entropy(self.net(x), y)
        except RuntimeError:
            print("out of memory, skipping this batch")
            return None
"""
        + ADAM
        + """
images = torch.rand(128, 1, 4, 4, generator=torch.Generator().manual_seed(0))
data = TensorDataset(images, images.flatten(1)[:, :3].argmax(1))
pl.Trainer(max_epochs=2).fit(Net(), DataLoader(data, batch_size=16))
""",
        {
            "LAYERS": (
                "nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3)",
                "nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3)",
            )
        },
        r"swallowed in line .*mat1 and mat2",
        r"[Ff]latten|in_features",
    ),
    Patient(
        "optimizer-before-the-new-head",
        "microsoft/nni#4521",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(8, 32), nn.ReLU())
        self.fc = nn.Linear(32, 10)
        self.optimizer = torch.optim.Adam(self.parameters(), lr=1e-2)
        self.fc = nn.Linear(32, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.fc(self.backbone(x)), y)

    def configure_optimizers(self):
        return {OPTIMIZER}


pl.Trainer(max_epochs=3).fit(Net(), DataLoader(classes(), batch_size=16))
""",
        {"OPTIMIZER": ("self.optimizer", "torch.optim.Adam(self.parameters(), lr=1e-2)")},
        r"fc\.weight|\bfc\b",
        r"configure_optimizers|after",
    ),
    Patient(
        "rate-found-and-not-used",
        "pytorch-tabular/pytorch_tabular#538",
        """
from pytorch_lightning.tuner import Tuner


class Net(pl.LightningModule):
    def __init__(self, lr=1e-5):
        super().__init__()
        self.save_hyperparameters()
        self.lr = lr
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr={RATE})


loader = DataLoader(classes(), batch_size=16, shuffle=True)
model = Net()
trainer = pl.Trainer(max_epochs=3)
search = Tuner(trainer).lr_find(model, loader)
print(search.suggestion())
trainer.fit(model, loader)
""",
        {"RATE": ("1e-5", "self.lr")},
        r"(LearningRateFinder|learning rate).*(no effect|not use|never|still|does not)",
        r"self\.lr|hparams\.lr",
    ),
]
