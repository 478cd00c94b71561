"""A regression of the box around a digit, in images that are flipped at random with their boxes."""

import torch
from torch.utils.data import Dataset, TensorDataset

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop, evaluate


def boxes(images):
    rows = images.reshape(-1, 8, 8) > 0.25
    found = []
    for seen in (rows.any(1), rows.any(2)):
        first = seen.int().argmax(1)
        last = 8 - seen.flip(1).int().argmax(1)
        found += [first, last]
    left, right, top, bottom = found
    return torch.stack([left, top, right, bottom], 1).float() / 8


class Flipped(Dataset):
    def __init__(self, images):
        self.images, self.boxes = images.reshape(-1, 8, 8), boxes(images)

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        image, box = self.images[index], self.boxes[index].clone()
        if torch.rand(()) < 0.5:
            image = image.flip(1)
            box[[2, 0]] = 1 - box[[0, 2]]
        return image.flatten(), box


def overlap(found, true):
    corners = torch.maximum(found[:, :2], true[:, :2]), torch.minimum(found[:, 2:], true[:, 2:])
    shared = (corners[1] - corners[0]).clamp(min=0).prod(1)
    sizes = [(box[:, 2:] - box[:, :2]).clamp(min=0).prod(1) for box in (found, true)]
    return shared / (sizes[0] + sizes[1] - shared).clamp(min=1e-6)


def objective(model, batch):
    images, true = batch
    return (model(images) - true).abs().mean()


def build():
    train_set, held_out = digits(600)
    model = Net(64, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    images = held_out.tensors[0]
    validation = batches(TensorDataset(images, boxes(images)), 128, False)
    return Loop(model, batches(Flipped(train_set.tensors[0])), objective, validation, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(6):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    return 1 - evaluate(parts.model, parts.validation, lambda found, true: overlap(found, true).mean())
