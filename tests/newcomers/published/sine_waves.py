"""Continues sine waves with two LSTM cells, trained by L-BFGS on all data at once.

After https://github.com/pytorch/examples/blob/main/time_sequence_prediction/train.py. Kept: two cells and a linear
head, double precision, a closure for L-BFGS that calculates the loss several times in a step, no loader, and an
evaluation without `model.eval()`. Changed: waves made on the spot, smaller cells, states held in a list, the closure
made by a function, and no plots.
"""

import argparse

import torch
from torch import nn


class Forecaster(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.size = size
        self.cells = nn.ModuleList([nn.LSTMCell(1, size), nn.LSTMCell(size, size)])
        self.head = nn.Linear(size, 1)

    def advance(self, value, states):
        for number, cell in enumerate(self.cells):
            states[number] = cell(value, states[number])
            value = states[number][0]
        return self.head(value)

    def forward(self, series, ahead=0):
        empty = series.new_zeros(len(series), self.size)
        states = [(empty, empty), (empty, empty)]
        found = [self.advance(value, states) for value in series.split(1, dim=1)]
        for _ in range(ahead):
            found.append(self.advance(found[-1], states))
        return torch.cat(found, dim=1)


def waves(count, length, period=12):
    starts = torch.randint(-4 * period, 4 * period, (count, 1))
    return torch.sin((torch.arange(length) + starts) / period).double()


def closure_for(model, optimizer, criterion, series):
    def closure():
        optimizer.zero_grad()
        loss = criterion(model(series[:, :-1]), series[:, 1:])
        loss.backward()
        return loss

    return closure


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--size", type=int, default=12)
    options = parser.parse_args()
    torch.manual_seed(0)
    series = waves(24, 50)
    training, held_out = series[4:], series[:4]
    model = Forecaster(options.size).double()
    criterion = nn.MSELoss()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.8, max_iter=8)
    for step in range(options.steps):
        loss = optimizer.step(closure_for(model, optimizer, criterion, training))
        with torch.no_grad():
            continued = model(held_out[:, :-1], ahead=20)
            test_loss = criterion(continued[:, :-20], held_out[:, 1:])
        print(f"step {step}: loss {loss.item():.6f}, test loss {test_loss.item():.6f}")


if __name__ == "__main__":
    main()
