"""Language models trained by a loop: healthy ones, and ill ones whose labels are shifted twice."""

from __future__ import annotations

from tests.patients.loop_scripts import Ill

_TEXT = """\
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

torch.manual_seed(0)
start, pace = torch.randint(2, 29, (320, 1)), torch.randint(1, 4, (320, 1))
text = (start + pace * torch.arange(12)) % 29 + 1


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.tokens = nn.Embedding(30, 24)
        self.cells = nn.GRU(24, 48, batch_first=True)
        self.head = nn.Linear(48, 30)

    def forward(self, ids):
        return self.head(self.cells(self.tokens(ids))[0])


"""

BY_THE_DATA = (
    _TEXT
    + """\
def collate(rows):
    ids = torch.stack(rows)
    return ids[:, :-1], ids[:, 1:]


model = Model()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(6):
    for ids, labels in DataLoader(list(text), batch_size=16, shuffle=True, collate_fn=collate):
        optimizer.zero_grad()
        logits = model(ids)
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())
        loss.backward()
        optimizer.step()
"""
)

BY_THE_MODEL = (
    _TEXT
    + """\
class WithLoss(Model):
    def forward(self, input_ids, labels):
        logits = super().forward(input_ids)
        return F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:])


def collate(rows):
    ids = torch.stack(rows)
    ids[:, 9:] = torch.where(ids[:, :1] % 2 == 0, 0, ids[:, 9:])
    labels = ids.masked_fill(ids == 0, -100)
    labels[:, :2] = -100
    return {"input_ids": ids, "labels": labels}


model = WithLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
for epoch in range(6):
    for batch in DataLoader(list(text), batch_size=16, shuffle=True, collate_fn=collate):
        optimizer.zero_grad()
        loss = model(**batch)
        loss.backward()
        optimizer.step()
"""
)

_LOSS = "        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())\n"
_AGAIN = "        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())\n"
_MASKED = "    labels[:, :2] = -100\n"

ILL = (
    Ill(
        "shifted-by-the-data-and-the-loss",
        BY_THE_DATA,
        [(_LOSS, _AGAIN)],
        "shifted twice.*token 2 ahead.*when they are made",
        "Shift once",
    ),
    Ill(
        "shifted-by-the-data-and-the-model",
        BY_THE_MODEL,
        [(_MASKED, _MASKED + "    labels = torch.cat([labels[:, 1:], torch.full_like(labels[:, :1], -100)], 1)\n")],
        "shifted twice.*is given are shifted already",
        "Shift once",
    ),
    Ill(
        "shifted-by-data-that-is-cut-and-the-model",
        BY_THE_MODEL,
        [('"input_ids": ids, "labels": labels}', '"input_ids": ids[:, :-1], "labels": labels[:, 1:]}')],
        "shifted twice.*is given are shifted already",
        "Shift once",
    ),
)

HEALTHY = {
    "shifted-by-the-data": BY_THE_DATA,
    "shifted-by-the-loss": BY_THE_DATA.replace("return ids[:, :-1], ids[:, 1:]", "return ids, ids").replace(
        _LOSS, _AGAIN
    ),
    "shifted-by-the-model": BY_THE_MODEL,
    "two-heads": BY_THE_DATA.replace(
        _LOSS,
        "        further = F.cross_entropy(second(logits)[:, :-1].flatten(0, 1), labels[:, 1:].flatten())\n"
        + _LOSS.replace("loss =", "loss = 0.3 * further +"),
    ).replace("model = Model()\n", "model, second = Model(), nn.Linear(30, 30)\n").replace(
        "(model.parameters()", "([*model.parameters(), *second.parameters()]"
    ),
    "hidden-tokens": BY_THE_DATA.replace("return ids[:, :-1], ids[:, 1:]", (
        "labels = ids.clone()\n    hidden = torch.rand(ids.shape) < 0.3\n"
        "    return ids.masked_fill(hidden, 0), labels"
    )).replace("nn.GRU(24, 48, batch_first=True)", "nn.GRU(24, 24, batch_first=True, bidirectional=True)"),
}  # fmt: skip
