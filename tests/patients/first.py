"""Twelve ill trainings of modules, data and losses, written before the doctor was shown any of them."""

from __future__ import annotations

from tests.patients.patient import Patient

PATIENTS = [
    Patient(
        "layers-in-a-list",
        "optuna/optuna#1443",
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
        {
            "LIST": (
                "[nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])]",
                "nn.ModuleList([nn.Linear(a, b) for a, b in zip(sizes, sizes[1:])])",
            )
        },
        r"(self\.layers|layers).*(list|not registered|no parameters)",
        r"ModuleList",
    ),
    Patient(
        "weights-as-tensors",
        "pytorch/examples#277",
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
        {
            "WEIGHT": ("torch.randn(4, 1, requires_grad=True)", "nn.Parameter(torch.randn(4, 1))"),
            "BIAS": ("torch.zeros(1, requires_grad=True)", "nn.Parameter(torch.zeros(1))"),
        },
        r"no parameters",
        r"nn\.Parameter",
    ),
    Patient(
        "target-broadcast",
        "deepset-ai/FARM#229",
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
        r"\(16, 1\).*\(16,?\)|\(16,?\).*\(16, 1\)",
        r"squeeze|same shape",
    ),
    Patient(
        "one-batch",
        "Lightning-AI/pytorch-lightning#11950",
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
        r"limit_train_batches=1\b.*(one|1) batch",
        r"1\.0",
    ),
    Patient(
        "generator-once",
        "pytorch/ignite#955",
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
        {
            "KEEP": ("self.samples = (sample for sample in data)", "self.data = data"),
            "ITER": ("self.samples", "(sample for sample in self.data)"),
        },
        r"(epoch|second).*(no batch|0 batches|empty|deliver)",
        r"(anew|new|fresh|again).*iter|__iter__",
    ),
    Patient(
        "last-batch-of-one",
        "StudyingFuFu/L2COcc#2",
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
        r"batch.*(one|1|single) sample",
        r"drop_last",
    ),
    Patient(
        "double-precision-data",
        "OUCMachineLearning/OUCML#24",
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
        r"(float64|double).*(float32|float)",
        r"\.float\(\)|float32",
    ),
    Patient(
        "hidden-state-kept",
        "sgadgil6/cnslab_fmri#4",
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
        r"(graph|kept|earlier|previous).*(step|batch)",
        r"detach",
    ),
    Patient(
        "no-super",
        "Lightning-AI/pytorch-lightning#1738",
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
        r"super\(\)\.__init__|before Module\.__init__",
        r"super\(\)\.__init__\(\)",
    ),
    Patient(
        "softmax-twice",
        "ariecattan/SciCo#2",
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
        r"softmax",
        r"logits|(Take|Remove|Leave).*softmax",
    ),
    Patient(
        "loss-wrapped",
        "speechbrain/speechbrain#735",
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
        {
            "LOSS": (
                "predicted = self.net(x).argmax(1).float()\n"
                "        loss = Variable(F.mse_loss(predicted, y.float()), requires_grad=True)",
                "loss = F.cross_entropy(self.net(x), y)",
            )
        },
        r"(no graph|graph|made anew|leaf|gradient).*",
        r"argmax|requires_grad=True",
    ),
    Patient(
        "datamodule-without-super",
        "Lightning-AI/pytorch-lightning#11225",
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
        r"Data.*super\(\)\.__init__|super\(\)\.__init__.*Data",
        r"super\(\)\.__init__\(\)",
    ),
]
