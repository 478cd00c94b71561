"""Eight more of data and metrics, again written before the doctor was shown any of them."""

from __future__ import annotations

from tests.patients.patient import ADAM, Patient

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
        + ADAM
        + """
pl.Trainer(max_epochs=5).fit(Net(), DataLoader(Images(), batch_size=16, shuffle=True))
""",
        {"IMAGE": ("self.images[index]", "self.images[index].clone()")},
        r"in place|(dataset|sample).*(change|differ|other|grow)",
        r"clone|copy",
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
        + ADAM
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
        + ADAM
        + """
trainer = pl.Trainer(max_epochs=4)
trainer.fit(Net(), DataLoader(classes(), batch_size=16), DataLoader(classes(64), batch_size=16))
""",
        {"RESET": ("", "\n        self.valid_acc.reset()")},
        r"valid_acc.*(reset|epoch)",
        r"reset\(\)|self\.log\(.*valid_acc",
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
        + ADAM
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
        + ADAM
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
        + ADAM
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
        + ADAM
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
        + ADAM
        + """
trainer = pl.Trainer(max_epochs=3)
trainer.fit(Net(), DataLoader(Images(128), batch_size=16, shuffle=True), DataLoader(Images(64{VAL}), batch_size=16))
""",
        {"VAL": ("", ", augment=False")},
        r"validation.*(random|augment|each time|differ|another)",
        r"without|augment|deterministic|random",
    ),
]
