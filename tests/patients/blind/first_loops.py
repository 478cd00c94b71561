"""Six loops of the first blind round, after the hits of fixed queries in their order."""

from __future__ import annotations

from tests.patients.blind.case import Case

CASES = [
    Case(
        "adam-kills-the-units",
        "https://discuss.pytorch.org/t/cross-entropy-loss-is-not-decreasing/43814/16",
        "The learning rate of Adam is too high: the first steps make all units of the ReLU layers dead, and the loss "
        "stays at that of a guess.",
        """
import torch
from torch import nn

torch.manual_seed(0)
centers = 2 * torch.randn(10, 16)
labels = torch.randint(0, 10, (1000,))
inputs = centers[labels] + torch.randn(1000, 16)
net = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
opt = torch.optim.Adam(net.parameters(), lr={RATE})
loss_fn = nn.CrossEntropyLoss()
for epoch in range(5):
    for rows in torch.randperm(1000).split(50):
        opt.zero_grad()
        loss = loss_fn(net(inputs[rows]), labels[rows])
        loss.backward()
        opt.step()
    print(epoch, loss.item())
with torch.no_grad():
    score = loss_fn(net(inputs), labels).item()
""",
        {"RATE": ("2.0", "0.005")},
        r"learning rate.*too high",
        r"lr=0\.0",
    ),
    Case(
        "constraint-under-no-grad",
        "denfed/leaf-audio-pytorch#3",
        "The constraint on the kernel's parameters is computed under no_grad, which cuts the graph: they never change.",
        """
import math

import torch
from torch import nn
from torch.nn import functional as F


class KernelConstraint(nn.Module):
    def forward(self, kernel):
{NO_GRAD}
{INDENT}        mu = torch.clamp(kernel[:, 0], 0.0, math.pi)
{INDENT}        sigma = torch.clamp(kernel[:, 1], 1.0, 9.0)
        return torch.stack([mu, sigma], 1)


class WaveConv(nn.Module):
    def __init__(self, filters=6, size=17):
        super().__init__()
        self.kernel = nn.Parameter(torch.stack([torch.linspace(0.1, 0.9, filters), torch.full((filters,), 3.0)], 1))
        self.constraint = KernelConstraint()
        self.register_buffer("t", torch.arange(size, dtype=torch.float32) - size // 2)

    def forward(self, x):
        mu, sigma = self.constraint(self.kernel).unbind(1)
        waves = torch.cos(mu[:, None] * self.t) * torch.exp(-0.5 * (self.t / sigma[:, None]) ** 2)
        return F.conv1d(x, waves[:, None])


class Frontend(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = WaveConv()
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        energy = (self.conv(x) ** 2).mean(-1)
        return self.head(torch.log1p(energy))


torch.manual_seed(0)
t = torch.arange(120.0)
y = torch.randint(0, 2, (240,))
pitch = torch.where(y == 1, 2.6, 2.2) + 0.02 * torch.randn(240)
x = torch.cos(pitch[:, None] * t + 6 * torch.rand(240, 1))[:, None] + 0.3 * torch.randn(240, 1, 120)
model = Frontend()
opt = torch.optim.Adam(model.parameters(), lr=0.03, weight_decay=1e-6)
for epoch in range(15):
    model.train()
    for rows in torch.randperm(240).split(24):
        loss = F.cross_entropy(model(x[rows]), y[rows])
        opt.zero_grad()
        loss.backward()
        opt.step()
with torch.no_grad():
    score = F.cross_entropy(model(x), y).item()
""",
        {"NO_GRAD": ("        with torch.no_grad():", ""), "INDENT": ("    ", "")},
        r"kernel.*no graph|no graph.*kernel",
        r"no_grad",
    ),
    Case(
        "groups-without-bare-parameters",
        "bubbliiiing/efficientdet-pytorch#37",
        "The optimizer's groups are collected from the weights and biases of layers; a bare nn.Parameter of a module "
        "is in none of them and never changes.",
        """
import torch
from torch import nn
from torch.nn import functional as F


class Fusion(nn.Module):
    def __init__(self):
        super().__init__()
        self.w1 = nn.Parameter(torch.ones(4))
        self.norm = nn.BatchNorm1d(10)
        self.act = nn.ReLU()

    def forward(self, levels):
        weight = self.act(self.w1)
        weight = weight / (weight.sum() + 1e-4)
        return self.norm((weight[:, None] * levels).sum(1))


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.fusion = Fusion()
        self.head = nn.Linear(10, 3)

    def forward(self, levels):
        return self.head(self.fusion(levels))


def groups_of(model):
    pg0, pg1, pg2 = [], [], []
    for _, v in model.named_modules():
        if hasattr(v, "bias") and isinstance(v.bias, nn.Parameter):
            pg2.append(v.bias)
        if isinstance(v, nn.BatchNorm1d):
            pg0.append(v.weight)
        elif hasattr(v, "weight") and isinstance(v.weight, nn.Parameter):
            pg1.append(v.weight)
    {BARE}
    return pg0, pg1, pg2


torch.manual_seed(0)
levels = torch.randn(600, 4, 10)
levels[:, 1:] *= 2
labels = levels[:, 0, :3].argmax(1)
model = Detector()
pg0, pg1, pg2 = groups_of(model)
optimizer = torch.optim.Adam(pg0, lr=0.02)
optimizer.add_param_group({"params": pg1, "weight_decay": 1e-4})
optimizer.add_param_group({"params": pg2})
for epoch in range(10):
    model.train()
    for rows in torch.randperm(600).split(30):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(levels[rows]), labels[rows])
        loss.backward()
        optimizer.step()
model.eval()
with torch.no_grad():
    score = F.cross_entropy(model(levels), labels).item()
""",
        {"BARE": ("", "pg2 += [v.w1 for v in model.modules() if isinstance(v, Fusion)]")},
        r"w1.*no optimizer",
        r"parameters\(\)",
    ),
    Case(
        "backward-missing",
        "Goingqs/PyramidBox#7",
        "The loop never calls loss.backward(), so that the optimizer has no gradients to step with.",
        """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class MultiLoss(nn.Module):
    def forward(self, found, boxes, labels):
        place, scores = found
        return nn.functional.smooth_l1_loss(place, boxes), nn.functional.cross_entropy(scores, labels)


class Boxes(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten())
        self.place, self.scores = nn.Linear(32, 2), nn.Linear(32, 2)

    def forward(self, x):
        x = self.body(x)
        return self.place(x), self.scores(x)


torch.manual_seed(0)
labels = torch.randint(0, 2, (256,))
images = 0.3 * torch.randn(256, 1, 8, 8)
rows = torch.randint(0, 6, (256,))
for number, row in enumerate(rows.tolist()):
    images[number, 0, row : row + 2] += 2.0 * labels[number] - 1.0
boxes = torch.stack([rows / 6, labels.float()], 1)
loader = DataLoader(TensorDataset(images, boxes, labels), batch_size=16, shuffle=True)
net = Boxes()
criterion = MultiLoss()
optimizer = torch.optim.SGD(net.parameters(), lr=0.02, momentum=0.9)
for epoch in range(6):
    loss_l_sum = loss_c_sum = 0.0
    for x, b, y in loader:
        optimizer.zero_grad()
        loss_l, loss_c = criterion(net(x), b, y)
        loss = loss_l + loss_c
{BACKWARD}
        optimizer.step()
        loss_l_sum += loss_l.item()
        loss_c_sum += loss_c.item()
    print(epoch, loss_l_sum / len(loader), loss_c_sum / len(loader))
with torch.no_grad():
    score = nn.functional.cross_entropy(net(images)[1], labels).item()
""",
        {"BACKWARD": ("", "        loss.backward()")},
        r"backward is never called",
        r"loss\.backward\(\)",
    ),
    Case(
        "masks-not-normalized",
        "HKUSTCV/FSS-1000#20",
        "The images are scaled to 0 to 1, the masks that they are compared with are still 0 or 255: outputs of a "
        "sigmoid cannot reach them.",
        """
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


class Masks(Dataset):
    def __init__(self, number, seed):
        draw = np.random.default_rng(seed)
        self.images = draw.integers(0, 90, (number, 12, 12), dtype=np.uint8)
        self.masks = np.zeros((number, 12, 12), np.uint8)
        for image, mask in zip(self.images, self.masks):
            top, left = draw.integers(0, 7, 2)
            image[top : top + 5, left : left + 5] += 120
            mask[top : top + 5, left : left + 5] = 255

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image = torch.from_numpy(self.images[index]).float()[None] / 255
        mask = torch.from_numpy(self.masks[index]).float()[None]{SCALE}
        return image, mask


torch.manual_seed(0)
train, held_out = Masks(200, 0), Masks(50, 1)
net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 3, padding=1), nn.Sigmoid())
mse = nn.MSELoss()
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
for epoch in range(8):
    for image, mask in DataLoader(train, batch_size=10, shuffle=True):
        loss = mse(net(image), mask)
        net.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 0.5)
        optimizer.step()
    print(epoch, loss.item())
with torch.no_grad():
    found = torch.stack([net(held_out[n][0][None])[0] > 0.5 for n in range(50)])
    true = torch.stack([held_out[n][1] > 0 for n in range(50)])
    score = (found != true).float().mean().item()
""",
        {"SCALE": ("", " / 255")},
        r"(target|mask|label)s?.*(255|range|reach|between 0 and 1|outside)",
        r"255|scale|divide|0 to 1|0 and 1",
    ),
    Case(
        "kl-of-probabilities",
        "pytorch/pytorch#5282",
        "KLDivLoss expects log-probabilities as its input, and gets probabilities.",
        """
import torch
from torch import nn
from torch.nn import functional as F

torch.manual_seed(0)
x = torch.randn(600, 8)
teacher = nn.Linear(8, 5)
with torch.no_grad():
    wanted = F.softmax(3 * teacher(x), dim=1)
student = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 5))
criterion = nn.KLDivLoss(reduction="batchmean")
optimizer = torch.optim.Adam(student.parameters(), lr=0.01)
for epoch in range(12):
    for rows in torch.randperm(600).split(30):
        optimizer.zero_grad()
        loss = criterion(F.{FUNCTION}(student(x[rows]), dim=1), wanted[rows])
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
with torch.no_grad():
    score = F.kl_div(F.log_softmax(student(x), 1), wanted, reduction="batchmean").item()
""",
        {"FUNCTION": ("softmax", "log_softmax")},
        r"(kl_div|KLDivLoss).*(probabilit|softmax)",
        r"log_softmax",
    ),
]
