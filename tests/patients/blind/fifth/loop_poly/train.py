import argparse

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split


class PolyOptimizer(torch.optim.SGD):
    """SGD whose learning rates decay polynomially to zero."""

    def __init__(self, params, lr, weight_decay, max_step, momentum=0.9):
        super().__init__(params, lr, weight_decay)
        self.global_step = 0
        self.max_step = max_step
        self.exponent = momentum
        self.initial_lrs = [group["lr"] for group in self.param_groups]

    def step(self, closure=None):
        if self.global_step < self.max_step:
            factor = (1 - self.global_step / self.max_step) ** self.exponent
            for group, initial in zip(self.param_groups, self.initial_lrs):
                group["lr"] = initial * factor
        super().step(closure)
        self.global_step += 1


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU())
        self.head = nn.Linear(64, 10)

    def forward(self, x):
        return self.head(self.backbone(x))


def accuracy(model, x, y):
    model.eval()
    with torch.no_grad():
        result = (model(x).argmax(1) == y).float().mean().item()
    model.train()
    return result


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", default=0, type=int)
    parser.add_argument("--lr", default=0.01, type=float)
    parser.add_argument("--wt_dec", default=5e-4, type=float)
    parser.add_argument("--max_epoches", default=8, type=int)
    parser.add_argument("--batch_size", default=32, type=int)
    args = parser.parse_args()
    torch.manual_seed(args.seed)

    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    x_train, x_val, y_train, y_val = train_test_split(x, torch.tensor(y), test_size=0.3, random_state=args.seed)

    model = Net()
    max_step = len(x_train) // args.batch_size * args.max_epoches
    optimizer = PolyOptimizer(
        [
            {"params": model.backbone.parameters(), "lr": args.lr, "weight_decay": args.wt_dec},
            {"params": model.head.parameters(), "lr": 2 * args.lr, "weight_decay": args.wt_dec},
        ],
        lr=args.lr,
        weight_decay=args.wt_dec,
        max_step=max_step,
    )

    for ep in range(args.max_epoches):
        order = torch.randperm(len(x_train))
        for it in range(len(x_train) // args.batch_size):
            idx = order[it * args.batch_size : (it + 1) * args.batch_size]
            loss = F.cross_entropy(model(x_train[idx]), y_train[idx])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        print(f"ep {ep} loss {loss.item():.4f} val acc {accuracy(model, x_val, y_val):.3f}")
    return 1 - accuracy(model, x_val, y_val)


if __name__ == "__main__":
    score = main()
