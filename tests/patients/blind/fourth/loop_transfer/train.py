import argparse
import os
import tempfile

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def build_encoder():
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 16),
        nn.ReLU(),
    )


class Net(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.encoder = build_encoder()
        self.head = nn.Linear(16, classes)

    def forward(self, x):
        return self.head(self.encoder(x))


def run_epochs(model, loader, epochs, lr):
    params = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(params, lr=lr)
    criterion = nn.CrossEntropyLoss()
    for epoch in range(epochs):
        model.train()
        running = 0.0
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
            running += loss.item()
        if epoch % 5 == 0:
            print(f"  epoch {epoch}: loss {running / len(loader):.4f}")


def pretrain(x, y, path, args):
    model = nn.DataParallel(Net(classes=10))
    print("pretraining")
    run_epochs(model, DataLoader(TensorDataset(x, y), 64, shuffle=True), args.pretrain_epochs, 1e-3)
    torch.save({"model": model.state_dict(), "epoch": args.pretrain_epochs}, path)


def finetune(x, y, path, args):
    model = Net(classes=2)
    weights = torch.load(path, weights_only=True)["model"]
    weights = {k: v for k, v in weights.items() if "head" not in k}
    model.load_state_dict(weights, strict=False)
    for p in model.encoder.parameters():
        p.requires_grad = False
    print("fine-tuning")
    run_epochs(model, DataLoader(TensorDataset(x, y), 16, shuffle=True), args.epochs, 5e-3)
    return model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--pretrain-epochs", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--labels", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    digits = load_digits()
    x = torch.tensor(digits.images / 16, dtype=torch.float32).unsqueeze(1)
    y = torch.tensor(digits.target)

    x_train, x_test, y_train, y_test = train_test_split(x, y, test_size=0.3, stratify=y, random_state=args.seed)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "pretrained.pth")
        pretrain(x_train, y_train, path, args)
        model = finetune(x_train[: args.labels], y_train[: args.labels] % 2, path, args)

    model.eval()
    with torch.no_grad():
        accuracy = (model(x_test).argmax(1) == y_test % 2).float().mean().item()
    print(f"odd or even from {args.labels} labels: accuracy {accuracy:.3f}")
    return 1 - accuracy


if __name__ == "__main__":
    score = main()
