"""In the victim: which of its tokens a model reads: what attention masks let through, and both directions of an RNN."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any

_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
_FILLING = ("masked_fill", "masked_fill_")
_LOW, _LENGTHS, _MOST, _LEAST_STEPS = -1e3, 2, 16, 3
# The places of arguments of the functions for recurrent layers.
_HAS_BIASES, _BIDIRECTIONAL, _BATCH_FIRST = 3, 7, 8


class Reach:
    """Looks at torch's calls in the first steps.

    ``masks`` has the calls of attention whose mask lets just the padding through: their function and the token that
    pads. ``directions`` has an entry for each call of a bidirectional RNN whose output got a gradient: its ``kind`` and
    ``steps``, whether the backward direction got it at the last one only (``last``), and whether a gradient reached its
    final ``state``.
    """

    def __init__(self) -> None:
        self.masks: list[dict[str, Any]] = []
        self.directions: list[dict[str, Any]] = []
        self._ids: deque[Any] = deque(maxlen=4)

    def facts(self) -> dict[str, Any]:
        """Return what is known as plain data."""
        return {"masks": self.masks, "directions": self.directions}

    def look(self, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Take in a call of a torch function."""
        if name == "embedding":
            ids = args[0] if args else kwargs.get("input")
            if ids is not None and ids.dim() == 2:
                self._ids.append(ids)
        elif name == "scaled_dot_product_attention":
            mask = args[3] if len(args) > 3 else kwargs.get("attn_mask")
            self._compare(name, _allowed(mask))
        elif name == "multi_head_attention_forward":
            blocked = kwargs.get("key_padding_mask")
            self._compare(name, None if blocked is None else ~_blocked(blocked))
        elif name in _FILLING and len(args) == 3 and isinstance(args[2], (int, float)) and args[2] <= _LOW:
            self._compare(name, ~args[1].bool())

    def made(self, name: str, args: tuple[Any, ...], result: Any) -> None:
        """Take in the result of a torch function."""
        # The same function takes packed sequences, with other arguments.
        whole = name in _RECURRENT and len(args) > _BATCH_FIRST and isinstance(args[_HAS_BIASES], bool)
        if not whole or not args[_BIDIRECTIONAL] or len(self.directions) >= _MOST:
            return
        outputs, states = result[0], result[1]
        if not outputs.requires_grad or outputs.dim() != 3:
            return
        steps = outputs.shape[1 if args[_BATCH_FIRST] else 0]
        entry = {"kind": name, "steps": steps, "last": False, "state": False, "graded": False}
        self.directions.append(entry)

        def graded(gradient: Any) -> None:
            rows = gradient if args[_BATCH_FIRST] else gradient.transpose(0, 1)
            reached = (rows[..., rows.shape[2] // 2 :] != 0).any(2).any(0)
            entry["graded"] = bool(reached.any())
            entry["last"] = steps >= _LEAST_STEPS and bool(reached[-1]) and not bool(reached[:-1].any())

        def used(gradient: Any) -> None:
            entry["state"] = entry["state"] or bool((gradient != 0).any())

        outputs.register_hook(graded)
        states.register_hook(used)

    def _compare(self, name: str, allowed: Any) -> None:
        """Note a mask that lets all tokens of one kind through that fill up the rows, and no others."""
        if allowed is None or allowed.dim() < 2 or len(self.masks) >= _MOST:
            return
        samples, keys = allowed.shape[0], allowed.shape[-1]
        ids = next((one for one in reversed(self._ids) if tuple(one.shape) == (samples, keys)), None)
        if ids is None:
            return
        allowed = allowed.reshape(samples, -1, keys).any(1)
        tokens = ids[allowed].unique()
        if len(tokens) != 1 or not bool(((ids == tokens) == allowed).all()):
            return
        counts = allowed.sum(1)
        fills = [bool((side.long().cumprod(1).sum(1) == counts).all()) for side in (allowed, allowed.flip(1))]
        if any(fills) and int(counts.max()) > 1 and len(counts.unique()) >= _LENGTHS and int(counts.min()) < keys:
            self.masks.append({"function": name, "token": int(tokens)})


def _allowed(mask: Any) -> Any:
    """Return where a mask of scaled_dot_product_attention lets keys through; None without one."""
    if mask is None:
        return None
    return mask if not mask.is_floating_point() else ~_blocked(mask)


def _blocked(mask: Any) -> Any:
    return mask <= _LOW if mask.is_floating_point() else mask.bool()
