"""Eighteen more of steps, data, labels and metrics, again written before the doctor was shown any of them."""

from __future__ import annotations

from tests.patients.patient import Patient

_ADAM = """
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)

"""

_BINARY = """
def binary(n=128):
    x = torch.randn(n, 8, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, (x[:, :3].sum(1) > 0).long())

"""

PATIENTS = [
    Patient(
        "normalised-in-place",
        "facebookresearch/pycls#21",
        """
class Images(Dataset):
    def __init__(self, n=64):
        self.images = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(0))
        self.labels = self.images.flatten(1)[:, :3].argmax(1)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = {IMAGE}
        image -= 0.5
        image /= 0.25
        return image, self.labels[index]


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self.net(x), y)
        self.log("train_loss", loss)
        return loss
"""
        + _ADAM
        + """
pl.Trainer(max_epochs=5).fit(Net(), DataLoader(Images(), batch_size=16, shuffle=True))
""",
        {"IMAGE": ("self.images[index]", "self.images[index].clone()")},
        r"in place|(dataset|sample).*(change|differ|other|grow)",
        r"clone|copy",
    ),
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
        + _ADAM
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
        + _ADAM
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
        + _ADAM
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
        + _ADAM
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
        + _ADAM
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
        "curve-of-decisions",
        "pyg-team/pytorch_geometric#2248",
        _BINARY
        + """
from torchmetrics.classification import BinaryAUROC


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 2)
        self.auroc = BinaryAUROC()

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        scores = self.net(x)
        self.auroc.update({SCORES}, y)
        self.log("val_auroc", self.auroc)
"""
        + _ADAM
        + """
trainer = pl.Trainer(max_epochs=3)
trainer.fit(Net(), DataLoader(binary(), batch_size=16), DataLoader(binary(64), batch_size=16))
""",
        {"SCORES": ("scores.argmax(1).float()", "scores.softmax(1)[:, 1]")},
        r"(auroc|AUROC).*(0 and 1|0 or 1|decision|argmax|two values|2 (different|distinct) values|classes)",
        r"probabilit|scores|logits|softmax",
    ),
    Patient(
        "metric-never-reset",
        "Lightning-AI/torchmetrics#269",
        """
import torchmetrics


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
        self.valid_acc = torchmetrics.Accuracy(task="multiclass", num_classes=3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.valid_acc.update(self.net(x).argmax(1), y)

    def on_validation_epoch_end(self):
        self.log("val_acc", self.valid_acc.compute()){RESET}
"""
        + _ADAM
        + """
trainer = pl.Trainer(max_epochs=4)
trainer.fit(Net(), DataLoader(classes(), batch_size=16), DataLoader(classes(64), batch_size=16))
""",
        {"RESET": ("", "\n        self.valid_acc.reset()")},
        r"valid_acc.*(reset|epoch)",
        r"reset\(\)|self\.log\(.*valid_acc",
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
        + _ADAM
        + """
pl.Trainer(max_epochs=3).fit(Net(), DataLoader(binary(), batch_size=16, shuffle=True))
""",
        {"LOSS": ("CrossEntropyLoss", "BCEWithLogitsLoss")},
        r"\b(one|single|1) (class|score|column|output|logit)|\(16, 1\)",
        r"BCEWithLogitsLoss|binary_cross_entropy_with_logits",
    ),
    Patient(
        "grey-values-as-classes",
        "milesial/Pytorch-UNet#291",
        """
class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Conv2d(1, 2, 3, padding=1)

    def training_step(self, batch, batch_idx):
        image, mask = batch
        return F.cross_entropy(self.net(image), mask.long())
"""
        + _ADAM
        + """
images = torch.randn(64, 1, 8, 8, generator=torch.Generator().manual_seed(0))
masks = (images[:, 0] > 0).to(torch.uint8) * {WHITE}
pl.Trainer(max_epochs=2).fit(Net(), DataLoader(TensorDataset(images, masks), batch_size=16))
""",
        {"WHITE": ("255", "1")},
        r"255.*\b(2|two)\b|\b(2|two)\b.*255",
        r"255|0 (to|\.\.) ?1|ind(ex|ices)|map|> ?0",
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
        + _ADAM
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
        + _ADAM
        + """
pl.Trainer(max_epochs=4).fit(Net(), DataLoader(classes(), batch_size=16, shuffle=True))
""",
        {"SOFTMAX": ("softmax", "log_softmax")},
        r"nll_loss.*(softmax|probabilit)|(softmax|probabilit).*nll_loss",
        r"log_softmax|cross_entropy",
    ),
    Patient(
        "metric-of-two-stages",
        "Lightning-AI/torchmetrics#1450",
        """
import torchmetrics


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 3))
        self.accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=3)
        self.val_accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=3)

    def training_step(self, batch, batch_idx):
        x, y = batch
        scores = self.net(x)
        self.accuracy.update(scores, y)
        return F.cross_entropy(scores, y)

    def on_train_epoch_end(self):
        self.log("train_acc", self.accuracy.compute())
        self.accuracy.reset()

    def validation_step(self, batch, batch_idx):
        x, y = batch
        {METRIC}.update(self.net(x), y)

    def on_validation_epoch_end(self):
        self.log("val_acc", {METRIC}.compute())
        {METRIC}.reset()
"""
        + _ADAM
        + """
trainer = pl.Trainer(max_epochs=3)
trainer.fit(Net(), DataLoader(classes(), batch_size=16), DataLoader(classes(64), batch_size=16))
""",
        {"METRIC": ("self.accuracy", "self.val_accuracy")},
        r"accuracy.*(both|two stages|training and validation|train.*valid)",
        r"(own|each|second|another|separate|one.* stage)",
    ),
    Patient(
        "sorted-and-unshuffled",
        "ultralytics/yolov5#2582",
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

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))
"""
        + _ADAM
        + """
