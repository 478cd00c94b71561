import random

import fire
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch.utils.data import DataLoader, Dataset


class TwoViews(Dataset):
    def __init__(self, images):
        self.images = images

    def _augment(self, x):
        x = torch.roll(x, (random.randint(-1, 1), random.randint(-1, 1)), dims=(-2, -1))
        return x * random.uniform(0.7, 1.3) + 0.05 * torch.randn_like(x)

    def __getitem__(self, i):
        return self._augment(self.images[i]), self._augment(self.images[i])

    def __len__(self):
        return len(self.images)


class Encoder(nn.Module):
    def __init__(self, dim=32):
        super().__init__()
        self.f = nn.Sequential(nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 32, 3, 2, 1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten())
        self.g = nn.Sequential(nn.Linear(128, 64), nn.ReLU(), nn.Linear(64, dim))

    def forward(self, x):
        h = self.f(x)
        return h, F.normalize(self.g(h), dim=-1)


def nt_xent(z1, z2, t):
    z = torch.cat([z1, z2])
    n = len(z)
    sim = z @ z.T / t
    sim.fill_diagonal_(float("-inf")) if not sim.requires_grad else None
    sim = sim.masked_fill(torch.eye(n, dtype=torch.bool), float("-inf"))
    target = (torch.arange(n) + n // 2) % n
    return F.cross_entropy(sim, target)


def linear_probe(encoder, images, labels):
    encoder.eval()
    with torch.no_grad():
        h = encoder(images)[0].numpy()
    cut = len(h) * 3 // 4
    return LogisticRegression(max_iter=300).fit(h[:cut], labels[:cut]).score(h[cut:], labels[cut:])


def train(epochs=2, batch_size=128, lr=1e-3, temperature=0.5, seed=0, limit=768):
    torch.manual_seed(seed)
    random.seed(seed)
    digits = load_digits()
    images = torch.tensor(digits.images[:limit], dtype=torch.float32)[:, None] / 16
    loader = DataLoader(TwoViews(images), batch_size, shuffle=True, drop_last=True)
    net = Encoder()
    opt = torch.optim.Adam(net.parameters(), lr=lr, weight_decay=1e-6)
    for epoch in range(1, epochs + 1):
        net.train()
        total, n = 0., 0
        for v1, v2 in loader:
            _, z1 = net(v1)
            _, z2 = net(v2)
            loss = nt_xent(z1, z2, temperature)
            opt.zero_grad()
            loss.backward()
            opt.step()
            total, n = total + loss.item() * len(v1), n + len(v1)
        print(f"Train Epoch: [{epoch}/{epochs}] Loss: {total / n:.4f}")
    print("Probe accuracy: {:.2f}%".format(100 * linear_probe(net, images, digits.target[:limit])))


if __name__ == "__main__":
    fire.Fire(train)
