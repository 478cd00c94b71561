"""The layout of a training loop: its root module and its loaders, as one observed clean run shows them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from operator import eq
from pathlib import Path
from types import FrameType
from typing import Any

from torch.utils.data import DataLoader

from faultlab.frameworks.torch.loaders import is_sized
from faultlab.injection.mutant_lines import line_of

_OWN = str(Path(__file__).resolve().parents[2])
_FACTS = 4
"""How many facts about the loader follow the place in a key."""
_INSTALLED = ("site-packages", "dist-packages", f"{os.sep}lib{os.sep}python")


@dataclass(frozen=True)
class Layout:
    """The features that identify the parts of a training loop in a later run of the same code.

    ``roots`` has the modules that train, the one with the most parameters first: the class path of each, and its
    number, from 1, among the modules of that class in the order of their construction. ``training`` has the keys of the
    loaders whose batches are propagated backward, the one that counts the steps first; it is empty where the batches
    come from no DataLoader. Every other loader serves evaluation: ``others`` has the keys of those that were seen.
    ``ahead`` is how many batches the loop has fetched beyond the one that it trains on. ``trainer`` is the module of
    the Trainer that runs the loop, empty where the user's own code does; see `faultlab.frameworks.loops.trainers`.
    ``repeats`` is set if all steps train on one batch that is fetched once, so that it can't count them.

    A number below 0 is that of a module that existed before: the first one of its class that is called is -1.
    """

    roots: tuple[tuple[str, int], ...]
    training: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    ahead: int = 0
    trainer: str = ""
    repeats: bool = False

    @property
    def root(self) -> str:
        """The class path of the module with the most parameters."""
        return self.roots[0][0]

    def stage(self, key: str) -> str:
        """Return the stage that the batches of a loader belong to."""
        return "train" if self.known(key) in self.training else "validate"

    def counts(self, key: str) -> bool:
        """Return whether the batches of a loader count the steps."""
        return bool(self.training) and not self.repeats and self.known(key) == self.training[0]

    def known(self, key: str) -> str:
        """Return the key that a loader had in the observed run.

        A change of the user's code may give the loader of a line other arguments. It is the one of that line that is
        most like it.
        """
        seen = (*self.training, *self.others)
        if key in seen:
            return key
        place, *facts = key.rsplit(" ", _FACTS)
        there = [one for one in seen if one.rsplit(" ", _FACTS)[0] == place]
        return max(there, key=lambda one: sum(map(eq, one.rsplit(" ", _FACTS)[1:], facts)), default=key)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Layout:
        """Return the layout with the data that `to_json` returned."""
        roots = tuple((path, number) for path, number in data["roots"])
        lists = {name: tuple(data[name]) for name in ("training", "others")}
        return cls(**{**data, **lists, "roots": roots})


def key_of(loader: DataLoader[Any]) -> str:
    """Return a key that distinguishes a loader from the others of a loop, the same in every run of the same code.

    A loop may construct its loaders again for every epoch, so the key doesn't depend on identity, but on the line that
    iterates and on the arguments of the loader.
    """
    sampler = type(getattr(loader, "sampler", None)).__name__
    size = len(loader.dataset) if is_sized(loader.dataset) else None  # type: ignore[arg-type]
    return f"{_place()} {size} {loader.batch_size} {sampler} {loader.drop_last}"


def _place() -> str:
    """Return the file and line of the user's code that iterates; the innermost caller where only packages are found."""
    frame: FrameType | None = sys._getframe(1)
    first = ""
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_OWN):
            place = f"{file}:{line_of(frame)}"
            first = first or place
            if not any(part in file for part in _INSTALLED):
                return place
        frame = frame.f_back
    return first
