"""Ten more of steps and losses, again written before the doctor was shown any of them."""

from __future__ import annotations

from tests.patients.patient import ADAM, Patient

_BINARY = """
def binary(n=128):
    x = torch.randn(n, 8, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, (x[:, :3].sum(1) > 0).long())

"""

PATIENTS = [
    Patient(
        "class-weights-for-samples",
        "deep-voice/soundbay#49",
        """
from torch.utils.data import WeightedRandomSampler


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))
"""
        + ADAM
        + """
data = classes()
labels = data.tensors[1]
weights = 1.0 / torch.bincount(labels).float()
sampler = WeightedRandomSampler({WEIGHTS}, len(data))
trainer = pl.Trainer(max_epochs=4)
trainer.fit(Net(), DataLoader(data, batch_size=16, sampler=sampler), DataLoader(classes(64), batch_size=16))
""",
        {"WEIGHTS": ("weights", "weights[labels]")},
        r"(3|three)\b.*\b128|\b128\b.*\b(3|three)\b",
        r"[Ww]eight.*(each|every|per) sample|weights\[",
    ),
    Patient(
        "softmax-over-the-batch",
        "fxia22/pointnet.pytorch#27",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(8, 32), nn.Linear(32, 3)

    def forward(self, x):
        x = F.relu(self.fc1(x))
        return F.log_softmax(self.fc2(x), dim={DIM})

    def training_step(self, batch, batch_idx):
        points, target = batch
        loss = F.nll_loss(self(points), target)
        self.log("train_loss", loss)
        return loss
"""
        + ADAM
        + """
pl.Trainer(max_epochs=4).fit(Net(), DataLoader(classes(), batch_size=16, shuffle=True))
""",
        {"DIM": ("0", "-1")},
        r"softmax.*(dim=0|over the (batch|samples))|(dim=0|over the (batch|samples)).*softmax",
        r"dim=(1|-1)",
    ),
    Patient(
        "sequence-where-the-batch-is",
        "AndersonJo/dqn-pytorch#1",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(4, 16{FIRST})
        self.head = nn.Linear(16, 1)

    def forward(self, x):
        out, _ = self.lstm(x)
        return self.head(out[:, -1])

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.mse_loss(self(x), y)
        self.log("train_loss", loss)
        return loss
"""
        + ADAM
        + """
walks = torch.randn(128, 6, 4, generator=torch.Generator().manual_seed(0))
data = TensorDataset(walks, walks.sum((1, 2)).unsqueeze(1) / 5)
pl.Trainer(max_epochs=4).fit(Net(), DataLoader(data, batch_size=16, shuffle=True))
""",
        {"FIRST": ("", ", batch_first=True")},
        r"(lstm|LSTM).*(batch|sample)|(batch|sample).*(lstm|LSTM)",
        r"batch_first=True",
    ),
    Patient(
        "dictionary-unpacked",
        "aswahd/SamRadiology#3",
        """
class Scans(Dataset):
    def __len__(self):
        return 64

    def __getitem__(self, index):
        scan = torch.randn(8, generator=torch.Generator().manual_seed(index))
        return {"scan": scan, "mask": (scan > 0).float(), "box": torch.tensor([0, 8]), "filename": f"{index}.png"}


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 8)

    def training_step(self, batch, batch_idx):
        {UNPACK}
        return F.binary_cross_entropy_with_logits(self.net(scan), mask)
"""
        + ADAM
        + """
pl.Trainer(max_epochs=2).fit(Net(), DataLoader(Scans(), batch_size=16))
""",
        {"UNPACK": ("scan, mask, box = batch", 'scan, mask = batch["scan"], batch["mask"]')},
        r"dict.*(scan|mask)",
        r"""batch\[["'](scan|mask)["']\]""",
    ),
    Patient(
        "coefficient-as-loss",
        "akirasosa/mobile-semantic-segmentation#24",
        """
def dice(scores, target, smooth=1.0):
    inter = (scores * target).sum()
    return (2 * inter + smooth) / (scores.sum() + target.sum() + smooth)


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(1, 1, 3, padding=1)

    def training_step(self, batch, batch_idx):
        image, mask = batch
        loss = {LOSS}
        self.log("train_loss", loss)
        return loss
"""
        + ADAM
        + """
images = torch.randn(128, 1, 8, 8, generator=torch.Generator().manual_seed(0))
data = TensorDataset(images, (images > 0).float())
pl.Trainer(max_epochs=4).fit(Net(), DataLoader(data, batch_size=16, shuffle=True))
""",
        {
            "LOSS": (
                "dice(torch.sigmoid(self.net(image)), mask)",
                "1 - dice(torch.sigmoid(self.net(image)), mask)",
            )
        },
        r"(opposite|away from|worse|sign|agree|coefficient|rewards|correlat)",
        r"1 ?- |1\.0 ?- |minus|[Nn]egat|sign",
    ),
    Patient(
        "softmax-of-one-class",
        "ultralytics/yolov3#191",
        _BINARY
        + """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
        self.criterion = nn.{LOSS}()

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = self.criterion(self.net(x), y.float().unsqueeze(1))
        self.log("train_loss", loss)
        return loss
"""
        + ADAM
        + """
pl.Trainer(max_epochs=3).fit(Net(), DataLoader(binary(), batch_size=16, shuffle=True))
""",
        {"LOSS": ("CrossEntropyLoss", "BCEWithLogitsLoss")},
        r"\b(one|single|1) (class|score|column|output|logit)|\(16, 1\)",
        r"BCEWithLogitsLoss|binary_cross_entropy_with_logits",
    ),
    Patient(
        "dropout-by-function",
        "pytorch/pytorch#26338",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(8, 32), nn.Linear(32, 3)

    def forward(self, x):
        hidden = F.dropout(F.relu(self.first(x)), 0.5{MODE})
        return self.second(hidden)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self(x), y))
