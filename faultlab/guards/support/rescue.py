"""A checkpoint of the state before a failure, for guards whose action is "save"."""

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
"""The share of the training's time that may be spent on keeping a sound state."""

_KEPT: weakref.WeakKeyDictionary[Any, Rescue] = weakref.WeakKeyDictionary()


def keep(trainer: TrainingView, pl_module: Any) -> None:
    """Keep a state to return to, at the start of a training batch."""
    rescue = _KEPT.get(trainer)
    if rescue is None:
        rescue = _KEPT[trainer] = Rescue()
    rescue.begin(trainer, pl_module)


def write(trainer: TrainingView | None) -> str:
    """Save the last sound state of a training as a checkpoint, once, and return where it is or why there is none."""
    if trainer is None:
        return "No checkpoint was saved: there is no Trainer to save it."
    rescue = _KEPT.get(trainer)
    return "No checkpoint was saved: no batch had started." if rescue is None else rescue.write(trainer)


def forget(trainer: TrainingView) -> None:
    """Drop what was kept, for another training of the same Trainer."""
    _KEPT.pop(trainer, None)


class Rescue:
    """The last sound state of one training.

    Until an optimizer steps in a batch, that is the current state; only buffers, which forward may have corrupted, are
    kept from the start of the batch. After the step it is a copy in main memory, renewed as often as `SHARE` allows.
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
            # Code that saves may be the user's own and may fail, which must not affect the training.
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
            return "No checkpoint was saved: the training never had a sound state."
        path = _free(os.path.join(trainer.default_root_dir, f"faultlab-rescue-step={state['global_step']}"))
        with undrawn():
            trainer.save(state, path)
        return (
            f"The state before the failure, at step {state['global_step']}, is saved in {path}. Continue from it "
            "with ckpt_path."
        )


def _state(trainer: TrainingView) -> dict[str, Any]:
    with undrawn(), torch.no_grad():
        state = trainer.checkpoint()
    # A dictionary of its own, so that replacing a buffer in it does not change the module.
    return {**state, "state_dict": dict(state["state_dict"])}


def _copied(value: Any) -> Any:
    """Return the value with all tensors copied to main memory."""
    if isinstance(value, Tensor):
        return value.detach().cpu() if value.device.type != "cpu" else value.detach().clone()
    if isinstance(value, dict):
        made = copy.copy(value)
        made.update((key, _copied(part)) for key, part in value.items())
        return made
    return type(value)(map(_copied, value)) if type(value) in (list, tuple) else value


def _not_finite(state: dict[str, Any]) -> set[str]:
    """Return the names of weights and optimizer values that are not finite."""
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
    """Return the path with the first suffix that no file has yet."""
    number = 0
    while os.path.exists(whole := f"{path}{f'-v{number}' if number else ''}.ckpt"):
        number += 1
    return whole
