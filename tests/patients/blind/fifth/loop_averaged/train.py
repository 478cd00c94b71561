import copy

import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)

EPOCHS = 14
AVERAGE_FROM = 8

images = load_digits().images / 16
targets = load_digits().target
x_train, x_test, y_train, y_test = train_test_split(images, targets, test_size=0.3, random_state=1)


def dataset(x, y):
    return TensorDataset(torch.tensor(x, dtype=torch.float32).unsqueeze(1), torch.tensor(y))


train_loader = DataLoader(dataset(x_train, y_train), batch_size=64, shuffle=True)
test_loader = DataLoader(dataset(x_test, y_test), batch_size=128)


def block(n_in, n_out):
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, padding=1, bias=False), nn.BatchNorm2d(n_out), nn.ReLU())


def make_net():
    return nn.Sequential(
        block(1, 16),
        block(16, 32),
        nn.MaxPool2d(2),
        block(32, 32),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def average(snapshots):
    """Stochastic weight averaging: a net whose weights are the mean of those of the snapshots."""
    net = make_net()
    with torch.no_grad():
        for name, param in net.named_parameters():
            param.copy_(torch.stack([snapshot[name] for snapshot in snapshots]).mean(0))
    return net


@torch.no_grad()
def test(net, name):
    net.eval()
    correct = sum((net(x).argmax(1) == y).sum().item() for x, y in test_loader)
    print(f"{name}: test accuracy {correct / len(y_test):.3f}")
    return correct / len(y_test)


net = make_net()
optimizer = torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)
criterion = nn.CrossEntropyLoss()
snapshots = []

for epoch in range(EPOCHS):
    net.train()
    for x, y in train_loader:
        optimizer.zero_grad()
        loss = criterion(net(x), y)
        loss.backward()
        optimizer.step()
    if epoch >= AVERAGE_FROM:
        snapshots.append(copy.deepcopy(net.state_dict()))

averaged = average(snapshots)
test(net, "last epoch")
score = 1 - test(averaged, "averaged")