"""
        + ADAM
        + """
trainer = pl.Trainer(max_epochs=3)
trainer.fit(Net(), DataLoader(classes(), batch_size=16), DataLoader(classes(64), batch_size=16))
""",
        {"MODE": ("", ", training=self.training")},
        r"[Dd]ropout",
        r"training=self\.training|nn\.Dropout",
    ),
    Patient(
        "likelihood-of-probabilities",
        "midas-research/man-sf-emnlp#2",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        output = F.{SOFTMAX}(self.net(x), dim=1)
        loss = F.nll_loss(output, y)
        self.log("train_loss", loss)
        return loss
"""
        + ADAM
        + """
pl.Trainer(max_epochs=4).fit(Net(), DataLoader(classes(), batch_size=16, shuffle=True))
""",
        {"SOFTMAX": ("softmax", "log_softmax")},
        r"nll_loss.*(softmax|probabilit)|(softmax|probabilit).*nll_loss",
        r"log_softmax|cross_entropy",
    ),
    Patient(
        "hidden-state-reshaped",
        "PaccMann/paccmann_chemistry#5",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.gru = nn.GRU(4, 8, batch_first=True, bidirectional=True)
        self.head = nn.Linear(16, 1)

    def forward(self, x):
        _, hidden = self.gru(x)
        hidden = {HIDDEN}
        return self.head(hidden)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.mse_loss(self(x), y)
        self.log("train_loss", loss)
        return loss
"""
        + ADAM
        + """
walks = torch.randn(128, 6, 4, generator=torch.Generator().manual_seed(0))
data = TensorDataset(walks, walks.sum((1, 2)).unsqueeze(1) / 5)
pl.Trainer(max_epochs=4).fit(Net(), DataLoader(data, batch_size=16, shuffle=True))
""",
        {"HIDDEN": ("hidden.view(len(x), -1)", "hidden.permute(1, 0, 2).reshape(len(x), -1)")},
        r"sample.*(mix|leak).*(view|reshape)|(view|reshape).*sample.*(mix|leak)",
        r"permute|transpose",
    ),
    Patient(
        "weights-of-classes-in-double",
        "sebsk/CS224N-Project#2",
        """
import numpy as np


class Net(pl.LightningModule):
    def __init__(self, counts):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
        self.criterion = nn.CrossEntropyLoss(weight=torch.from_numpy(counts.sum() / counts){FLOAT})

    def training_step(self, batch, batch_idx):
        x, y = batch
        return self.criterion(self.net(x), y)
"""
        + ADAM
        + """
data = classes()
counts = np.bincount(data.tensors[1].numpy())
pl.Trainer(max_epochs=3).fit(Net(counts), DataLoader(data, batch_size=16, shuffle=True))
""",
        {"FLOAT": ("", ".float()")},
        r"weight.*(double|float64|Double)|(double|float64|Double).*weight.*(class|loss)",
        r"weight.*float",
    ),
]
