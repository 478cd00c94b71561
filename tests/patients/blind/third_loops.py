"""Eight loops of the third blind round: everyday mistakes, not from threads, and written before the doctor saw them."""

from __future__ import annotations

from tests.patients.blind.case import Case

CASES = [
    Case(
        "accuracy-by-nominal-batch-size",
        "",
        "The accuracy divides the right answers by the number of batches times the nominal batch size, although the "
        "last batch is smaller: it is too small.",
        """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
BATCH_SIZE = 64
x = torch.randn(660, 12)
y = x[:, :3].argmax(1)
train_loader = DataLoader(TensorDataset(x[:576], y[:576]), batch_size=BATCH_SIZE, shuffle=True)
val_loader = DataLoader(TensorDataset(x[576:], y[576:]), batch_size=BATCH_SIZE)
model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 3))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
criterion = nn.CrossEntropyLoss()


def evaluate():
    model.eval()
    hits = 0
    with torch.no_grad():
        for inputs, targets in val_loader:
            hits += (model(inputs).argmax(1) == targets).sum().item()
    return hits / {COUNT}


for epoch in range(8):
    model.train()
    for inputs, targets in train_loader:
        optimizer.zero_grad()
        criterion(model(inputs), targets).backward()
        optimizer.step()
    accuracy = evaluate()
    print(f"epoch {epoch} accuracy {accuracy:.3f}")
with torch.no_grad():
    score = abs(accuracy - (model(x[576:]).argmax(1) == y[576:]).float().mean().item())
""",
        {"COUNT": ("(len(val_loader) * BATCH_SIZE)", "len(val_loader.dataset)")},
        r"(accuracy|hits).*128",
        r"\b84\b|len\(.*dataset|number of (its )?samples",
    ),
    Case(
        "average-too-slow",
        "",
        "The averaged weights, which alone are evaluated, have a decay of 0.9999 and only 160 steps: they are still "
        "nearly the initial ones.",
        """
import copy

import torch
from torch import nn
from torch.nn import functional as F


class EMA:
    def __init__(self, model, decay):
        self.shadow = copy.deepcopy(model).requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, model):
        for mine, other in zip(self.shadow.parameters(), model.parameters()):
            mine.mul_(self.decay).add_(other, alpha=1 - self.decay)


torch.manual_seed(0)
x = torch.randn(480, 10)
y = (x[:, 0] * x[:, 1] > 0).long()
model = nn.Sequential(nn.Linear(10, 64), nn.ReLU(), nn.Linear(64, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
ema = EMA(model, decay={DECAY})
for epoch in range(16):
    for rows in torch.randperm(400).split(40):
        loss = F.cross_entropy(model(x[rows]), y[rows])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update(model)
    ema.shadow.eval()
    with torch.no_grad():
        val_loss = F.cross_entropy(ema.shadow(x[400:]), y[400:])
    print(epoch, loss.item(), val_loss.item())
with torch.no_grad():
    score = F.cross_entropy(ema.shadow(x[:400]), y[:400]).item()
""",
        {"DECAY": ("0.9999", "0.9")},
        r"(evaluat|averag|shadow|copy).*(other weights|hardly|initial|barely|slow|\d ?% of)",
        r"decay|average|faster|warm",
    ),
    Case(
        "normalized-in-place",
        "",
        "The dataset normalizes its rows in place, so that each epoch normalizes what the last one has normalized: "
        "the inputs change from epoch to epoch.",
        """
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Sensors(Dataset):
    def __init__(self, readings, targets):
        self.readings, self.targets = readings, targets
        self.mean, self.std = readings.mean(0), readings.std(0)

    def __len__(self):
        return len(self.readings)

    def __getitem__(self, index):
        row = self.readings[index]{COPY}
        row -= self.mean
        row /= self.std
        return row, self.targets[index]


torch.manual_seed(0)
readings = 5 + 2 * torch.randn(400, 8)
targets = (readings[:, :2] - 5).sum(1, keepdim=True)
data = Sensors(readings, targets)
loader = DataLoader(data, batch_size=25, shuffle=True)
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(6):
    total = 0.0
    for row, target in loader:
        loss = nn.functional.mse_loss(model(row), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    print(epoch, total / len(loader))
fresh = 5 + 2 * torch.randn(200, 8)
truth = (fresh[:, :2] - 5).sum(1, keepdim=True)
with torch.no_grad():
    score = nn.functional.mse_loss(model((fresh - data.mean) / data.std), truth).item()
""",
        {"COPY": ("", ".clone()")},
        r"(sample|input|dataset|data|row).*(chang|in place|other values|different).*",
        r"clone|copy|in place",
    ),
    Case(
        "hidden-state-from-the-last-batch",
        "",
        "The model keeps its hidden state from batch to batch, although the sequences of a shuffled loader do not "
        "continue each other: each output depends on other samples.",
        """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


class Tagger(nn.Module):
    def __init__(self):
        super().__init__()
        self.rnn = nn.RNN(4, 24, batch_first=True)
        self.head = nn.Linear(24, 2)
        self.hidden = None

    def forward(self, x):
        out, hidden = self.rnn(x, {START})
        self.hidden = hidden.detach()
        return self.head(out[:, 0])


torch.manual_seed(0)
x = 0.3 * torch.randn(640, 3, 4)
y = (x[:, 0, 0] > 0).long()
loader = DataLoader(TensorDataset(x[:512], y[:512]), batch_size=128, shuffle=True)
model = Tagger()
with torch.no_grad():
    model.rnn.weight_hh_l0.mul_(6)
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(30):
    model.train()
    for inputs, targets in loader:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(inputs), targets)
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        val_loss = F.cross_entropy(model(x[512:]), y[512:])
    print(epoch, loss.item(), val_loss.item())
score = val_loss.item()
""",
        {"START": ("self.hidden", "None")},
        r"hidden|(output|state).*(earlier|previous|last|other|kept).*(batch|call)|same (input|batch)",
        r"reset|None|zero|each batch|start",
    ),
    Case(
        "warmup-of-each-epoch",
        "",
        "The warm-up counts the batches of the epoch and not those of the training: the rate begins anew with each "
        "epoch and never gets beyond a tenth of what was asked for.",
        """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
base_lr, warmup_steps = 0.3, 100
x = torch.randn(400, 20)
y = x[:, :4].argmax(1)
loader = DataLoader(TensorDataset(x, y), batch_size=40, shuffle=True)
model = nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=base_lr)


def adjust_learning_rate(step):
    lr = base_lr * min(1.0, (step + 1) / warmup_steps)
    for group in optimizer.param_groups:
        group["lr"] = lr


for epoch in range(25):
    for i, (inputs, targets) in enumerate(loader):
        adjust_learning_rate({COUNTED})
        loss = F.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, optimizer.param_groups[0]["lr"], loss.item())
with torch.no_grad():
    score = F.cross_entropy(model(x), y).item()
""",
        {"COUNTED": ("i", "epoch * len(loader) + i")},
        r"rate.*(each epoch|every epoch|again|anew|restart)",
        r"global|epoch \* len|training|all epochs|whole",
    ),
    Case(
        "classes-merged-by-renaming",
        "",
        "The labels are renamed one after the other in place, so that those which just became 3 become 1 again: two "
        "classes are one, and class 3 has no sample.",
        """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(600, 12)
raw = x[:, :4].argmax(1)
y = raw.clone()
{RENAMED}
loader = DataLoader(TensorDataset(x[:500], y[:500]), batch_size=50, shuffle=True)
model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 4))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(12):
    for inputs, targets in loader:
        loss = F.cross_entropy(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
swapped = torch.tensor([0, 3, 2, 1])[raw]
with torch.no_grad():
    score = F.cross_entropy(model(x[500:]), swapped[500:]).item()
""",
        {"RENAMED": ("y[y == 1] = 3\ny[y == 3] = 1", "y = torch.tensor([0, 3, 2, 1])[y]")},
        r"class(es)? 3.*(never|no sample|absent|missing)|(never|no sample|no label).*class(es)? 3",
        r"label|renam|map",
    ),
    Case(
        "image-flipped-without-its-mask",
        "",
        "The augmentation flips the image and not its mask: half of the masks are those of the mirrored image.",
        """
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset


class Shapes(Dataset):
    def __init__(self, number, seed, augment):
        images = torch.randn(number, 1, 8, 8, generator=torch.Generator().manual_seed(seed))
        self.masks = (F.avg_pool2d(images, 3, 1, 1) > 0.1).float()
        self.images, self.augment = images, augment

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image, mask = self.images[index], self.masks[index]
        if self.augment and torch.rand(1) < 0.5:
            image{MASK} = image.flip(-1){FLIPPED}
        return image, mask


torch.manual_seed(0)
train_loader = DataLoader(Shapes(200, 0, True), batch_size=20, shuffle=True)
val_loader = DataLoader(Shapes(60, 1, False), batch_size=20)
model = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 1, 3, padding=1))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(10):
    model.train()
    for image, mask in train_loader:
        loss = F.binary_cross_entropy_with_logits(model(image), mask)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        losses = [F.binary_cross_entropy_with_logits(model(image), mask) for image, mask in val_loader]
    score = (sum(losses) / len(losses)).item()
    print(epoch, loss.item(), score)
""",
        {"MASK": ("", ", mask"), "FLIPPED": ("", ", mask.flip(-1)")},
        r"(input|image|sample).*(flip|mirror|chang|augment).*(target|mask|label)",
        r"mask|target|label|both|same",
    ),
    Case(
        "state-dict-written-into",
        "",
        "The averages of the clients are put into the dict that state_dict() returned, and never loaded into the "
        "global model, which stays as it was.",
        """
import copy

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(600, 10)
y = x[:, :3].argmax(1)
clients = [DataLoader(TensorDataset(x[n : n + 150], y[n : n + 150]), 30, shuffle=True) for n in range(0, 450, 150)]
global_model = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 3))


def local_update(loader):
    model = copy.deepcopy(global_model)
    model.train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    for inputs, targets in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return model.state_dict()


for communication in range(12):
    states = [local_update(loader) for loader in clients]
    averaged = global_model.state_dict()
    for key in averaged:
        averaged[key] = torch.stack([state[key] for state in states]).mean(0){LOADED}
    global_model.eval()
    with torch.no_grad():
        test_loss = F.cross_entropy(global_model(x[450:]), y[450:])
    print(communication, test_loss.item())
score = test_loss.item()
""",
        {"LOADED": ("", "\n    global_model.load_state_dict(averaged)")},
        r"(evaluat|global).*(never change|not change|did not|other weights|initial|not trained|untrained|same weights)",
        r"load_state_dict",
    ),
]
