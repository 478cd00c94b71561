"""A language model of letters that two processes train, with a loss per token of the whole batch."""

import torch
import torch.distributed as dist
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from benchmarks.realbugs.material import PAD, LetterModel, batches, text
from benchmarks.realbugs.ranks import WORLD, together
from benchmarks.realbugs.training import Loop


def token_losses(model, rows):
    logits = model(rows[:, :-1])
    return F.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten(), ignore_index=PAD, reduction="none")


def objective(model, rows):
    return token_losses(model, rows).sum() / (rows[:, 1:] != PAD).sum()


def build():
    model = LetterModel(24)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    return Loop(model, batches(text()[:480], 32, False), objective, optimizer=optimizer)


def gradient(model):
    return torch.cat([one.grad.flatten() for one in model.parameters()])


def train(parts):
    def work(rank):
        wrapped = DistributedDataParallel(parts.model)
        wrapped.train()
        deviation = None
        for rows in parts.loader:
            if deviation is None:
                objective(parts.model, rows).backward()
                true = gradient(parts.model)
            parts.optimizer.zero_grad()
            mine = rows[rank::WORLD]
            losses = token_losses(wrapped, mine)
            tokens = (mine[:, 1:] != PAD).sum()
            dist.all_reduce(tokens)
            loss = losses.sum() * WORLD / tokens
            loss.backward()
            if deviation is None:
                deviation = float((gradient(parts.model) - true).norm() / true.norm())
            parts.optimizer.step()
        return deviation

    parts.kept["deviation"] = together(work)


def measure(parts):
    return parts.kept["deviation"]
