"""In the victim: scores of a library that get the model's predictions where they expect the true values."""

from __future__ import annotations

import contextlib
import inspect
import sys
import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch

from faultlab.core.patching import Patches
from faultlab.core.user_code import UserCode

_LIBRARY, _TRUTH = "sklearn.metrics", "y_true"
_LEAST, _MOST = 20, 200_000


class Scores:
    """Compares the arguments of scores with the outputs of the evaluations before them.

    Args:
        code: The definition of the user's own code.

    Attributes:
        found: The ``name`` and ``place`` of the first score that depends on the order of its arguments and gets the
            model's own predictions first, its ``value`` so, and ``exchanged``.
    """

    def __init__(self, code: UserCode) -> None:
        self._code = code
        self.found: dict[str, Any] = {}
        self._patches = Patches()
        self._wrapped = False
        self._outputs: list[torch.Tensor] = []
        self._count = 0

    def attach(self, patches: Patches) -> None:
        """Follow them until the patches are removed."""
        patches.on_exit(self._patches.close)

    def called(self, output: Any, learning: bool) -> None:
        """Note an output of the model; once it learns, earlier ones are not what is scored."""
        if learning:
            self._outputs, self._count = [], 0
            return
        if not self._wrapped and (library := sys.modules.get(_LIBRARY)) is not None:
            self._wrapped = True
            functions = [one for one in vars(library).values() if inspect.isfunction(one) and _compares(one)]
            self._patches.wrap_imported(functions, self._scoring, _looks_at)
        if self._wrapped and isinstance(output, torch.Tensor) and output.dim() in (1, 2) and self._count < _MOST:
            self._outputs.append(output.detach().cpu())
            self._count += output.numel()

    def _scoring(self, score: Callable[..., Any]) -> Callable[..., Any]:
        def scoring(*args: Any, **kwargs: Any) -> Any:
            value = score(*args, **kwargs)
            if len(args) > 1 and not self.found and self._outputs and self._code.holds(sys._getframe(1)):
                with (
                    torch._C.DisableTorchFunction(),
                    contextlib.suppress(Exception),  # a score of what it does not expect
                    warnings.catch_warnings(),
                ):
                    warnings.simplefilter("ignore")
                    self._compare(score, args, kwargs, value)
            return value

        return scoring

    def _compare(self, score: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], value: Any) -> None:
        first, second = (torch.as_tensor(one).flatten() for one in args[:2])
        if len(first) != len(second) or len(first) < _LEAST or torch.equal(first, second):
            return
        if self._predicted(first) and not self._predicted(second):
            exchanged = score(args[1], args[0], *args[2:], **kwargs)
            if (given := _shown(value)) != (right := _shown(exchanged)):
                self.found = {"name": score.__name__, "place": self._code.running(), "value": given,
                              "exchanged": right}  # fmt: skip

    def _predicted(self, values: torch.Tensor) -> bool:
        """Return whether values are what the model has predicted for successive samples."""
        for predict in (_classes, torch.Tensor.flatten, _positive, _likely):
            parts = [predict(one) for one in self._outputs]
            whole, begin = torch.cat(parts), 0
            for part in parts:
                window = whole[begin : begin + len(values)]
                if len(window) == len(values) and torch.equal(window.double(), values.double()):
                    return True
                begin += len(part)
        return False


def _compares(function: Callable[..., Any]) -> bool:
    """Return whether a function takes true values first, and predictions by position."""
    try:
        names = list(inspect.signature(function).parameters)[:2]
    except (TypeError, ValueError):
        return False
    return len(names) == 2 and names[0] == _TRUTH and names[1].startswith("y_")


def _looks_at(module: ModuleType) -> bool:
    return module.__name__ == _LIBRARY or module.__name__.partition(".")[0] not in ("sklearn", "torch", "faultlab")


def _classes(output: torch.Tensor) -> torch.Tensor:
    return output.argmax(1) if output.dim() == 2 and output.shape[1] > 1 else output.flatten()


def _positive(output: torch.Tensor) -> torch.Tensor:
    return (output > 0).flatten()


def _likely(output: torch.Tensor) -> torch.Tensor:
    return (output > 0.5).flatten()


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_shown(one) for one in value if one is not None)
    return f"{float(value):.6g}" if getattr(value, "ndim", 0) == 0 and not isinstance(value, str) else str(value)[:200]
