"""Twenty more, of trainings with Lightning in public threads, written before the doctor was shown any of them.

The threads were chosen for a cause that they state and for the spread of the causes; `cause` and `remedy` are what a
right diagnosis has to name, and were written down with the scripts. Of the twenty it named six: the length of a
sampler, schedulers that nobody steps, frozen statistics, a validation loss that is not logged, a hook's name and a
batch's parts. On one more it repeated Lightning's own message without a remedy, and on one it saw the symptom alone.
"""

from __future__ import annotations

from tests.patients.patient import Patient

_ADAM = """
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)

"""

PATIENTS = [
    # The training set is the whole data set, validation samples and all.
    Patient(
        "trained-on-the-held-out",
        "ratschlab/aestetik#8",
        """
from torch.utils.data import random_split


class Spots(pl.LightningDataModule):
    def __init__(self, validation_split=0.25):
        super().__init__()
        self.validation_split = validation_split
        self.dataset = classes(256)

    def setup(self, stage=None):
        held_out = int(len(self.dataset) * self.validation_split)
        sizes = [len(self.dataset) - held_out, held_out]
        self.train_dataset, self.val_dataset = random_split(self.dataset, sizes)

    def train_dataloader(self):
        return DataLoader(self.{TRAIN}, batch_size=16, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val_dataset, batch_size=16)


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))
"""
        + _ADAM
        + """
pl.seed_everything(0)
pl.Trainer(max_epochs=4).fit(Net(), datamodule=Spots())
""",
        {"TRAIN": ("dataset", "train_dataset")},
        r"validation.*(sample|data).*train|train.*(sample|data).*validation",
        r"[Ss]plit|[Ss]ubset|other samples|leave|apart",
    ),
    # The window is normalized and what follows it, the target, is not.
    Patient(
        "target-in-its-own-units",
        "sktime/pytorch-forecasting#2360",
        """
class Windows(Dataset):
    def __init__(self, n=192, past=12):
        times = torch.arange(n + past + 1)
        noise = torch.randn(len(times), generator=torch.Generator().manual_seed(0))
        self.series = 100 + 10 * torch.sin(times / 3) + noise
        self.past = past

    def __len__(self):
        return len(self.series) - self.past

    def __getitem__(self, index):
        window = self.series[index : index + self.past]
        center, scale = window.mean(), window.std()
        target = self.series[index + self.past : index + self.past + 1]
        return (window - center) / scale, {TARGET}


class Forecaster(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 1))

    def training_step(self, batch, batch_idx):
        window, target = batch
        loss = F.mse_loss(self.net(window), target)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


pl.seed_everything(0)
pl.Trainer(max_epochs=5).fit(Forecaster(), DataLoader(Windows(), batch_size=16, shuffle=True))
""",
        {"TARGET": ("target", "(target - center) / scale")},
        r"target.*(scale|normali|standard|range|mean|magnitude|times)",
        r"[Nn]ormali|[Ss]tandardi|[Ss]cale",
    ),
    # The batch sampler says how many samples there are where the number of batches is asked for.
    Patient(
        "sampler-counts-samples",
        "Lightning-AI/pytorch-lightning#3789",
        """
import math

from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import Sampler


class ByLength(Sampler):
    def __init__(self, lengths, batch_size):
        self.lengths, self.batch_size = lengths, batch_size

    def __iter__(self):
        batches = self.lengths.argsort().split(self.batch_size)
        for number in torch.randperm(len(batches)).tolist():
            yield batches[number].tolist()

    def __len__(self):
        return {LENGTH}


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))
"""
        + _ADAM
        + """
data = classes()
lengths = torch.randint(3, 40, (len(data),), generator=torch.Generator().manual_seed(1))
loader = DataLoader(data, batch_sampler=ByLength(lengths, 16))
trainer = pl.Trainer(max_epochs=4, callbacks=[ModelCheckpoint(monitor="val_loss")])
trainer.fit(Net(), loader, DataLoader(classes(64), batch_size=16))
""",
        {"LENGTH": ("len(self.lengths)", "math.ceil(len(self.lengths) / self.batch_size)")},
        r"(len|length|long|fewer|128).*(batches|sampler)|(batches|sampler).*(len|length|long|fewer|128)",
        r"__len__|number of batches",
    ),
    # The order of a set of strings is another one in each process, so a later process reads other embeddings.
    Patient(
        "vocabulary-of-a-set",
        "Lightning-AI/pytorch-lightning#4045",
        """
import os
import random

spoken = random.Random(0)
nouns, verbs = ("cat dog fish bird horse cow".split(), "runs sleeps eats jumps swims sings".split())
sentences = [(spoken.choice(nouns), spoken.choice(verbs), spoken.choice(nouns)) for _ in range(256)]
tokens = [token for sentence in sentences for token in sentence]
vocabulary = {VOCABULARY}
index = {token: number for number, token in enumerate(vocabulary)}
ids = torch.tensor([[index[token] for token in sentence] for sentence in sentences])
labels = torch.tensor([nouns.index(sentence[0]) // 2 for sentence in sentences])


class Reader(pl.LightningModule):
    def __init__(self, words):
        super().__init__()
        self.embedding = nn.Embedding(words, 8)
        self.head = nn.Linear(24, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.head(self.embedding(x).flatten(1)), y)
        self.log("train_loss", loss)
        return loss
"""
        + _ADAM
        + """
path = "reader.ckpt"
trainer = pl.Trainer(max_epochs=4)
loader = DataLoader(TensorDataset(ids, labels), batch_size=16, shuffle=True)
trainer.fit(Reader(len(vocabulary)), loader, ckpt_path=path if os.path.exists(path) else None)
trainer.save_checkpoint(path)
""",
        {"VOCABULARY": ("list(set(tokens))", "sorted(set(tokens))")},
        r"\bset\b.*(order|hash|process)|(order|hash|process).*\bset\b",
        r"sorted",
    ),
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
        + _ADAM
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
        + _ADAM
        + """
pl.seed_everything(0)
pl.Trainer(max_epochs=5).fit(Assembly(), DataLoader(regression(), batch_size=16, shuffle=True))
""",
        {"BENDS": ("torch.Tensor([bend.item() for bend in bends])", "bends")},
        r"(term|part|addend|added|straightness).*(graph|grad|constant|number)|(graph|grad|constant|\.item).*(term|part|addend|added)",
        r"tensor|graph|item",
    ),
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
        + _ADAM
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
        + _ADAM
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
        + _ADAM
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
    # Validation switches to its data and nothing switches back: from the second epoch on that is trained on.
    Patient(
        "data-left-switched",
        "bennyguo/instant-nsr-pl#31",
        """
class Rays(pl.LightningModule):
    def __init__(self, train_set, val_set):
        super().__init__()
        self.train_set, self.val_set = train_set, val_set
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def {HOOK}(self, *args):
        self.dataset = self.train_set

    def on_validation_start(self):
        self.dataset = self.val_set

    def loss(self, index):
        x, y = self.dataset.tensors
        chosen = torch.randint(len(x), (32,)) if self.training else index
        return F.cross_entropy(self.net(x[chosen]), y[chosen])

    def training_step(self, index, batch_idx):
        loss = self.loss(index)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, index, batch_idx):
        self.log("val_loss", self.loss(index))
"""
        + _ADAM
        + """
x, y = classes(320).tensors
train_set, val_set = TensorDataset(x[:256], y[:256]), TensorDataset(x[256:], y[256:])
trainer = pl.Trainer(max_epochs=5)
trainer.fit(Rays(train_set, val_set), DataLoader(torch.arange(16)), DataLoader(torch.arange(64), batch_size=32))
""",
        {"HOOK": ("on_train_start", "on_train_batch_start")},
        r"validation.*(data|sample|switch|assign|self\.dataset)|(self\.dataset).*validation",
        r"on_train_(batch|epoch)_start|on_validation_(epoch_)?end",
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
        + _ADAM
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
    # The tokenizer gives one thing more than the step takes.
    Patient(
        "one-field-too-many",
        "zjunlp/KnowPrompt#13",
        """
class Relations(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        ids = torch.randint(0, 20, (12,), generator=torch.Generator().manual_seed(index))
        return ids, torch.ones_like(ids), torch.zeros_like(ids), ids[:3].argmax(), torch.tensor([1, 5])


class Prompted(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(20, 8)
        self.head = nn.Linear(96, 3)

    def training_step(self, batch, batch_idx):
        {UNPACK} = batch
        hidden = self.embedding(input_ids) * attention_mask.unsqueeze(-1)
        return F.cross_entropy(self.head(hidden.flatten(1)), labels)
"""
        + _ADAM
        + """
pl.Trainer(max_epochs=2).fit(Prompted(), DataLoader(Relations(), batch_size=16))
""",
        {
            "UNPACK": (
                "input_ids, attention_mask, labels, _",
                "input_ids, attention_mask, token_type_ids, labels, _",
            )
        },
        r"\b5\b.*\b4\b|\b4\b.*\b5\b|five.*four|four.*five",
        r"[Uu]npack|names|five|\b5\b",
    ),
    # That the pretrained weights can't be loaded is printed, and the training begins at random ones.
    Patient(
        "random-after-a-failure",
        "torchgeo/terratorch#320",
        """
def backbone():
    return nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16))


def pretrained(path):
    net = backbone()
    try:
        net.load_state_dict(torch.load(path)["{KEY}"])
    except Exception as error:
        print(f"Failed to load pretrained weights ({error}), using random initialization")
    return net


class Segmenter(pl.LightningModule):
    def __init__(self, path):
        super().__init__()
        self.backbone = pretrained(path)
        self.head = nn.Linear(16, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.head(self.backbone(x)), y)
"""
        + _ADAM
        + """
torch.save({"state_dict": backbone().state_dict()}, "prithvi.pt")
pl.Trainer(max_epochs=3).fit(Segmenter("prithvi.pt"), DataLoader(classes(), batch_size=16, shuffle=True))
""",
        {"KEY": ("model", "state_dict")},
        r"KeyError|except|swallow|pretrained",
        r"state_dict|raise|key|except",
    ),
]
