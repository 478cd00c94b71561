"""Learns whether two images show the same digit, with one network for both.

After https://github.com/pytorch/examples/blob/main/siamese_network/main.py. Kept: pairs drawn at random while loading,
one encoder called for each image, a sigmoid with BCELoss, Adadelta stepped per batch and StepLR per epoch. Changed: the
digits of scikit-learn instead of MNIST, a small network instead of ResNet-18, pairs drawn by torch's generator, and a
class that holds both loaders and the loss.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Dataset


class DigitPairs(Dataset):
    def __init__(self, images, digits, count):
        self.images, self.digits, self.count = images, digits, count
        self.members = [torch.nonzero(digits == digit).flatten() for digit in range(10)]

    def __len__(self):
        return self.count

    def draw(self, digit):
        choices = self.members[digit]
        return self.images[choices[torch.randint(len(choices), ())]]

    def __getitem__(self, number):
        first = int(torch.randint(10, ()))
        alike = number % 2
        second = first if alike else (first + int(torch.randint(1, 10, ()))) % 10
        return self.draw(first), self.draw(second), torch.tensor(float(alike))


class Twin(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
        )
        self.compare = nn.Sequential(nn.Linear(2 * width * 16, 32), nn.ReLU(inplace=True), nn.Linear(32, 1))
        self.compare.apply(self.start)

    @staticmethod
    def start(layer):
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            layer.bias.data.fill_(0.01)

    def forward(self, left, right):
        both = torch.cat([self.encoder(left), self.encoder(right)], dim=1)
        return torch.sigmoid(self.compare(both))


class Experiment:
    def __init__(self, options):
        data = load_digits()
        images = torch.tensor(data.images, dtype=torch.float32).unsqueeze(1) / 16
        digits = torch.tensor(data.target)
        self.options = options
        self.training = DataLoader(DigitPairs(images[:1200], digits[:1200], 640), options.batch_size)
        self.held_out = DataLoader(DigitPairs(images[1200:], digits[1200:], 200), 100)
        self.model = Twin(options.width)
        self.loss = nn.BCELoss()
        self.optimizer = torch.optim.Adadelta(self.model.parameters(), lr=options.lr)
        self.schedule = torch.optim.lr_scheduler.StepLR(self.optimizer, step_size=1, gamma=options.gamma)

    def epoch(self):
        self.model.train()
        for left, right, alike in self.training:
            self.optimizer.zero_grad()
            loss = self.loss(self.model(left, right).squeeze(), alike)
            loss.backward()
            self.optimizer.step()
        return loss.item()

    @torch.no_grad()
    def test(self):
        self.model.eval()
        right_ones = 0
        for left, right, alike in self.held_out:
            right_ones += ((self.model(left, right).squeeze() > 0.5) == alike.bool()).sum().item()
        return right_ones / len(self.held_out.dataset)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--lr", type=float, default=1.0)
    parser.add_argument("--gamma", type=float, default=0.7)
    parser.add_argument("--width", type=int, default=8)
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    torch.manual_seed(1)
    experiment = Experiment(options)
    for number in range(options.epochs):
        loss = experiment.epoch()
        print(f"Epoch {number}: loss {loss:.4f}, accuracy {experiment.test():.4f}")
        experiment.schedule.step()
    if options.save:
        torch.save(experiment.model.state_dict(), "siamese.pt")


if __name__ == "__main__":
    main()