x, y = classes(192).tensors
order = y.argsort(stable=True)
data = TensorDataset(x[order], y[order])
loader = DataLoader(data, batch_size=16{SHUFFLE})
pl.Trainer(max_epochs=4).fit(Net(), loader, DataLoader(classes(64), batch_size=16))
""",
        {"SHUFFLE": ("", ", shuffle=True")},
        r"(one|single|same|1) (class|label)|sorted|label.*(order|batch)",
        r"shuffle=True",
    ),
    Patient(
        "score-averaged-over-batches",
        "Lightning-AI/torchmetrics#845",
        _BINARY
        + """
from torchmetrics.classification import BinaryF1Score


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Linear(8, 1)
        self.f1 = BinaryF1Score()

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.binary_cross_entropy_with_logits(self.net(x).squeeze(1), y.float())

    def validation_step(self, batch, batch_idx):
        x, y = batch
        probs = self.net(x).squeeze(1).sigmoid()
        {LOG}
"""
        + _ADAM
        + """
trainer = pl.Trainer(max_epochs=3)
trainer.fit(Net(), DataLoader(binary(), batch_size=16), DataLoader(binary(68), batch_size=16))
""",
        {
            "LOG": (
                'self.log_dict({"val_f1": self.f1(probs.detach(), y)}, on_step=False, on_epoch=True)',
                'self.f1.update(probs, y)\n        self.log("val_f1", self.f1)',
            )
        },
        r"f1.*(mean|averag).*batch",
        r"object|self\.f1\)|self\.f1,|compute\(\)",
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
        + _ADAM
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
        "augmented-validation",
        "zoogzog/chexnet#27",
        """
class Images(Dataset):
    def __init__(self, n, augment=True):
        self.images = torch.rand(n, 1, 4, 4, generator=torch.Generator().manual_seed(n))
        self.augment = augment

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = self.images[index]
        label = image.flatten()[:3].argmax()
        if self.augment:
            image = image + 0.3 * torch.randn(image.shape)
        return image, label


class Net(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3))

    def training_step(self, batch, batch_idx):
        x, y = batch
        return F.cross_entropy(self.net(x), y)

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", F.cross_entropy(self.net(x), y))
"""
        + _ADAM
        + """
trainer = pl.Trainer(max_epochs=3)
trainer.fit(Net(), DataLoader(Images(128), batch_size=16, shuffle=True), DataLoader(Images(64{VAL}), batch_size=16))
""",
        {"VAL": ("", ", augment=False")},
        r"validation.*(random|augment|each time|differ|another)",
        r"without|augment|deterministic|random",
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
        + _ADAM
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
