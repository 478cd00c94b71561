from itertools import pairwise

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

EPOCHS = 25


class MultiLayerPerceptron(nn.Module):
    def __init__(self, input_dim, embed_dims, output_dim, dropout):
        super().__init__()
        dims = [input_dim, *embed_dims]
        self.layers = nn.ModuleList([nn.Linear(n_in, n_out) for n_in, n_out in pairwise(dims)])
        self.norms = nn.ModuleList([nn.LayerNorm(n_out) for n_out in embed_dims])
        self.output = nn.Linear(dims[-1], output_dim)
        self.dropout = dropout

    def forward(self, x):
        for layer, norm in zip(self.layers, self.norms):
            x = F.relu(norm(layer(x)))
            x = F.dropout(x, p=self.dropout)
        return self.output(x)


def load_data(seed):
    x, y = load_digits(return_X_y=True)
    x = torch.tensor(x / 16, dtype=torch.float32)
    return train_test_split(x, torch.tensor(y), test_size=0.3, random_state=seed)


def train_epoch(model, optimizer, loader, criterion):
    model.train()
    total = 0
    for x, target in loader:
        loss = criterion(model(x), target)
        model.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


def evaluate(model, loader):
    model.eval()
    hits = 0
    with torch.no_grad():
        for x, target in loader:
            hits += (model(x).argmax(1) == target).sum().item()
    return hits / len(loader.dataset)


def main(seed=0):
    torch.manual_seed(seed)
    x_train, x_test, y_train, y_test = load_data(seed)
    train_loader = DataLoader(TensorDataset(x_train, y_train), batch_size=64, shuffle=True)
    test_loader = DataLoader(TensorDataset(x_test, y_test), batch_size=256)
    model = MultiLayerPerceptron(64, (48, 48), 10, dropout=0.5)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-6)
    for epoch in range(EPOCHS):
        loss = train_epoch(model, optimizer, train_loader, criterion)
        if epoch % 5 == 4:
            print("epoch:", epoch + 1, "train loss:", round(loss, 4), "test accuracy:", evaluate(model, test_loader))
    accuracy = evaluate(model, test_loader)
    print("final test accuracy:", accuracy)
    return 1 - accuracy


if __name__ == "__main__":
    score = main()
