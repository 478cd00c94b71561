# %% [markdown]
# # Which regulariser helps on a small data set?

# %%
import random
from types import SimpleNamespace

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_wine
from sklearn.metrics import f1_score
from sklearn.model_selection import StratifiedShuffleSplit
from torch.utils.data import DataLoader, TensorDataset, WeightedRandomSampler

try:
    import matplotlib.pyplot as plt
except ImportError:
    plt = None

SEED = 2024
random.seed(SEED); np.random.seed(SEED); torch.manual_seed(SEED)
device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
device

# %%
cfg = SimpleNamespace(bs=16, epochs=6, lr=5e-3, hidden=24, drop=0.2)
X, y = load_wine(return_X_y=True)
train_idx, test_idx = next(StratifiedShuffleSplit(1, test_size=0.3, random_state=SEED).split(X, y))
mu, sd = X[train_idx].mean(0), X[train_idx].std(0)
X = ((X - mu) / sd).astype("float32")

train_ds = TensorDataset(torch.from_numpy(X[train_idx]), torch.from_numpy(y[train_idx]))
test_ds = TensorDataset(torch.from_numpy(X[test_idx]), torch.from_numpy(y[test_idx]))
counts = np.bincount(y[train_idx])
weights = 1.0 / counts[y[train_idx]]
train_dl = DataLoader(train_ds, cfg.bs, sampler=WeightedRandomSampler(weights, len(weights)))
test_dl = DataLoader(test_ds, 64)
xb, yb = next(iter(train_dl))
xb.shape, yb[:10]

# %%
def make_model(drop):
    return nn.Sequential(
        nn.Linear(13, cfg.hidden), nn.SiLU(), nn.Dropout(drop),
        nn.Linear(cfg.hidden, cfg.hidden), nn.SiLU(), nn.Dropout(drop),
        nn.Linear(cfg.hidden, 3),
    ).to(device)

model = make_model(cfg.drop)
print(model)
print("params:", sum(p.numel() for p in model.parameters()))

# %%
opt = torch.optim.NAdam(model.parameters(), lr=cfg.lr)
sched = torch.optim.lr_scheduler.OneCycleLR(opt, max_lr=cfg.lr, epochs=cfg.epochs, steps_per_epoch=len(train_dl))
history = {"train": [], "test": [], "f1": []}

def mixup(x, y, alpha=0.2):
    lam = float(np.random.beta(alpha, alpha))
    perm = torch.randperm(len(x))
    return lam * x + (1 - lam) * x[perm], y, y[perm], lam

# %%
for epoch in range(cfg.epochs):
    model.train()
    tot = 0
    for xb, yb in train_dl:
        xb, yb = xb.to(device), yb.to(device)
        xm, ya, yc, lam = mixup(xb, yb)
        out = model(xm)
        loss = lam * F.cross_entropy(out, ya) + (1 - lam) * F.cross_entropy(out, yc)
        opt.zero_grad(); loss.backward(); opt.step(); sched.step()
        tot += loss.item() * len(xb)
    model.eval()
    preds, tl = [], 0
    with torch.no_grad():
        for xb, yb in test_dl:
            out = model(xb.to(device)).cpu()
            tl += F.cross_entropy(out, yb, reduction="sum").item()
            preds.append(out.argmax(1))
    preds = torch.cat(preds)
    f1 = f1_score(y[test_idx], preds, average="macro")
    history["train"].append(tot / len(train_ds)); history["test"].append(tl / len(test_ds)); history["f1"].append(f1)
    print(f"Epoch {epoch + 1:02d} | train {history['train'][-1]:.4f} | test {history['test'][-1]:.4f} | F1 {f1:.3f}")

# %%
if plt is not None:
    plt.plot(history["train"], label="train"); plt.plot(history["test"], label="test"); plt.legend(); plt.savefig("curves.png")

# %%
# What does the model get wrong?
wrong = (preds.numpy() != y[test_idx]).nonzero()[0]
print(f"{len(wrong)} wrong, final F1: {history['f1'][-1]:.4f}")
torch.save(model, "wine_model.pth")
