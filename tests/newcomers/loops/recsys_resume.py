import os
import random
import sys

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

CKPT = "ckpt/latest.tar"
SEED = int(os.environ.get("SEED", 3))


def set_seed(s):
    random.seed(s), np.random.seed(s), torch.manual_seed(s)


class Ratings(Dataset):
    def __init__(self, n_users, n_items, n, seed):
        g = np.random.default_rng(seed)
        p, q = np.random.default_rng(0).normal(size=(n_users, 4)), np.random.default_rng(1).normal(size=(n_items, 4))
        self.u, self.i = g.integers(0, n_users, n), g.integers(0, n_items, n)
        self.r = (p[self.u] * q[self.i]).sum(1) + 0.1 * g.normal(size=n)

    def __len__(self):
        return len(self.u)

    def __getitem__(self, k):
        return {"user": self.u[k], "item": self.i[k], "rating": np.float32(self.r[k])}


class MF(nn.Module):
    def __init__(self, n_users, n_items, k=8):
        super().__init__()
        self.user, self.item = nn.Embedding(n_users, k, sparse=True), nn.Embedding(n_items, k, sparse=True)
        self.bu, self.bi = nn.Embedding(n_users, 1), nn.Embedding(n_items, 1)
        for e in (self.user, self.item):
            nn.init.normal_(e.weight, std=0.3)

    def forward(self, user, item):
        return (self.user(user) * self.item(item)).sum(-1) + self.bu(user)[:, 0] + self.bi(item)[:, 0]


def rmse(model, loader):
    model.eval()
    se = n = 0
    with torch.no_grad():
        for b in loader:
            se += ((model(b["user"], b["item"]) - b["rating"]) ** 2).sum().item()
            n += len(b["rating"])
    return (se / n) ** 0.5


def main(argv):
    set_seed(SEED)
    train, valid = Ratings(40, 60, 1500, 2), Ratings(40, 60, 400, 3)
    sampler = WeightedRandomSampler(np.ones(len(train)), len(train))
    loaders = DataLoader(train, 50, sampler=sampler), DataLoader(valid, 200)
    model = MF(40, 60)
    sparse = torch.optim.SparseAdam([model.user.weight, model.item.weight], lr=0.02)
    dense = torch.optim.Adam([*model.bu.parameters(), *model.bi.parameters()], lr=0.02)
    start, best = 0, np.inf
    if "--resume" in argv and os.path.exists(CKPT):
        ck = torch.load(CKPT, weights_only=False)
        model.load_state_dict(ck["model"]), sparse.load_state_dict(ck["sparse"]), dense.load_state_dict(ck["dense"])
        start, best = ck["epoch"] + 1, ck["best"]
    os.makedirs(os.path.dirname(CKPT), exist_ok=True)
    for epoch in range(start, 4):
        model.train()
        for b in loaders[0]:
            loss = nn.functional.mse_loss(model(b["user"], b["item"]), b["rating"])
            sparse.zero_grad(), dense.zero_grad()
            loss.backward()
            sparse.step(), dense.step()
        score = rmse(model, loaders[1])
        print(f"epoch={epoch} train_loss={loss.item():.4f} val_rmse={score:.4f}", flush=True)
        best = min(best, score)
        torch.save({"model": model.state_dict(), "sparse": sparse.state_dict(), "dense": dense.state_dict(), "epoch": epoch, "best": best}, CKPT)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
