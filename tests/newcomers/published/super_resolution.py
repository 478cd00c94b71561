"""Doubles the size of images, by a script whose loop stands at module level and whose loaders have workers.

After https://github.com/pytorch/examples/blob/main/super_resolution/main.py. Kept: everything at module level, workers
in both loaders, sub-pixel convolution, MSELoss, a test without `model.eval()` in decibels, and the whole model saved
after each epoch. Changed: images of digits instead of photographs, one file instead of three, two workers, and one
function for a pass over either loader.
"""

from argparse import ArgumentParser
from math import log10

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import avg_pool2d
from torch.utils.data import DataLoader, Dataset

parser = ArgumentParser()
parser.add_argument("--factor", type=int, default=2)
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--epochs", type=int, default=2)
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--workers", type=int, default=2)
options = parser.parse_args()

torch.manual_seed(123)


class Shrunk(Dataset):
    """Images, each with a smaller copy of itself to start from."""

    def __init__(self, images):
        self.images = images

    def __len__(self):
        return len(self.images)

    def __getitem__(self, number):
        image = self.images[number]
        return avg_pool2d(image, options.factor), image


class Enlarger(nn.Module):
    def __init__(self, factor, width=16):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(width, factor**2, 3, padding=1),
            nn.PixelShuffle(factor),
        )
        for layer in self.layers:
            if isinstance(layer, nn.Conv2d):
                nn.init.orthogonal_(layer.weight, nn.init.calculate_gain("relu"))

    def forward(self, small):
        return self.layers(small)


pictures = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16
train_loader = DataLoader(Shrunk(pictures[:640]), options.batch, shuffle=True, num_workers=options.workers)
test_loader = DataLoader(Shrunk(pictures[640:840]), 100, num_workers=options.workers)

model = Enlarger(options.factor)
criterion = nn.MSELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=options.lr)


def errors(loader, learn):
    found = []
    for small, large in loader:
        if learn:
            optimizer.zero_grad()
        error = criterion(model(small), large)
        if learn:
            error.backward()
            optimizer.step()
        found.append(error.item())
    return found


for epoch in range(1, options.epochs + 1):
    training = errors(train_loader, learn=True)
    print(f"epoch {epoch}: average loss {sum(training) / len(training):.4f}")
    with torch.no_grad():
        decibels = [10 * log10(1 / error) for error in errors(test_loader, learn=False)]
    psnr = sum(decibels) / len(decibels)
    print(f"epoch {epoch}: psnr {psnr:.4f}")
    torch.save(model, f"enlarger_{epoch}.pth")
