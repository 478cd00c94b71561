"""Rare event detection: 10 % positives, oversampled until both classes have the same size."""

import argparse

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from sklearn.metrics import balanced_accuracy_score
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--epochs", type=int, default=80)
args = parser.parse_args()

rng = np.random.default_rng(args.seed)
torch.manual_seed(args.seed)


def oversample(rows, labels):
    pos, neg = np.flatnonzero(labels == 1), np.flatnonzero(labels == 0)
    extra = rng.choice(pos, len(neg) - len(pos))
    keep = rng.permutation(np.concatenate([pos, neg, extra]))
    return rows[keep], labels[keep]


digits, target = load_digits(return_X_y=True)
features = (digits[:, 16:24] / 16).astype("float32")  # the sensor sees one row only
is_event = (target == 8).astype("int64")

# the rest is only touched at the very end
X, X_future, y, y_future = train_test_split(
    features, is_event, test_size=0.4, stratify=is_event, random_state=args.seed
)

X, y = oversample(X, y)
X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=args.seed)

print("train:", np.bincount(y_train), "test:", np.bincount(y_test))

net = nn.Sequential(nn.Linear(8, 256), nn.ReLU(), nn.Linear(256, 128), nn.ReLU(), nn.Linear(128, 2))
opt = torch.optim.Adam(net.parameters(), lr=3e-3)
loss_fn = nn.CrossEntropyLoss()
loader = DataLoader(TensorDataset(torch.from_numpy(X_train), torch.from_numpy(y_train)), batch_size=64, shuffle=True)

for epoch in range(args.epochs):
    net.train()
    total = 0.0
    for xb, yb in loader:
        opt.zero_grad()
        loss = loss_fn(net(xb), yb)
        loss.backward()
        opt.step()
        total += loss.item() * len(xb)
    if epoch % 20 == 19:
        print(f"epoch {epoch + 1}: loss {total / len(X_train):.4f}")


def evaluate(rows, labels):
    net.eval()
    with torch.no_grad():
        predicted = net(torch.from_numpy(rows)).argmax(1).numpy()
    return balanced_accuracy_score(labels, predicted)


reported = evaluate(X_test, y_test)
later = evaluate(X_future, y_future)
print(f"balanced accuracy on the test set: {reported:.3f}")
print(f"balanced accuracy on data that came in later: {later:.3f}")
score = abs(reported - later)
