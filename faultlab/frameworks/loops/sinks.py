"""The functions of experiment trackers that a loop logs numbers with. None of these packages is imported for it."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from faultlab.core.patching import Patches

Report = Callable[[str, Any], "tuple[str, Any] | None"]
"""Returns the name and the number to log in place of others; None to log nothing."""


Make = Callable[["Sink", Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True)
class Sink:
    """A function that logs.

    Args:
        title: The tracker's name in reports.
        module: The module that has it.
        owner: The class that has it as a method; empty for a function of the module.
        name: Its name.
        names: Its parameters for the name and the number; the one for a mapping of them.
    """

    title: str
    module: str
    owner: str
    name: str
    names: tuple[str, ...]

    def mapped(self, args: Any, kwargs: Mapping[str, Any], report: Report) -> Iterator[tuple[Any, dict[str, Any]]]:
        """Yield the arguments of the call as they are reported; nothing if the report is dropped."""
        first = 1 if self.owner else 0
        given = dict(zip(self.names, args[first:])) | {name: kwargs[name] for name in self.names if name in kwargs}
        own, rest = args[:first], args[first + len(self.names) :]
        others = {name: value for name, value in kwargs.items() if name not in self.names}
        if len(given) < len(self.names):
            yield args, dict(kwargs)
        elif len(self.names) == 1:
            numbers = given[self.names[0]]
            if not isinstance(numbers, Mapping):
                yield args, dict(kwargs)
                return
            new = [report(str(name), value) for name, value in numbers.items()]
            if kept := dict(filter(None, new)):
                yield (*own, kept, *rest), others
        elif (changed := report(str(given[self.names[0]]), given[self.names[1]])) is not None:
            yield (*own, *changed, *rest), others


SINKS = (
    Sink("SummaryWriter", "torch.utils.tensorboard.writer", "SummaryWriter", "add_scalar", ("tag", "scalar_value")),
    Sink("SummaryWriter", "tensorboardX.writer", "SummaryWriter", "add_scalar", ("tag", "scalar_value")),
    Sink("wandb", "wandb.sdk.wandb_run", "Run", "log", ("data",)),
    Sink("mlflow", "mlflow", "", "log_metric", ("key", "value")),
    Sink("mlflow", "mlflow", "", "log_metrics", ("metrics",)),
    Sink("trackio", "trackio", "", "log", ("metrics",)),
)


def replace(patches: Patches, make: Make) -> None:
    """Replace the functions of the trackers that are imported, under every name that a module gave them."""
    for sink in SINKS:
        module = sys.modules.get(sink.module)
        owner = getattr(module, sink.owner, None) if sink.owner else module
        function = getattr(owner, sink.name, None)
        if function is None:
            continue
        if sink.owner:
            patches.wrap(owner, sink.name, functools.partial(make, sink))
        else:
            patches.wrap_imported([function], functools.partial(make, sink))
