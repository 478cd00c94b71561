"""One ill training: the thread, the script with the places that differ, and what a right diagnosis says."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from faultlab.doctor.finding import OK, WRONG, Finding

_HEAD = """\
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset


def regression(n=128):
    x = torch.randn(n, 4, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x.sum(1, keepdim=True))


def classes(n=128):
    x = torch.randn(n, 8, generator=torch.Generator().manual_seed(0))
    return TensorDataset(x, x[:, :3].argmax(1))

"""

ADAM = """
    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)

"""


@dataclass(frozen=True)
class Patient:
    """A script with ``{NAME}`` where the ill one differs from the healthy one; ``places`` has (ill, healthy) for each.

    ``cause`` and ``remedy`` are patterns that one finding of the doctor's has to match in its text, both.
    """

    name: str
    thread: str
    source: str
    places: Mapping[str, tuple[str, str]]
    cause: str
    remedy: str
    check: str = ""

    def script(self, healthy: bool) -> str:
        text = self.source
        for name, pair in self.places.items():
            text = text.replace("{" + name + "}", pair[healthy])
        return _HEAD + text

    def diagnosed(self, found: Sequence[Finding]) -> bool:
        """Whether some finding names the cause and a remedy that heals it."""
        return any(self._right(one) for one in found)

    def _right(self, one: Finding) -> bool:
        told = one.verdict != OK and re.search(self.cause, f"{one.what} {one.evidence}", re.DOTALL)
        return bool(told and re.search(self.remedy, one.remedy, re.DOTALL))


def alarms(found: Sequence[Finding]) -> list[Finding]:
    """What the doctor takes for wrong."""
    return [one for one in found if one.verdict == WRONG]
