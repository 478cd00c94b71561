"""Classifies digits with skorch's NeuralNetClassifier and predicts with it.

After https://github.com/skorch-dev/skorch/blob/master/examples/benchmarks/mnist.py. Kept: a network that ends in a
softmax, Adadelta, skorch's own split for validation, EpochScoring on the training data, and a score of the predictions
by scikit-learn. Changed: the digits of scikit-learn instead of MNIST, a smaller network, and no second training by a
loop of its own to compare with.
"""

import argparse

import torch
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from sklearn.model_selection import train_test_split
from skorch import NeuralNetClassifier
from skorch.callbacks import EpochScoring
from torch import nn


class Classifier(nn.Module):
    def __init__(self, width=8):
        super().__init__()
        self.convolutions = nn.Sequential(nn.Conv2d(1, width, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25))
        self.out = nn.Sequential(
            nn.Linear(9 * width, 32), nn.ReLU(), nn.Dropout(0.5), nn.Linear(32, 10), nn.Softmax(dim=-1)
        )

    def forward(self, X):  # noqa: N803, skorch's name
        return self.out(self.convolutions(X).flatten(1))


def main(samples, epochs):
    torch.manual_seed(0)
    images, digits = load_digits(return_X_y=True)
    images = images.astype("float32").reshape(-1, 1, 8, 8) / 16
    parts = train_test_split(images[:samples], digits[:samples], stratify=digits[:samples], random_state=0)
    images, test_images, digits, test_digits = parts
    net = NeuralNetClassifier(
        Classifier,
        max_epochs=epochs,
        batch_size=64,
        lr=0.5,
        optimizer=torch.optim.Adadelta,
        callbacks=[("fit", EpochScoring("accuracy", lower_is_better=False, on_train=True, name="train_acc"))],
    )
    net.fit(images, digits)
    return accuracy_score(test_digits, net.predict(test_images))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=900)
    parser.add_argument("--epochs", type=int, default=3)
    options = parser.parse_args()
    score = main(options.samples, options.epochs)
    print(f"score: {score:.4f}")
