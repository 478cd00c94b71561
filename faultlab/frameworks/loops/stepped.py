"""What optimizers have stepped in an observed run, and which of them are one training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch

from faultlab.frameworks.loops.layout import Layout


@dataclass(frozen=True)
class Seen:
    """One training of several: its layout, and how many steps one of its optimizers took at most."""

    layout: Layout
    updates: int

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        return {"layout": self.layout.to_json(), "updates": self.updates}

    @classmethod
    def from_json(cls, data: Any) -> Seen:
        """Return what the data that `to_json` returned describes."""
        return cls(Layout.from_json(data["layout"]), data["updates"])


@dataclass
class Stepped:
    """The steps of an optimizer, or of several that train together.

    ``first`` and ``last`` are numbers among the steps of all optimizers, ``existing`` is how many modules had been made
    before the first. ``held`` has the parameters by id, with their sizes, ``batches`` how many batches of each loader
    were learnt from, ``updates`` the most steps of one optimizer.
    """

    first: int
    existing: int
    trainer: str = ""
    last: int = 0
    updates: int = 0
    held: dict[int, int] = field(default_factory=dict)
    batches: Counter[str] = field(default_factory=Counter)

    def step(self, optimizer: torch.optim.Optimizer, number: int, batches: Counter[str]) -> None:
        """Note a step, and the batches since the step before it."""
        self.last, self.updates = number, self.updates + 1
        self.batches += batches
        for group in optimizer.param_groups:
            self.held.update({id(parameter): parameter.numel() for parameter in group["params"]})


def together(several: list[Stepped]) -> Stepped:
    """Return the steps of several optimizers as those of one."""
    whole = Stepped(min(one.first for one in several), min(one.existing for one in several), several[0].trainer)
    for one in several:
        whole.last, whole.updates = max(whole.last, one.last), max(whole.updates, one.updates)
        whole.batches += one.batches
        whole.held.update(one.held)
    return whole


def in_turn(stepped: Iterable[Stepped]) -> list[Stepped]:
    """Return the trainings that follow each other: optimizers that step by turns, or then the same, are one."""
    found: list[Stepped] = []
    for one in sorted(stepped, key=lambda one: one.first):
        joined = [other for other in found if one.first <= other.last]
        if not joined and found and one.held.keys() & found[-1].held.keys():
            joined = found[-1:]
        found = [other for other in found if all(other is not part for part in joined)] + [together([*joined, one])]
    return found
