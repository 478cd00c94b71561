"""Seven of the sixth file's twenty, of rates, schedules and weights."""

from __future__ import annotations

from tests.patients.patient import ADAM, Patient

PATIENTS = [
    # The rate of the configuration is kept and never used: the optimizer has a number of its own.
    Patient(
        "rate-kept-and-not-used",
        "FraunhoferIEE/curriculumagent#8",
        """
class Junior(pl.LightningModule):
    def __init__(self, config):
        super().__init__()
        self.lr = config.get("learning_rate", 5e-4)
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr={RATE})
        return optimizer


pl.seed_everything(0)
junior = Junior({"learning_rate": 0.3})
pl.Trainer(max_epochs=4).fit(junior, DataLoader(classes(), batch_size=16, shuffle=True))
""",
        {"RATE": ("1e-3", "self.lr")},
        r"(self\.lr|learning_rate|\blr\b).*(never|not|unused|ignored)",
        r"self\.lr",
    ),
    # The warm-up counts steps and the scheduler is stepped once an epoch.
    Patient(
        "warm-up-of-many-epochs",
        "ace-step/ACE-Step#198",
        """
class Tuned(pl.LightningModule):
    def __init__(self, warmup_steps=40, max_steps=400):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train/loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        warmup, total = self.hparams.warmup_steps, self.hparams.max_steps

        def factor(step):
            return (step + 1) / warmup if step < warmup else max(0.0, (total - step) / (total - warmup))

        scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, factor)
        return [optimizer], [{"scheduler": scheduler, "name": "lr"{INTERVAL}}]


loader = DataLoader(classes(256), batch_size=16, shuffle=True)
pl.Trainer(max_steps=80).fit(Tuned(), loader)
""",
        {"INTERVAL": ("", ', "interval": "step"')},
        r"(LambdaLR|schedul|rate|warm).*epoch",
        r"interval.*step",
    ),
    # The warm-up writes the rate at each step and so undoes what the scheduler has done.
    Patient(
        "warm-up-over-the-schedule",
        "Lightning-AI/pytorch-lightning#4902",
        """
class Net(pl.LightningModule):
    def __init__(self, learning_rate=0.1, warmup=48):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def optimizer_step(self, epoch, batch_idx, optimizer, optimizer_closure):
        if {WARM}:
            scale = min(1.0, (self.trainer.global_step + 1) / self.hparams.warmup)
            for group in optimizer.param_groups:
                group["lr"] = scale * self.hparams.learning_rate
        optimizer.step(closure=optimizer_closure)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=self.hparams.learning_rate)
        scheduler = {SCHEDULER}
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


loader = DataLoader(classes(256), batch_size=16, shuffle=True)
pl.Trainer(max_epochs=5).fit(Net(), loader)
""",
        {
            "WARM": ("self.trainer.global_step < self.hparams.warmup", "False"),
            "SCHEDULER": (
                "torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.96)",
                "torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 48) * 0.96**step)",
            ),
        },
        r"optimizer_step.*(rate|lr|schedul)|(rate|lr|schedul).*optimizer_step",
        r"[Ss]chedul|LambdaLR|SequentialLR|LinearLR",
    ),
    # Under manual optimization nobody steps the scheduler.
    Patient(
        "schedulers-without-a-step",
        "voicepaw/so-vits-svc-fork#292",
        """
class Voice(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
        self.generator = nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 4))
        self.critic = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))

    def training_step(self, batch, batch_idx):
        real, _ = batch
        generating, judging = self.optimizers()
        fake = self.generator(torch.randn(len(real), 2))
        judging.zero_grad()
        wrong = F.softplus(-self.critic(real)).mean() + F.softplus(self.critic(fake.detach())).mean()
        self.manual_backward(wrong)
        judging.step()
        generating.zero_grad()
        self.manual_backward(F.softplus(-self.critic(fake)).mean())
        generating.step()
{STEP}
    def configure_optimizers(self):
        optimizers = [torch.optim.AdamW(net.parameters(), lr=1e-3) for net in (self.generator, self.critic)]
        return optimizers, [torch.optim.lr_scheduler.ExponentialLR(one, 0.5) for one in optimizers]


pl.Trainer(max_epochs=4).fit(Voice(), DataLoader(regression(), batch_size=16, shuffle=True))
""",
        {
            "STEP": (
                "",
                """
    def on_train_epoch_end(self):
        for scheduler in self.lr_schedulers():
            scheduler.step()
""",
            )
        },
        r"(schedul|ExponentialLR).*(never|not|manual)",
        r"lr_schedulers\(\)",
    ),
    # A hook writes into Lightning's count of epochs, which then says another thing than the count that ends the fit.
    Patient(
        "epoch-written-by-hand",
        "voicepaw/so-vits-svc-fork#350",
        """
class Net(pl.LightningModule):
    def __init__(self, reached):
        super().__init__()
        self.reached = reached
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def on_train_start(self):
        {WRITE}

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss)
        return loss
"""
        + ADAM
        + """
loader = DataLoader(classes(), batch_size=16, shuffle=True)
pl.Trainer(max_epochs={EPOCHS}).fit(Net(reached=8), loader)
""",
        {
            "WRITE": (
                "self.trainer.fit_loop.epoch_progress.current.completed = self.reached",
                'print(f"continues after epoch {self.reached}")',
            ),
            "EPOCHS": ("10", "10 - 8"),
        },
        r"epoch_progress|current_epoch|count of epochs",
        r"ckpt_path|processed|max_epochs",
    ),
    # The backbone is frozen, all but the statistics of its batch normalization.
    Patient(
        "frozen-but-for-statistics",
        "lightly-ai/lightly#1438",
        """
def pretrained():
    net = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU())
    torch.manual_seed(0)
    for _ in range(50):
        net(3 + torch.randn(64, 8))
    return net


class Probe(pl.LightningModule):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.head = nn.Linear(32, 3)
        for param in self.backbone.parameters():
            param.requires_grad = False
{MODE}
    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.head(self.backbone(x)), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.head.parameters(), lr=1e-2)


pl.Trainer(max_epochs=3).fit(Probe(pretrained()), DataLoader(classes(), batch_size=16, shuffle=True))
""",
        {
            "MODE": (
                "",
                """
    def on_train_epoch_start(self):
        self.backbone.eval()
""",
            )
        },
        r"([Bb]atch.?[Nn]orm|running|statistics).*(frozen|froze|requires_grad)|(frozen|froze|requires_grad).*([Bb]atch.?[Nn]orm|running|statistics)",
        r"eval",
    ),
    # The shadow weights are never updated, and are put into the module at the end of each epoch.
    Patient(
        "shadow-of-the-beginning",
        "MultimediaTechLab/YOLO#97",
        """
class Shadow(pl.Callback):
    def __init__(self, decay=0.9):
        self.decay = decay

    def on_fit_start(self, trainer, module):
        self.shadow = {name: value.detach().clone() for name, value in module.named_parameters()}

    def update(self, module):
        for name, value in module.named_parameters():
            self.shadow[name].lerp_(value.detach(), 1 - self.decay)
{UPDATE}
    def on_train_epoch_end(self, trainer, module):
        kept = {name: value.detach().clone() for name, value in module.named_parameters()}
        with torch.no_grad():
            for name, value in module.named_parameters():
                value.copy_(self.shadow[name])
        trainer.save_checkpoint("averaged.ckpt"){RESTORE}


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss)
        return loss
"""
        + ADAM
        + """
trainer = pl.Trainer(max_epochs=5, callbacks=[Shadow()])
trainer.fit(Net(), DataLoader(classes(), batch_size=16, shuffle=True))
""",
        {
            "UPDATE": (
                "",
                """
    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        self.update(module)
""",
            ),
            "RESTORE": (
                "",
                """
        with torch.no_grad():
            for name, value in module.named_parameters():
                value.copy_(kept[name])""",
            ),
        },
        r"(weight|param|Shadow|callback).*(back|reset|overwr|replac|initial|undo|start|never)",
        r"update|restor|back",
    ),
]
