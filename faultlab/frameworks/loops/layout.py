"""The layout of a training loop: its root module and its loaders, as one observed clean run shows them."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from torch.utils.data import DataLoader

from faultlab.frameworks.torch.loaders import is_sized

_OWN = str(Path(__file__).resolve().parents[2])
_INSTALLED = ("site-packages", "dist-packages", f"{os.sep}lib{os.sep}python")


@dataclass(frozen=True)
class Layout:
    """The features that identify the parts of a training loop in a later run of the same code.

    ``roots`` has the modules that train, the one with the most parameters first: the class path of each, and its
    number, from 1, among the modules of that class in the order of their construction. ``counting`` has the keys of the
    loaders whose batches begin the steps, and is empty where the batches come from no DataLoader; ``beside`` has those
    of other loaders that are learnt from in the same steps, ``aside`` those of loaders that are only looked at. Every
    other loader serves evaluation. ``ahead`` is how many batches the loop has fetched beyond the one that it trains on.
    ``trainer`` is the module of the Trainer that runs the loop, empty where the user's own code does; see
    `faultlab.frameworks.loops.trainers`. ``until`` is the module whose training follows that of the roots, as in
    another fold: the run ends when it is called. None if there is none.
    """

    roots: tuple[tuple[str, int], ...]
    counting: tuple[str, ...] = ()
    ahead: int = 0
    trainer: str = ""
    beside: tuple[str, ...] = ()
    aside: tuple[str, ...] = ()
    until: tuple[str, int] | None = None

    @property
    def training(self) -> tuple[str, ...]:
        """The keys of the loaders whose batches are learnt from."""
        return (*self.counting, *self.beside)

    @property
    def root(self) -> str:
        """The class path of the module with the most parameters."""
        return self.roots[0][0]

    def stage(self, key: str) -> str:
        """Return the stage that the batches of a loader belong to."""
        return "train" if key in self.training else "validate"

    def to_json(self) -> dict[str, Any]:
        """Return the fields as plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Layout:
        """Return the layout with the data that `to_json` returned."""
        roots = tuple((path, number) for path, number in data["roots"])
        until = tuple(data["until"]) if data["until"] else None
        keys = {name: tuple(data[name]) for name in ("counting", "beside", "aside")}
        return cls(roots, ahead=data["ahead"], trainer=data["trainer"], until=until, **keys)


def key_of(loader: DataLoader[Any]) -> str:
    """Return a key that distinguishes a loader from the others of a loop, the same in every run of the same code.

    A loop may construct its loaders again for every epoch, so the key doesn't depend on identity, but on the line that
    iterates and on the arguments of the loader.
    """
    sampler = type(getattr(loader, "sampler", None)).__name__
    size = len(loader.dataset) if is_sized(loader.dataset) else None  # type: ignore[arg-type]
    return f"{_line()} {size} {loader.batch_size} {sampler} {loader.drop_last}"


def _line() -> str:
    """Return the line of the user's code that iterates; the innermost caller where only packages are found."""
    frame: FrameType | None = sys._getframe(1)
    first = ""
    while frame is not None:
        file = frame.f_code.co_filename
        if not file.startswith(_OWN):
            place = f"{file}:{frame.f_lineno}"
            first = first or place
            if not any(part in file for part in _INSTALLED):
                return place
        frame = frame.f_back
    return first
