"""Healthy training loops of other forms, none of which the doctor may take for ill."""

from __future__ import annotations

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
    "cross-validation": _MOONS
    + """
from torch.utils.data import Subset

data = TensorDataset(x, y)
folds = torch.randperm(400).chunk(3)
for held_out in range(3):
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 4))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    others = torch.cat([fold for number, fold in enumerate(folds) if number != held_out])
    loader = DataLoader(Subset(data, others.tolist()), batch_size=20, shuffle=True)
    validation = DataLoader(Subset(data, folds[held_out].tolist()), batch_size=67)
    for epoch in range(3):
        model.train()
        for inputs, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            optimizer.step()
        model.eval()
        with torch.no_grad():
            right = sum((model(inputs).argmax(1) == labels).sum().item() for inputs, labels in validation)
        print(held_out, epoch, right / len(folds[held_out]))
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
