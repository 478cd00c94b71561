"""Twenty ill trainings, written before the doctor was shown any of them."""

from __future__ import annotations

from tests.patients.patient import Patient

PATIENTS = [
    Patient(
        "layers-in-a-list", "optuna/optuna#1443",
        """
class Net(pl.LightningModule):
    def __init__(self, width=16, depth=2):
        super().__init__()
        sizes = [4] + [width] * depth
        self.layers = {LIST}
        self.out = nn.Linear(width, 1)

    def forward(self, x):
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.out(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.mse_loss(self(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


pl.Trainer(max_epochs=3).fit(Net(), DataLoader(regression(), batch_size=16, shuffle=True))
""",
        {"LIST": ("[nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]",
                  "nn.ModuleList([nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])])")},
        r"(self\.layers|layers).*(list|not registered|no parameters)", r"ModuleList",
    ),
    Patient(
        "weights-as-tensors", "pytorch/examples#277",
        """
class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = {WEIGHT}
        self.bias = {BIAS}

    def forward(self, x):
        return x @ self.weight + self.bias


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = Own()

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.mse_loss(self.layer(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


pl.Trainer(max_epochs=3).fit(Net(), DataLoader(regression(), batch_size=16))
""",
        {"WEIGHT": ("torch.randn(4, 1, requires_grad=True)", "nn.Parameter(torch.randn(4, 1))"),
         "BIAS": ("torch.zeros(1, requires_grad=True)", "nn.Parameter(torch.zeros(1))")},
        r"no parameters", r"nn\.Parameter",
    ),
    Patient(
        "gradient-in-validation", "Lightning-AI/pytorch-lightning#19910",
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
        {"LOG": ("self.log('val_loss', F.mse_loss(self.force(x), -x))",
                 "with torch.enable_grad():\n            self.log('val_loss', F.mse_loss(self.force(x), -x))"),
         "MODE": ("", ", inference_mode=False")},
        r"gradients are switched off in validation", r"enable_grad",
    ),
    Patient(
        "onecycle-by-epoch", "Lightning-AI/pytorch-lightning#3869",
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
        r"OneCycleLR.*(steps|epoch)", r"""["']?interval["']?.*step""",
    ),
    Patient(
        "manual-scheduler", "Lightning-AI/pytorch-lightning#17738",
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
        r"(StepLR|scheduler).*(never|not) stepped|schedule.*nobody steps", r"lr_schedulers\(\).*step|\.step\(\)",
    ),
    Patient(
        "target-broadcast", "deepset-ai/FARM#229",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))
        self.loss = nn.MSELoss()

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = self.loss(self.net(x){SQUEEZE}, y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


data = regression()
data = TensorDataset(data.tensors[0], data.tensors[1].squeeze(1))
pl.Trainer(max_epochs=4).fit(Net(), DataLoader(data, batch_size=16, shuffle=True))
""",
        {"SQUEEZE": ("", ".squeeze(1)")},
        r"\(16, 1\).*\(16,?\)|\(16,?\).*\(16, 1\)", r"squeeze|same shape",
    ),
    Patient(
        "monitor-not-logged", "vislearn/FFF#3",
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
        r"val_loss.*(not|never|nobody|no step|no one) log|nothing logs val_loss", r"""self\.log\(["']val_loss""",
    ),
    Patient(
        "one-batch", "Lightning-AI/pytorch-lightning#11950",
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


trainer = pl.Trainer(max_epochs=5, limit_train_batches={LIMIT})
trainer.fit(Net(), DataLoader(classes(), batch_size=16, shuffle=True))
""",
        {"LIMIT": ("1", "1.0")},
        r"limit_train_batches=1\b.*(one|1) batch", r"1\.0",
    ),
    Patient(
        "clip-by-hand", "galilai-group/stable-pretraining#246",
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
        {"CLIP": ("", 'self.clip_gradients(opt, gradient_clip_val=1.0, gradient_clip_algorithm="norm")\n        '),
         "VAL": (", gradient_clip_val=1.0", "")},
        r"gradient_clip_val.*manual|manual.*clip", r"clip_gradients",
    ),
    Patient(
        "optimizer-index", "hyyan2k/LiSenNet#8",
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
        r"optimizer_idx", r"(Take|Remove).*optimizer_idx|optimizer_idx.*out",
    ),
    Patient(
        "generator-once", "pytorch/ignite#955",
        """
class Stream(IterableDataset):
    def __init__(self, data):
        {KEEP}

    def __iter__(self):
        return {ITER}


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


pl.Trainer(max_epochs=4).fit(Net(), DataLoader(Stream(classes()), batch_size=16))
""",
        {"KEEP": ("self.samples = (sample for sample in data)", "self.data = data"),
         "ITER": ("self.samples", "(sample for sample in self.data)")},
        r"(epoch|second).*(no batch|0 batches|empty|deliver)", r"(anew|new|fresh|again).*iter|__iter__",
    ),
    Patient(
        "gpus-argument", "facebookresearch/xformers#818",
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
        r"gpus", r"devices",
    ),
    Patient(
        "last-batch-of-one", "StudyingFuFu/L2COcc#2",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


pl.Trainer(max_epochs=2).fit(Net(), DataLoader(classes(97), batch_size=16, shuffle=True{DROP}))
""",
        {"DROP": ("", ", drop_last=True")},
        r"batch.*(one|1|single) sample", r"drop_last",
    ),
    Patient(
        "double-precision-data", "OUCMachineLearning/OUCML#24",
        """
import numpy as np

class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(2, 1)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.mse_loss(self.net(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.03)


features = torch.from_numpy(np.random.default_rng(0).normal(0, 1, (128, 2))){FLOAT}
labels = features @ torch.tensor([[2.0], [-3.4]], dtype=features.dtype) + 4.2
pl.Trainer(max_epochs=2).fit(Net(), DataLoader(TensorDataset(features, labels), batch_size=16))
""",
        {"FLOAT": ("", ".float()")},
        r"(float64|double).*(float32|float)", r"\.float\(\)|float32",
    ),
    Patient(
        "hidden-state-kept", "sgadgil6/cnslab_fmri#4",
        """
class Recurrent(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(1, 8, batch_first=True)
        self.linear = nn.Linear(8, 1)
        self.hidden = None

    def forward(self, x):
        out, hidden = self.lstm(x.unsqueeze(-1), self.hidden)
        self.hidden = {HIDDEN}
        return self.linear(out[:, -1])

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.mse_loss(self(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


pl.Trainer(max_epochs=2).fit(Recurrent(), DataLoader(regression(), batch_size=16))
""",
        {"HIDDEN": ("hidden", "tuple(part.detach() for part in hidden)")},
        r"(graph|kept|earlier|previous).*(step|batch)", r"detach",
    ),
    Patient(
        "plateau-unmonitored", "EmperorJia/EquiCSP#1",
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
        r"val_loss", r"monitor|self\.log",
    ),
    Patient(
        "no-super", "Lightning-AI/pytorch-lightning#1738",
        """
class Net(pl.LightningModule):
    def __init__(self, width=3):
        {SUPER}
        self.net = nn.Linear(8, width)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


model = Net()
pl.Trainer(max_epochs=2).fit(model, DataLoader(classes(), batch_size=16))
""",
        {"SUPER": ("self.width = width", "super().__init__()")},
        r"super\(\)\.__init__|before Module\.__init__", r"super\(\)\.__init__\(\)",
    ),
    Patient(
        "softmax-twice", "ariecattan/SciCo#2",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
        self.criterion = nn.CrossEntropyLoss()

    def forward(self, x):
        return {OUT}

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = self.criterion(self(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


pl.Trainer(max_epochs=5).fit(Net(), DataLoader(classes(), batch_size=16, shuffle=True))
""",
        {"OUT": ("torch.softmax(self.net(x), dim=-1)", "self.net(x)")},
        r"softmax", r"logits|(Take|Remove|Leave).*softmax",
    ),
    Patient(
        "loss-wrapped", "speechbrain/speechbrain#735",
        """
from torch.autograd import Variable

class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        {LOSS}
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


pl.Trainer(max_epochs=2).fit(Net(), DataLoader(classes(), batch_size=16))
""",
        {"LOSS": ("predicted = self.net(x).argmax(1).float()\n"
                  "        loss = Variable(F.mse_loss(predicted, y.float()), requires_grad=True)",
                  "loss = F.cross_entropy(self.net(x), y)")},
        r"(no graph|graph|made anew|leaf|gradient).*", r"argmax|requires_grad=True",
    ),
    Patient(
        "datamodule-without-super", "Lightning-AI/pytorch-lightning#11225",
        """
class Data(pl.LightningDataModule):
    def __init__(self, size=16):
        {SUPER}self.size = size

    def train_dataloader(self):
        return DataLoader(classes(), batch_size=self.size)


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


pl.Trainer(max_epochs=2).fit(Net(), datamodule=Data())
""",
        {"SUPER": ("", "super().__init__()\n        ")},
        r"Data.*super\(\)\.__init__|super\(\)\.__init__.*Data", r"super\(\)\.__init__\(\)",
    ),
]  # fmt: skip
