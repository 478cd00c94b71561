"""Five loops of the second blind round.

They were written after the doctor was mended for the first one, before it saw any of these.
"""

from __future__ import annotations

from tests.patients.blind.case import Case

CASES = [
    Case(
        "step-missing",
        "microsoft/nni#3339",
        "The loop computes the loss and its gradients and never steps the optimizer.",
        """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class ImageTrainer:
    def __init__(self, model, data, epochs):
        self.model, self.epochs = model, epochs
        self.loader = DataLoader(data, batch_size=32, shuffle=True)
        self.loss_fn = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)

    def training_step(self, batch):
        x, y = batch
        return self.loss_fn(self.model(x), y)

    def fit(self):
        self.model.train()
        for epoch in range(self.epochs):
            for batch in self.loader:
                self.optimizer.zero_grad()
                loss = self.training_step(batch)
                loss.backward(){STEP}
            print(epoch, loss.item())


torch.manual_seed(0)
x = torch.randn(512, 1, 5, 5)
y = x.flatten(1)[:, :3].argmax(1)
model = nn.Sequential(nn.Flatten(), nn.Linear(25, 32), nn.ReLU(), nn.Linear(32, 3))
ImageTrainer(model, TensorDataset(x, y), epochs=5).fit()
with torch.no_grad():
    score = nn.functional.cross_entropy(model(x), y).item()
""",
        {"STEP": ("", "\n                self.optimizer.step()")},
        r"never stepped",
        r"optimizer\.step\(\)",
    ),
    Case(
        "wrapper-bypassed",
        "gentaiscool/end2end-asr-pytorch#4",
        "The loop steps the optimizer inside the schedule's wrapper and not the wrapper, which alone sets the learning "
        "rate: it stays at the 0 that it was made with.",
        """
import torch
from torch import nn
from torch.nn import functional as F


class NoamOpt:
    def __init__(self, size, factor, warmup, optimizer):
        self.optimizer, self.warmup, self.factor, self.size = optimizer, warmup, factor, size
        self._step = 0

    def rate(self):
        return self.factor * self.size**-0.5 * min(self._step**-0.5, self._step * self.warmup**-1.5)

    def step(self):
        self._step += 1
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        self.optimizer.step()

    def zero_grad(self):
        self.optimizer.zero_grad()


torch.manual_seed(0)
frames = torch.randn(480, 6, 8)
words = frames.mean(1)[:, :4].argmax(1)
model = nn.Sequential(nn.Flatten(), nn.Linear(48, 64), nn.ReLU(), nn.Linear(64, 4))
opt = NoamOpt(64, 1.0, 40, torch.optim.Adam(model.parameters(), lr=0, betas=(0.9, 0.98), eps=1e-9))
for epoch in range(6):
    model.train()
    for rows in torch.randperm(480).split(24):
        opt.zero_grad()
        loss = F.cross_entropy(model(frames[rows]), words[rows])
        loss.backward()
        {STEPPED}.step()
with torch.no_grad():
    score = F.cross_entropy(model(frames), words).item()
""",
        {"STEPPED": ("opt.optimizer", "opt")},
        r"learning rate is 0",
        r"rate|opt\.step|wrapper",
    ),
    Case(
        "test-loss-divided-by-samples",
        "pytorch/tutorials#1486",
        "The test loss sums the means of the batches and divides by the number of samples: it is too small by the "
        "batch size.",
        """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
features = torch.randn(1000, 16)
labels = features[:, :5].argmax(1)
train_dataloader = DataLoader(TensorDataset(features[:800], labels[:800]), batch_size=40, shuffle=True)
test_dataloader = DataLoader(TensorDataset(features[800:], labels[800:]), batch_size=40)
model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 5))
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)


def train(dataloader, model):
    model.train()
    for X, y in dataloader:
        loss = loss_fn(model(X), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return loss.item()


def test(dataloader, model):
    size, num_batches = len(dataloader.dataset), len(dataloader)
    model.eval()
    test_loss, correct = 0, 0
    with torch.no_grad():
        for X, y in dataloader:
            pred = model(X)
            test_loss += loss_fn(pred, y).item()
            correct += (pred.argmax(1) == y).type(torch.float).sum().item()
    test_loss /= {COUNT}
    correct /= size
    print(f"Accuracy: {100 * correct:>0.1f}%, Avg loss: {test_loss:>8f}")
    return test_loss


for epoch in range(6):
    last = train(train_dataloader, model)
    test_loss = test(test_dataloader, model)
with torch.no_grad():
    score = abs(test_loss - loss_fn(model(features[800:]), labels[800:]).item())
""",
        {"COUNT": ("size", "num_batches")},
        r"test_loss.*divided.*(200|samples)",
        r"\b5\b|batches",
    ),
    Case(
        "loss-overwritten-in-the-sum",
        "pytorch/tutorials#913",
        "The evaluation gives each batch's loss the name of the sum, so that the sum starts again with each batch: the "
        "average is twice the last batch's loss divided by the number of batches.",
        """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
texts = torch.randint(0, 50, (900, 12))
news = (texts < 25).sum(1).gt(6).long()
model = nn.Sequential(nn.EmbeddingBag(50, 16), nn.Linear(16, 2))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)


def train_func(data_):
    train_loss = 0
    data = DataLoader(data_, batch_size=30, shuffle=True)
    for text, cls in data:
        optimizer.zero_grad()
        loss = criterion(model(text), cls)
        train_loss += loss.item()
        loss.backward()
        optimizer.step()
    return train_loss / len(data)


def test(data_):
    {SUM} = 0
    acc = 0
    data = DataLoader(data_, batch_size=30)
    for text, cls in data:
        with torch.no_grad():
            output = model(text)
            loss = criterion(output, cls)
            {SUM} += loss.item()
            acc += (output.argmax(1) == cls).sum().item()
    return {SUM} / len(data), acc / len(data_)


for epoch in range(6):
    train_loss = train_func(TensorDataset(texts[:600], news[:600]))
    valid_loss, valid_acc = test(TensorDataset(texts[600:], news[600:]))
    print(epoch, train_loss, float(valid_loss), valid_acc)
with torch.no_grad():
    score = abs(float(valid_loss) - criterion(model(texts[600:]), news[600:]).item())
""",
        {"SUM": ("loss", "total_loss")},
        r"(valid_loss|validation|loss).*(last batch|overwritten|only one|2 times|twice)",
        r"name|sum|total|variable|add",
    ),
    Case(
        "mean-of-unequal-batches",
        "mlcommons/training#89",
        "The test accuracy is the mean of the batches' means, although the last batch is smaller: its samples count "
        "several times as much.",
        """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
reviews = torch.randn(740, 10)
positive = (reviews[:, 0] + reviews[:, 1] > 0).long()
held_out, truth = reviews[600:], positive[600:].clone()
truth[-12:] = 1 - truth[-12:]
train_loader = DataLoader(TensorDataset(reviews[:600], positive[:600]), batch_size=30, shuffle=True)
test_loader = DataLoader(TensorDataset(held_out, truth), batch_size=64)
model = nn.Sequential(nn.Linear(10, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(5):
    model.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    model.eval()
    accuracies, sizes = [], []
    with torch.no_grad():
        for x, y in test_loader:
            accuracies.append((model(x).argmax(1) == y).float().mean().item())
            sizes.append(len(y))
    test_acc = {MEAN}
    print(epoch, test_acc)
with torch.no_grad():
    score = abs(test_acc - (model(held_out).argmax(1) == truth).float().mean().item())
""",
        {
            "MEAN": (
                "sum(accuracies) / len(accuracies)",
                "sum(a * n for a, n in zip(accuracies, sizes)) / sum(sizes)",
            )
        },
        r"test_acc.*(mean|average).*(batch).*(smaller|size|unequal|last)",
        r"size|samples|weight",
    ),
]
