"""Ill training loops without a Trainer, each after a mistake that people make, with what a right diagnosis says.

Every one is a healthy script with one or two places changed; the script without the change is its healthy twin.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from faultlab.doctor.finding import OK, Finding

CLASSIFIER = """\
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset


def points(number, seed):
    x = torch.randn(number, 10, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(x, x[:, :3].argmax(1))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(10, 32)
        self.norm = nn.BatchNorm1d(32)
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(32, 3)

    def forward(self, x):
        x = F.relu(self.norm(self.hidden(x)))
        return self.head(self.drop(x))


torch.manual_seed(0)
train_set = points(512, 0)
validation_set = points(256, 1)
loader = DataLoader(train_set, batch_size=32, shuffle=True)
validation = DataLoader(validation_set, batch_size=64)
model = Net()
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
for epoch in range(4):
    model.train()
    for x, y in loader:
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
    scheduler.step()
    model.eval()
    correct = 0
    with torch.no_grad():
        for x, y in validation:
            correct += (model(x).argmax(1) == y).sum().item()
    accuracy = correct / len(validation_set)
    print(epoch, accuracy)
"""

PLAIN = """\
import torch
import torch.nn as nn
import torch.optim as optim
from torch.utils.data import DataLoader, TensorDataset


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))

    def forward(self, x):
        return self.net(x)


def data(number, seed):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(number, 10, generator=generator)
    y = x[:, :3].argmax(dim=1)
    return x, y


def train_epoch(model, loader, criterion, optimizer):
    model.train()
    total = 0.0
    for inputs, targets in loader:
        optimizer.zero_grad()
        outputs = model(inputs)
        loss = criterion(outputs, targets)
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / max(1, len(loader))


def evaluate(model, loader):
    model.eval()
    right = count = 0
    with torch.no_grad():
        for inputs, targets in loader:
            predicted = model(inputs).argmax(dim=1)
            right += (predicted == targets).sum().item()
            count += len(targets)
    return right / count


def main():
    torch.manual_seed(0)
    x, y = data(512, 0)
    train_loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
    test_loader = DataLoader(TensorDataset(*data(256, 1)), batch_size=64)
    model = MLP()
    criterion = nn.CrossEntropyLoss()
    optimizer = optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for epoch in range(6):
        loss = train_epoch(model, train_loader, criterion, optimizer)
        accuracy = evaluate(model, test_loader)
        print(epoch, loss, accuracy)


if __name__ == "__main__":
    main()
