"""A checkpoint from before a training was spoilt, for guards whose action is "save"."""

from __future__ import annotations

import contextlib
import copy
import os
import time
import weakref
from typing import Any

import torch
from torch import Tensor

from faultlab.guards.support.draws import undrawn
from faultlab.guards.support.training_view import TrainingView

SHARE = 0.02
"""The part of a training's time that may go into keeping a sound state."""

_KEPT: weakref.WeakKeyDictionary[Any, Rescue] = weakref.WeakKeyDictionary()


def keep(trainer: TrainingView, pl_module: Any) -> None:
    """See to it, at the beginning of a training batch, that there is a state to go back to."""
    rescue = _KEPT.get(trainer)
    if rescue is None:
        rescue = _KEPT[trainer] = Rescue()
    rescue.begin(trainer, pl_module)


def write(trainer: TrainingView | None) -> str:
    """Write the last sound state of a training as a checkpoint, once, and say where it is, or why there is none."""
    if trainer is None:
        return "No checkpoint was saved: there is no Trainer that could."
    rescue = _KEPT.get(trainer)
    return "No checkpoint was saved: no batch had begun." if rescue is None else rescue.write(trainer)


def forget(trainer: TrainingView) -> None:
    """Let go of what was kept, for another training of the Trainer's."""
    _KEPT.pop(trainer, None)


class Rescue:
    """The last sound state of one training.

    Until an optimizer has stepped in a batch, that is the state of now; only buffers, which forward may have spoilt,
    are kept from the batch's beginning. After the step it is one kept in main memory, as often as `SHARE` allows.
    """

    def __init__(self) -> None:
        self.said = ""
        self._state: dict[str, Any] | None = None
        self._odd: set[str] | None = None
        self._due = 0.0
        self._batch: tuple[int, int | None] | None = None
        self._buffers: dict[str, Tensor] = {}

    def begin(self, trainer: TrainingView, pl_module: Any) -> None:
        batch = trainer.global_step, trainer.total_batch_idx
        if batch == self._batch:
            return  # another guard has asked before
        self._batch = batch
        self._buffers = {name: buffer.detach().clone() for name, buffer in pl_module.named_buffers()}
        begun = time.monotonic()
        if begun >= self._due and not trainer.refuses_checkpoint():
            # What saves may be of the user's own, and fail; the training has no part in that.
            with contextlib.suppress(Exception):
                self._keep(_copied(_state(trainer)))
            ended = time.monotonic()
            self._due = ended + (ended - begun) / SHARE

    def _keep(self, state: dict[str, Any]) -> None:
        if self._odd is None:
            self._odd = _not_finite(state)
        if _not_finite(state) <= self._odd:
            self._state = state

    def write(self, trainer: TrainingView) -> str:
        if self.said:
            return self.said
        try:
            self.said = self._write(trainer)
        except Exception as error:  # the alarm is what matters
            self.said = f"No checkpoint could be saved: {type(error).__name__}: {error}."
        return self.said

    def _write(self, trainer: TrainingView) -> str:
        if reason := trainer.refuses_checkpoint():
            return f"No checkpoint was saved: {reason}."
        state = None
        if self._batch is not None and trainer.global_step == self._batch[0]:
            state = _state(trainer)
            weights = state["state_dict"]
            for name, buffer in self._buffers.items():
                if name in weights:
                    weights[name] = buffer
            if not _not_finite(state) <= (self._odd or set()):
                state = None
        state = state or self._state
        if state is None:
            return "No checkpoint was saved: the training had no sound state since it began."
        path = _free(os.path.join(trainer.default_root_dir, f"faultlab-rescue-step={state['global_step']}"))
        with undrawn():
            trainer.save(state, path)
        return f"The state before it, of step {state['global_step']}, is in {path}: go on from there by ckpt_path."


def _state(trainer: TrainingView) -> dict[str, Any]:
    with undrawn(), torch.no_grad():
        state = trainer.checkpoint()
    # Its own, so that a buffer put into it is not put into the module's.
    return {**state, "state_dict": dict(state["state_dict"])}


def _copied(value: Any) -> Any:
    """The same with all tensors copied, to main memory."""
    if isinstance(value, Tensor):
        return value.detach().cpu() if value.device.type != "cpu" else value.detach().clone()
    if isinstance(value, dict):
        made = copy.copy(value)
        made.update((key, _copied(part)) for key, part in value.items())
        return made
    return type(value)(map(_copied, value)) if type(value) in (list, tuple) else value


def _not_finite(state: dict[str, Any]) -> set[str]:
    """The weights, and values of the optimizers, that hold something else than finite numbers."""
    found: dict[str, Any] = dict(state["state_dict"])
    for number, optimizer in enumerate(state.get("optimizer_states", ())):
        for index, kept in optimizer.get("state", {}).items():
            if isinstance(kept, dict):
                found.update((f"{number}/{index}/{name}", value) for name, value in kept.items())
    return {
        name
        for name, value in found.items()
        if isinstance(value, Tensor) and value.is_floating_point() and not bool(torch.isfinite(value).all())
    }


def _free(path: str) -> str:
    """The path with the first ending that no file has yet."""
    number = 0
    while os.path.exists(whole := f"{path}{f'-v{number}' if number else ''}.ckpt"):
        number += 1
    return whole
