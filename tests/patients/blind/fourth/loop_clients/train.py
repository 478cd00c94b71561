import copy

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Subset, TensorDataset

args = {
    "n_clients": 3,
    "rounds": 6,
    "local_epochs": 2,
    "batch_size": 16,
    "lr": 0.1,
    "gamma": 0.97,
    "seed": 0,
}


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x):
        return self.fc2(F.relu(self.fc1(x)))


def train_model(model, loader, loss_fn, optimizer, scheduler, epochs):
    model.train()
    for _ in range(epochs):
        for data, label in loader:
            optimizer.zero_grad()
            pred = model(data)
            loss_fn(pred, label).backward()

        optimizer.step()
        scheduler.step()
    return model


def evaluate(model, loader):
    model.eval()
    correct = 0
    with torch.no_grad():
        for data, label in loader:
            correct += (model(data).argmax(1) == label).sum().item()
    return correct / len(loader.dataset)


def average(models):
    state = copy.deepcopy(models[0].state_dict())
    for key in state:
        state[key] = torch.stack([model.state_dict()[key] for model in models]).mean(0)
    return state


class Client:
    def __init__(self, dataset):
        self.loader = DataLoader(dataset, batch_size=args["batch_size"], shuffle=True)
        self.model = MLP()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=args["lr"])
        self.scheduler = torch.optim.lr_scheduler.ExponentialLR(self.optimizer, gamma=args["gamma"])

    def update(self, state):
        self.model.load_state_dict(state)
        train_model(
            self.model, self.loader, nn.CrossEntropyLoss(), self.optimizer, self.scheduler, args["local_epochs"]
        )
        return self.model


if __name__ == "__main__":
    torch.manual_seed(args["seed"])
    np.random.seed(args["seed"])
    x, y = load_digits(return_X_y=True)
    dataset = TensorDataset(torch.tensor(x / 16, dtype=torch.float32), torch.tensor(y))
    order = np.random.permutation(len(dataset))
    test_loader = DataLoader(Subset(dataset, order[1440:]), batch_size=128)
    clients = [Client(Subset(dataset, part)) for part in np.array_split(order[:1440], args["n_clients"])]

    server = MLP()
    for r in range(args["rounds"]):
        updated = [client.update(server.state_dict()) for client in clients]
        server.load_state_dict(average(updated))
        print(f"round {r}: test accuracy {evaluate(server, test_loader):.3f}")
    score = 1 - evaluate(server, test_loader)
