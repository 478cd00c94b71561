import argparse
import copy

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split


class EarlyStopping:
    def __init__(self, model, patience=10, min_delta=0.0):
        self.model = model
        self.patience = patience
        self.min_delta = min_delta
        self.best_loss = np.inf
        self.best_weights = None
        self.wait = 0
        self.stopped = False

    def on_epoch_end(self, loss):
        if loss < self.best_loss - self.min_delta:
            self.best_loss = loss
            self.best_weights = copy.deepcopy(self.model.state_dict())
            self.wait = 0
        else:
            self.wait += 1
            if self.wait >= self.patience:
                self.stopped = True
                self.model.load_state_dict(self.best_weights)

    def on_train_end(self):
        if self.stopped:
            print("early stopping")
        print(f"best validation loss {self.best_loss:.3f}")


class Trainer:
    def __init__(self, model, lr, patience):
        self.model = model
        self.optimizer = torch.optim.Adam(model.parameters(), lr=lr)
        self.loss_fn = nn.MSELoss()
        self.stopping = EarlyStopping(model, patience)

    def evaluate(self, loader):
        self.model.eval()
        total = 0.0
        with torch.no_grad():
            for x, y in loader:
                total += self.loss_fn(self.model(x).squeeze(-1), y).item() * len(y)
        return total / len(loader.dataset)

    def fit(self, train_loader, val_loader, epochs):
        for epoch in range(epochs):
            self.model.train()
            for x, y in train_loader:
                self.optimizer.zero_grad()
                loss = self.loss_fn(self.model(x).squeeze(-1), y)
                loss.backward()
                self.optimizer.step()
            val_loss = self.evaluate(val_loader)
            self.stopping.on_epoch_end(val_loss)
            if epoch % 20 == 0:
                print(f"epoch {epoch} train {loss.item():.3f} val {val_loss:.3f}")
            if self.stopping.stopped:
                break
        self.stopping.on_train_end()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--epochs", type=int, default=100)
    parser.add_argument("--patience", type=int, default=100)
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    x, y = load_diabetes(return_X_y=True)
    x = torch.tensor(x / x.std(axis=0), dtype=torch.float32)
    y = torch.tensor((y - y.mean()) / y.std(), dtype=torch.float32)
    train, val, test = random_split(TensorDataset(x, y), [212, 90, 140])
    model = nn.Sequential(nn.Linear(10, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, 1))
    trainer = Trainer(model, args.lr, args.patience)
    trainer.fit(DataLoader(train, 32, shuffle=True), DataLoader(val, 128), args.epochs)
    test_loss = trainer.evaluate(DataLoader(test, 128))
    print(f"test loss {test_loss:.3f}")
    return test_loss


if __name__ == "__main__":
    score = main()
