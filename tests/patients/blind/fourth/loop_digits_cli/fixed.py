import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, TensorDataset


def get_args():
    parser = argparse.ArgumentParser(description="digits classification")
    parser.add_argument("-b", "--batch-size", default=32, type=int)
    parser.add_argument("--lr", "--learning-rate", default=0.01, type=float)
    parser.add_argument("--lr-gamma", default=0.001, type=float)
    parser.add_argument("--lr-decay", default=0.75, type=float)
    parser.add_argument("--momentum", default=0.9, type=float)
    parser.add_argument("--wd", "--weight-decay", default=1e-3, type=float)
    parser.add_argument("--epochs", default=10, type=int)
    parser.add_argument("--seed", default=0, type=int)
    return parser.parse_args()


class ImageClassifier(nn.Module):
    def __init__(self, bottleneck=64):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU()
        )
        self.bottleneck = nn.Linear(32 * 16, bottleneck)
        self.head = nn.Linear(bottleneck, 10)

    def forward(self, x):
        f = self.backbone(x).flatten(1)
        return self.head(F.relu(self.bottleneck(f)))


def make_optimizer(model, args):
    optimizer = SGD(model.parameters(), args.lr, momentum=args.momentum, weight_decay=args.wd, nesterov=True)
    scheduler = LambdaLR(optimizer, lambda x: (1.0 + args.lr_gamma * float(x)) ** (-args.lr_decay))
    return optimizer, scheduler


def train(loader, model, optimizer, scheduler, epoch):
    model.train()
    losses = []
    for x, labels in loader:
        loss = F.cross_entropy(model(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    print(f"Epoch: [{epoch}] Loss {sum(losses) / len(losses):.4f}")


def validate(loader, model):
    model.eval()
    loss = correct = 0
    with torch.no_grad():
        for x, labels in loader:
            output = model(x)
            loss += F.cross_entropy(output, labels, reduction="sum").item()
            correct += (output.argmax(1) == labels).sum().item()
    n = len(loader.dataset)
    print(f" * Acc@1 {100 * correct / n:.2f} Loss {loss / n:.4f}")
    return loss / n


def main(args):
    torch.manual_seed(args.seed)
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32).view(-1, 1, 8, 8)
    x_train, x_val, y_train, y_val = train_test_split(x, torch.tensor(y), test_size=0.25, random_state=args.seed)
    train_loader = DataLoader(TensorDataset(x_train, y_train), args.batch_size, shuffle=True, drop_last=True)
    val_loader = DataLoader(TensorDataset(x_val, y_val), args.batch_size)

    model = ImageClassifier()
    optimizer, scheduler = make_optimizer(model, args)
    for epoch in range(args.epochs):
        train(train_loader, model, optimizer, scheduler, epoch)
        loss = validate(val_loader, model)
    return loss


if __name__ == "__main__":
    score = main(get_args())
