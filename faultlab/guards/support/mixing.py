"""The place in a forward pass that mixes samples: the first function whose inputs agree and whose outputs don't."""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from faultlab.guards.support import trainer_state

_MOST = 2000
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
_RESHAPES = ("view", "reshape", "flatten", "unflatten", "view_as", "reshape_as")
_OVER_A_DIMENSION = ("softmax", "log_softmax", "normalize", "layer_norm", "cumsum", "softmin")


def place(run: Callable[[int, int, int], Any], size: int) -> tuple[str, str]:
    """Return the function that first mixes the samples, and a remedy for it.

    Args:
        run: A function of the end of the samples, a seed and their start that runs the forward pass.
        size: The number of samples.

    Returns:
        Words to append to a finding, and the remedy; both empty if no function was identified.
    """
    with _Calls() as whole:
        run(size, 1, 0)
    for start, end in ((0, size // 2), (size // 2, size)):
        with _Calls() as part:
            run(end, 1, start)
        for one, other in zip(whole.made, part.made, strict=False):
            if one.name != other.name:
                break
            if one.fits(other.given, one.given, start, end) and not one.fits(other.output, one.output, start, end):
                return f", which starts with {one.name}{one.words} in line {one.line}", _remedy(one)
    return "", ""


class _Call:
    def __init__(self, name: str, given: list[Tensor], output: list[Tensor], words: str, line: str) -> None:
        self.name, self.given, self.output, self.words, self.line = name, given, output, words, line

    @staticmethod
    def fits(part: list[Tensor], whole: list[Tensor], start: int, end: int) -> bool:
        """Return whether tensors are those of a part of the samples."""
        if len(part) != len(whole):
            return False
        for a, b in zip(part, whole, strict=True):
            if a.dim() != b.dim():
                return False
            if a.shape != b.shape:
                along = [d for d in range(a.dim()) if a.shape[d] != b.shape[d]]
                if len(along) != 1 or a.shape[along[0]] != end - start:
                    return False
                b = b.narrow(along[0], start, end - start)
            if not torch.allclose(a.float(), b.float(), rtol=1e-3, atol=1e-5):
                return False
        return True


class _Calls(TorchFunctionMode):
    """Records the inputs and outputs of torch functions, without those called by other functions."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[_Call] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        given = [_kept(tensor) for tensor in trainer_state.tensors((args, kwargs))] if len(self.made) < _MOST else []
        output = func(*args, **kwargs)
        made = [_kept(tensor) for tensor in trainer_state.tensors(output)]
        if given and made and len(self.made) < _MOST:
            name = str(getattr(func, "__name__", ""))
            self.made.append(_Call(name, given, made, _words(name, args, kwargs), _line()))
        return output


def _kept(tensor: Tensor) -> Tensor:
    # A forward pass changes no weights, and the largest of them are not worth a copy.
    return tensor.detach() if isinstance(tensor, torch.nn.Parameter) else tensor.detach().clone()


def _words(name: str, args: Any, kwargs: Any) -> str:
    if name in _RECURRENT and args and args[-1] is False:
        return " (batch_first=False)"
    dim = kwargs.get("dim", args[1] if len(args) > 1 and isinstance(args[1], int) else None)
    return f" (dim={dim})" if name in _OVER_A_DIMENSION and dim is not None else ""


def _remedy(call: _Call) -> str:
    if call.name in _RECURRENT and call.words:
        return (
            "Give the recurrent layer batch_first=True, or its input in the order (time, batch, features): it takes "
            "the batch for time."
        )
    if call.name in _OVER_A_DIMENSION:
        return "Set dim=-1, or dim=1 if that is the classes: it reduces over the batch."
    if call.name in _RESHAPES:
        return (
            f"Move the batch to the front by permute or transpose before {call.name}, which keeps the order in memory "
            "and moves no dimension."
        )
    return ""


def _line() -> str:
    """Return the line of the call, outside of installed packages and of the guards."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None:
        file = frame.f_code.co_filename
        if (
            "site-packages" not in file
            and "dist-packages" not in file
            and __package__ not in frame.f_globals.get("__name__", "")
        ):
            return str(frame.f_lineno)
        frame = frame.f_back
    return "?"