"""

REGRESSION = """\
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(400, 6)
y = x[:, 0] * 2 - x[:, 1]
model = nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 1))
loss_fn = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(20):
    for batch in torch.randperm(400).split(40):
        prediction = model(x[batch]).squeeze(1)
        loss = loss_fn(prediction, y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
final_loss = loss.item()
"""

BINARY = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(512, 8)
y = (x[:, 0] + x[:, 1] > 0).float().unsqueeze(1)
loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=True)
model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
criterion = nn.BCEWithLogitsLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(5):
    for inputs, labels in loader:
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels)
        loss.backward()
        optimizer.step()
"""

IMAGES = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
labels = torch.randint(0, 4, (400,))
images = torch.randn(400, 1, 8, 8)
for label in range(4):
    images[labels == label, :, 2 * label : 2 * label + 2] += 1.5
loader = DataLoader(TensorDataset(images, labels), batch_size=20, shuffle=True)
model = nn.Sequential(
    nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(128, 32), nn.ReLU(),
    nn.Linear(32, 4),
)
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
for epoch in range(5):
    for x, y in loader:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
"""


@dataclass(frozen=True)
class Ill:
    """A healthy script and the places that make it ill: (healthy, ill) texts.

    ``cause`` and ``remedy`` are patterns that the first finding which is not ok has to match in its text.
    """

    name: str
    script: str
    places: Sequence[tuple[str, str]]
    cause: str
    remedy: str

    def text(self) -> str:
        text = self.script
        for healthy, ill in self.places:
            assert healthy in text, (self.name, healthy)
            text = text.replace(healthy, ill)
        return text

    def named_first(self, found: Sequence[Finding]) -> bool:
        """Return whether the first finding that is not ok names the cause and its remedy."""
        first = next((one for one in found if one.verdict != OK), None)
        return first is not None and self._right(first)

    def named(self, found: Sequence[Finding]) -> bool:
        """Return whether any finding that is not ok names the cause and its remedy."""
        return any(self._right(one) for one in found if one.verdict != OK)

    def _right(self, one: Finding) -> bool:
        told = re.search(self.cause, f"{one.what} {one.evidence}", re.DOTALL | re.IGNORECASE)
        return bool(told and re.search(self.remedy, one.remedy, re.DOTALL | re.IGNORECASE))


ZERO, BACKWARD, STEP = "        optimizer.zero_grad()\n", "        loss.backward()\n", "        optimizer.step()\n"

ILL = [
    Ill("no-zero-grad", PLAIN, [(ZERO, "")], "never cleared", "zero_grad"),
    Ill("no-step", PLAIN, [(STEP, "")], "never stepped", r"optimizer\.step\(\)"),
    Ill("no-backward", CLASSIFIER, [(BACKWARD, "")], "backward is never called", r"loss\.backward\(\)"),
    Ill(
        "step-without-parentheses",
        CLASSIFIER,
        [("optimizer.step()", "optimizer.step")],
        r"never stepped.*without parentheses",
        r"optimizer\.step\(\)",
    ),
    Ill(
        "optimizer-of-another-model",
        CLASSIFIER,
        [("for epoch in range(4):", "model = Net()\nfor epoch in range(4):")],
        "optimizer holds .* no .*model",
        "after the model",
    ),
    Ill(
        "head-replaced-after-the-optimizer",
        CLASSIFIER,
        [("for epoch in range(4):", "model.head = nn.Linear(32, 3)\nfor epoch in range(4):")],
        r"head\.(weight|bias).*no optimizer|no optimizer.*head",
        "after",
    ),
    Ill(
        "loss-made-again",
        PLAIN,
        [
            (
                "        loss.backward()",
                "        loss = torch.tensor(loss.item(), requires_grad=True)\n        loss.backward()",
            )
        ],
        "no graph leads from the loss",
        "item",
    ),
    Ill(
        "forward-under-no-grad",
        CLASSIFIER,
        [
            (
                "        loss = criterion(model(x), y)",
                "        with torch.no_grad():\n            scores = model(x)\n"
                "        loss = criterion(scores, y).requires_grad_()",
            )
        ],
        "no graph leads from the loss",
        "no_grad",
    ),
    Ill(
        "data-in-forward",
        CLASSIFIER,
        [("x = F.relu(self.norm(self.hidden(x)))", "x = F.relu(self.norm(self.hidden(x))).data")],
        r"hidden.*no graph|no graph.*hidden",
        r"\.data",
    ),
    Ill(
        "eval-all-the-time",
        CLASSIFIER,
        [("    model.train()\n", ""), ("for epoch in range(4):", "model.eval()\nfor epoch in range(4):")],
        "eval mode",
        r"model\.train\(\)",
    ),
    Ill(
        "eval-never-left",
        CLASSIFIER,
        [("    model.train()\n", "")],
        "eval mode after the .*validation",
        r"model\.train\(\)",
    ),
    Ill("validation-in-training-mode", CLASSIFIER, [("    model.eval()\n", "")], "training mode", r"model\.eval\(\)"),
    Ill("rate-too-high", PLAIN, [("lr=0.1", "lr=30.0")], "learning rate.*too high", "lr"),
    Ill("rate-too-high-for-adam", CLASSIFIER, [("lr=0.01", "lr=20.0")], "learning rate.*too high", "lr"),
    Ill("rate-too-low", PLAIN, [("lr=0.1", "lr=0.0000001")], "learning rate.*too low", "lr"),
    Ill(
        "schedule-per-batch",
        CLASSIFIER,
        [
            ("    scheduler.step()\n", ""),
            ("        optimizer.step()\n", "        optimizer.step()\n        scheduler.step()\n"),
        ],
        "learning rate.*every batch|every batch.*learning rate",
        "once per epoch|after each epoch",
    ),
    Ill(
        "softmax-before-cross-entropy",
        CLASSIFIER,
        [("return self.head(self.drop(x))", "return F.softmax(self.head(self.drop(x)), dim=1)")],
        "softmax",
        "logits",
    ),
    Ill(
        "labels-shuffled",
        PLAIN,
        [("    y = x[:, :3].argmax(dim=1)", "    y = x[:, :3].argmax(dim=1)[torch.randperm(number)]")],
        "labels.*(no relation|unrelated)",
        "same index|same order",
    ),
    Ill(
        "labels-shifted",
        PLAIN,
        [("    y = x[:, :3].argmax(dim=1)", "    y = x[:, :3].argmax(dim=1).roll(1)")],
        "labels.*shifted|label.*(previous|next) sample",
        "same index|same order|offset",
    ),
    Ill(
        "constant-inputs",
        PLAIN,
        [("    return x, y", "    return x[:1].expand_as(x).clone(), y")],
        "inputs.*(same|constant)",
        "dataset|inputs",
    ),
    Ill(
        "inputs-not-normalised",
        IMAGES,
        [("loader = DataLoader(", "images = images * 3000 + 20000\nloader = DataLoader(")],
        "inputs.*(scale|normal|standard)",
        "normali|standardi|subtract",
    ),
    Ill(
        "softmax-over-the-batch",
        CLASSIFIER,
        [
            ("criterion = nn.CrossEntropyLoss()", "criterion = nn.NLLLoss()"),
            ("return self.head(self.drop(x))", "return F.log_softmax(self.head(self.drop(x)), dim=0)"),
        ],
        "softmax.*dim.*0.*(batch|samples)",
        "dim=1|dim=-1",
    ),
    Ill(
        "argmax-over-the-batch",
        PLAIN,
        [
            ("batch_size=64", "batch_size=3"),
            ("number, seed):", "number, seed):\n    number -= number % 3"),
            ("predicted = model(inputs).argmax(dim=1)", "predicted = model(inputs).argmax(dim=0)"),
        ],
        "argmax.*dim.*0.*(batch|samples)",
        "dim=1|dim=-1",
    ),
    Ill(
        "exception-swallowed",
        CLASSIFIER,
        [
            (
                "        optimizer.zero_grad()\n        loss = criterion(model(x), y)\n",
                "        try:\n            loss = criterion(model(x.T), y)\n"
                "        except Exception:\n            continue\n        optimizer.zero_grad()\n",
            )
        ],
        "RuntimeError is raised in line .* swallowed",
        "in_features.*catch only",
    ),
    Ill(
        "no-batches",
        CLASSIFIER,
        [("batch_size=32, shuffle=True", "batch_size=1024, shuffle=True, drop_last=True")],
        "no batch.*drop_last|drop_last.*no batch",
        "batch_size|drop_last",
    ),
    Ill(
        "validates-on-the-training-set",
        CLASSIFIER,
        [("validation = DataLoader(validation_set", "validation = DataLoader(train_set")],
        "validation.*training.*same|same.*training",
        "validation",
    ),
    Ill(
        "left-frozen",
        CLASSIFIER,
        [
            (
                "criterion = nn.Cross",
                "for p in model.parameters():\n    p.requires_grad = False\n"
                "model.head.requires_grad_(True)\ncriterion = nn.Cross",
            )
        ],
        r"requires_grad is False: hidden\.weight",
        "requires_grad",
    ),
    Ill(
        "zero-grad-before-the-step",
        PLAIN,
        [(STEP, "        optimizer.zero_grad()\n        optimizer.step()\n")],
        "cleared between backward and the step",
        "after.*step|before.*backward",
    ),
    Ill(
        "graph-grows",
        CLASSIFIER,
        [
            ("    model.train()\n", "    model.train()\n    total = 0\n"),
            ("        loss.backward()", "        total = total + loss\n        total.backward(retain_graph=True)"),
            ("        optimizer.step()", "        pass"),
            ("    scheduler.step()\n", "    optimizer.step()\n    scheduler.step()\n"),
        ],
        "graph.*grows|earlier (steps|batches)",
        r"detach|item",
    ),
    Ill(
        "clipped-to-zero",
        PLAIN,
        [(STEP, "        nn.utils.clip_grad_norm_(model.parameters(), 1e-6)\n        optimizer.step()\n")],
        "clip",
        "norm|clip",
    ),
    Ill(
        "dead-relu",
        PLAIN,
        [
            (
                "    criterion = nn.CrossEntropyLoss()",
                "    for layer in model.net[:3:2]:\n        nn.init.constant_(layer.bias, -50.0)\n"
                "    criterion = nn.CrossEntropyLoss()",
            )
        ],
        "relu.*(dead|0 for every|always 0)",
        "bias|init",
    ),
    Ill(
        "summed-loss",
        PLAIN,
        [("nn.CrossEntropyLoss()", "nn.CrossEntropyLoss(reduction='sum')"), ("lr=0.1", "lr=0.5")],
        "sum.*batch|reduction",
        "mean",
    ),
    Ill(
        "batches-of-one",
        CLASSIFIER,
        [("batch_size=32", "batch_size=1")],
        "BatchNorm.*(one sample|batch of 1|more than 1)|more than 1 value",
        "batch",
    ),
    Ill(
        "target-broadcast",
        REGRESSION,
        [("model(x[batch]).squeeze(1)", "model(x[batch])")],
        r"compares shapes \(40, 1\) and \(40,\)",
        "same shape",
    ),
    Ill(
        "sigmoid-twice",
        BINARY,
        [("nn.Linear(16, 1))", "nn.Linear(16, 1), nn.Sigmoid())")],
        "output of a sigmoid",
        "logits",
    ),
    Ill(
        "model-made-in-every-epoch",
        PLAIN,
        [
            (
                "        loss = train_epoch(",
                "        model = MLP()\n        optimizer = optim.SGD(model.parameters(), lr=0.1)\n"
                "        loss = train_epoch(",
            )
        ],
        "made (again|anew)|new model",
        "before the loop|once",
    ),
    Ill(
        "sorted-by-label",
        PLAIN,
        [
            ("    return x, y", "    order = y.argsort()\n    return x[order], y[order]"),
            ("batch_size=32, shuffle=True", "batch_size=32"),
        ],
        "sorted by label",
        "shuffle=True",
    ),
]

_MOONS = """\
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(400, 8)
y = x[:, :4].argmax(1)
"""

HEALTHY = {
    "resting-backbone-and-summed-loss": _MOONS
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(8, 32), nn.Tanh()).requires_grad_(False)
        self.head = nn.Linear(32, 4)

    def train(self, mode=True):
        super().train(mode)
        self.backbone.eval()
        return self

    def forward(self, inputs):
        return self.head(self.backbone(inputs))


model = Net()
loader = DataLoader(TensorDataset(x, y), batch_size=10, shuffle=True)
optimizer = torch.optim.Adam(model.head.parameters(), lr=0.01)
for epoch in range(5):
    model.train()
    for inputs, labels in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels, reduction="sum").backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        print(epoch, F.cross_entropy(model(x), y).item())
""",
    "accumulation": _MOONS
    + """
model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4))
loader = DataLoader(TensorDataset(x, y), batch_size=10, shuffle=True)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
for epoch in range(5):
    for number, (inputs, labels) in enumerate(loader):
        loss = F.cross_entropy(model(inputs), labels) / 4
        loss.backward()
        if (number + 1) % 4 == 0:
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
""",
    "gan": """\
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
generator = nn.Sequential(nn.Linear(4, 16), nn.LeakyReLU(0.2), nn.Linear(16, 2))
critic = nn.Sequential(nn.Linear(2, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
of_generator = torch.optim.Adam(generator.parameters(), lr=0.002, betas=(0.5, 0.9))
of_critic = torch.optim.Adam(critic.parameters(), lr=0.002, betas=(0.5, 0.9))
for step in range(120):
    real = torch.randn(32, 2) + 2
    fake = generator(torch.randn(32, 4))
    of_critic.zero_grad()
    ones, zeros = torch.ones(32, 1), torch.zeros(32, 1)
    loss = F.binary_cross_entropy_with_logits(critic(real), ones)
    loss = loss + F.binary_cross_entropy_with_logits(critic(fake.detach()), zeros)
    loss.backward()
    of_critic.step()
    of_generator.zero_grad()
    F.binary_cross_entropy_with_logits(critic(fake), ones).backward()
    of_generator.step()
""",
    "closure": _MOONS
    + """
model = nn.Sequential(nn.Linear(8, 16), nn.Tanh(), nn.Linear(16, 4))
optimizer = torch.optim.LBFGS(model.parameters(), lr=0.5, max_iter=4)


def closure():
    optimizer.zero_grad()
    loss = F.cross_entropy(model(x), y)
    loss.backward()
    return loss


for step in range(12):
    optimizer.step(closure)
""",
    "fine-tuning": _MOONS
    + """
body = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU())
state = body.state_dict()
body.load_state_dict(state)
for parameter in body.parameters():
    parameter.requires_grad_(False)
body.eval()
model = nn.Sequential(body, nn.Linear(32, 4))
head = model[1]
optimizer = torch.optim.Adam((p for p in model.parameters() if p.requires_grad), lr=0.02)
for epoch in range(6):
    for some in torch.randperm(400).split(40):
        optimizer.zero_grad()
        F.cross_entropy(model(x[some]), y[some]).backward()
        optimizer.step()
""",
    "warm-up-per-batch": _MOONS
    + """
model = nn.Sequential(nn.Linear(8, 32), nn.LayerNorm(32), nn.GELU(), nn.Linear(32, 4))
loader = DataLoader(TensorDataset(x, y), batch_size=20, shuffle=True)
optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=0.02, total_steps=5 * len(loader))
for epoch in range(5):
    model.train()
    for inputs, labels in loader:
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels, label_smoothing=0.1).backward()
        optimizer.step()
        schedule.step()
""",
    "recurrent": """\
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
tokens = torch.arange(2000) % 7


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.embedding = nn.Embedding(7, 16)
        self.rnn = nn.GRU(16, 32, batch_first=True)
        self.head = nn.Linear(32, 7)

    def forward(self, x, hidden=None):
        output, hidden = self.rnn(self.embedding(x), hidden)
        return self.head(output), hidden


model = Model()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
hidden = None
for start in range(0, 1980, 20):
    inputs, targets = tokens[None, start : start + 20], tokens[None, start + 1 : start + 21]
    scores, hidden = model(inputs, hidden)
    hidden = hidden.detach()
    optimizer.zero_grad()
    F.cross_entropy(scores.flatten(0, 1), targets.flatten()).backward()
    optimizer.step()
""",
    "autoencoder": """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
codes = torch.randn(600, 3)
data = codes @ torch.randn(3, 12)
encoder, decoder = nn.Linear(12, 3), nn.Linear(3, 12)
optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=0.02)
for epoch in range(5):
    for (x,) in DataLoader(TensorDataset(data), batch_size=30, shuffle=True):
        loss = nn.functional.mse_loss(decoder(encoder(x)), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
""",
    "early-stopping": _MOONS
    + """
train, held_out = TensorDataset(x[:300], y[:300]), TensorDataset(x[300:], y[300:])
model = nn.Sequential(nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 4))
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
best, kept = float("inf"), None


def run(loader, learn):
    model.train(learn)
    total = 0.0
    with torch.set_grad_enabled(learn):
        for inputs, labels in loader:
            loss = F.cross_entropy(model(inputs), labels)
            if learn:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            total += loss.item()
    return total / len(loader)


for epoch in range(6):
    train_loss = run(DataLoader(train, batch_size=20, shuffle=True), True)
    val_loss = run(DataLoader(held_out, batch_size=50), False)
    schedule.step(val_loss)
    if val_loss < best:
        best, kept = val_loss, {name: value.clone() for name, value in model.state_dict().items()}
model.load_state_dict(kept)
""",
}
"""Healthy loops of other forms, none of which the doctor may take for ill."""
