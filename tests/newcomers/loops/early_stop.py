#!/usr/bin/env python3
import logging
import sys
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", handlers=[logging.StreamHandler(sys.stdout)])
log = logging.getLogger("train")


class EarlyStopping:
    """Stops the training when the validation loss has not improved for a while."""

    def __init__(self, patience=7, delta=0.0, path="checkpoint.pt"):
        self.patience, self.delta, self.path = patience, delta, path
        self.counter, self.best, self.early_stop = 0, None, False
        self.val_loss_min = np.inf

    def __call__(self, val_loss, model):
        score = -val_loss
        if self.best is None or score >= self.best + self.delta:
            self.best = score
            log.info(f"Validation loss decreased ({self.val_loss_min:.6f} --> {val_loss:.6f}).  Saving model ...")
            torch.save(model.state_dict(), self.path)
            self.val_loss_min = val_loss
            self.counter = 0
        else:
            self.counter += 1
            log.info(f"EarlyStopping counter: {self.counter} out of {self.patience}")
            self.early_stop = self.counter >= self.patience


class Net(nn.Module):
    def __init__(self, d_in, d_hidden=64):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(d_in, d_hidden), nn.BatchNorm1d(d_hidden), nn.ReLU(), nn.Dropout(0.1), nn.Linear(d_hidden, 1))

    def forward(self, x):
        return self.body(x)


def create_loaders(batch_size):
    x, y = load_diabetes(return_X_y=True)
    y = (y - y.mean()) / y.std()
    x_tr, x_te, y_tr, y_te = train_test_split(x, y, test_size=0.2, random_state=0)
    x_tr, x_va, y_tr, y_va = train_test_split(x_tr, y_tr, test_size=0.2, random_state=0)
    sc = StandardScaler().fit(x_tr)
    to = lambda a, b: TensorDataset(torch.tensor(sc.transform(a), dtype=torch.float32), torch.tensor(b, dtype=torch.float32)[:, None])
    return (DataLoader(to(x_tr, y_tr), batch_size, shuffle=True), DataLoader(to(x_va, y_va), batch_size), DataLoader(to(x_te, y_te), batch_size))


def train_model(model, train_loader, valid_loader, patience, n_epochs, ckpt):
    criterion = nn.MSELoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
    stopper = EarlyStopping(patience, path=ckpt)
    for epoch in range(1, n_epochs + 1):
        tr, va = [], []
        model.train()
        for data, target in train_loader:
            optimizer.zero_grad()
            loss = criterion(model(data), target)
            loss.backward()
            optimizer.step()
            tr.append(loss.item())
        model.eval()
        for data, target in valid_loader:
            va.append(criterion(model(data), target).item())
        log.info(f"[{epoch:>3}/{n_epochs}] train_loss: {np.average(tr):.5f} valid_loss: {np.average(va):.5f}")
        stopper(np.average(va), model)
        if stopper.early_stop:
            log.info("Early stopping")
            break
    model.load_state_dict(torch.load(ckpt))
    return model


def run_main():
    torch.manual_seed(7)
    out = Path("checkpoints")
    out.mkdir(exist_ok=True)
    train_loader, valid_loader, test_loader = create_loaders(32)
    model = train_model(Net(10), train_loader, valid_loader, patience=4, n_epochs=25, ckpt=out / "best.pt")
    model.eval()
    with torch.no_grad():
        mse = np.mean([nn.functional.mse_loss(model(d), t).item() for d, t in test_loader])
    log.info(f"Test MSE: {mse:.4f}")
    return mse


if __name__ == "__main__":
    sys.exit(0 if run_main() < 10 else 1)
