"""A classifier of digits in mixed precision, by a mode of its own that casts what goes into matrix products."""

import torch
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.training import Loop

SYMBOLS = {F.linear, torch.matmul}
PRIMITIVES = {torch.addmm, torch.mm}


class Mixed(TorchFunctionMode):
    """Casts the inputs of matrix products to bfloat16."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in SYMBOLS | PRIMITIVES:
            args = [one.bfloat16() if isinstance(one, torch.Tensor) else one for one in args]
        return function(*args, **(kwargs or {}))


class Classifier(nn.Module):
    """A perceptron whose first layer is one operation: a product to which a bias is added."""

    def __init__(self, width=256):
        super().__init__()
        self.into = nn.Linear(64, width)
        self.between = nn.Linear(width, width)
        self.head = nn.Linear(width, 10)

    def forward(self, images):
        hidden = torch.relu(torch.addmm(self.into.bias, images, self.into.weight.t()))
        return self.head(torch.relu(self.between(hidden)))


def objective(model, batch):
    images, labels = batch
    with Mixed():
        logits = model(images)
    return F.cross_entropy(logits.float(), labels)


def build():
    train_set, held_out = digits()
    model = Classifier()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.001)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), 10, optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(2):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    """Return the size of what the forward pass keeps for the backward pass."""
    sizes = []

    def keep(tensor):
        if tensor.ndim == 2:
            sizes.append(tensor.numel() * tensor.element_size())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        objective(parts.model, next(iter(parts.validation)))
    return sum(sizes) / 2**20
