"""The assertion that a training which is interrupted and resumed ends as one that is not."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy
import torch

from faultlab.errors import UsageError
from faultlab.frameworks.foreign import Moments
from faultlab.guards.support import draws
from faultlab.injection import tree
from faultlab.testing import training_state
from faultlab.testing.equivalence import NotEquivalentError
from faultlab.testing.training_state import State

_SHOWN = 3
_AT_THE_END = ("parameters", "buffers")
_MEANT = {
    "parameters": "parameters",
    "buffers": "buffers",
    "optimizer": "state of the optimizer",
    "scheduler": "state of the scheduler",
    "random": "random numbers",
    "position": "position in the data",
    "other": "other state",
}


def assert_resume_equivalent(
    build: Callable[[], Any],
    *,
    train: Callable[[Any, int], Any] | None = None,
    save: Callable[[Any, str], Any] | None = None,
    load: Callable[[Any, str], Any] | None = None,
    trainer: Mapping[str, Any] | None = None,
    epochs: int = 2,
    after: int = 1,
    seed: int = 0,
    leave_out: Iterable[str] = (),
    tolerance: float = 0.0,
) -> None:
    """Assert that a training which is interrupted, saved, loaded and continued ends with the weights of a whole one.

    For a LightningModule, ``build`` returns the module, or a pair of it and its data; it is trained by a Trainer that
    is stopped after some epochs, and by another one that continues from its checkpoint.

    >>> assert_resume_equivalent(lambda: (LitModel(), MyData()), leave_out=["random"])      # doctest: +SKIP

    For a loop of your own, ``build`` returns a dict or object with the model, the optimizer and all else that trains.

    >>> assert_resume_equivalent(build, train=train_for, save=save, load=load, epochs=4, after=2)     # doctest: +SKIP

    Args:
        build: A function that returns a fresh training each time.
        train: For a loop: a function of the training and a number of epochs that trains it further.
        save: For a loop: a function of the training and a path that writes a checkpoint.
        load: For a loop: a function of a fresh training and a path that restores it.
        trainer: For a LightningModule: arguments of the Trainer beside ``max_epochs``.
        epochs: The number of epochs of the whole training.
        after: The number of epochs after which it is interrupted.
        seed: The seed that every process of the training starts with.
        leave_out: Kinds of state that the training does not promise to restore, and that are therefore carried over to
            the resumed training: "random" for the random numbers of torch, Python and NumPy, which neither torch nor
            Lightning saves.
        tolerance: The allowed difference of each number at the end. 0 demands equality to the bit.

    Raises:
        NotEquivalentError: The trainings end differently. The message names what differs at the end, and what the
            resumed training did not get back: parameters, buffers, state of the optimizer or scheduler, random numbers,
            position in the data.
        UsageError: The arguments don't fit together.
    """
    __tracebackhide__ = True
    if not 0 < after < epochs:
        raise UsageError(f"a training of {epochs} epochs can't be interrupted after {after}")
    if unknown := set(leave_out) - {"random"}:
        raise UsageError(f"invalid leave_out {', '.join(sorted(unknown))}: expected random")
    given = [one is not None for one in (train, save, load)]
    if any(given) and not all(given):
        raise UsageError("a loop of your own needs all of train, save and load")
    carries = "random" in set(leave_out)
    with draws.undrawn(), tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "resumed.ckpt")
        if train is not None and save is not None and load is not None:
            halves: _Halves = _Loop(train, save, load, build, epochs, after, seed)
        else:
            halves = _Fits({"default_root_dir": folder, **(trainer or {})}, build, epochs, after, seed)
        halves.train_whole(path)
        halves.resume(path, carries)
        ends = _by_kind(halves.whole, halves.resumed, tolerance, _AT_THE_END)
        if not ends:
            return
        lost = _by_kind(halves.saved, halves.loaded, 0.0, training_state.KINDS)
        if "random" in lost and not carries:
            strict = halves.resumed
            halves.resume(path, carries=True)
            if not _by_kind(strict, halves.resumed, 0.0, _AT_THE_END):
                # The training draws none of these numbers.
                del lost["random"]
    raise NotEquivalentError(_message(after, epochs, ends, lost))


class _Halves:
    """The states of the trainings: of the whole and the resumed one at their ends, and around the checkpoint."""

    def __init__(self, build: Callable[[], Any], epochs: int, after: int, seed: int) -> None:
        self.build, self.epochs, self.after, self.seed = build, epochs, after, seed
        self.process: dict[str, Any] = {}
        self.whole: State = {}
        self.saved: State = {}
        self.loaded: State = {}
        self.resumed: State = {}

    def train_whole(self, path: str) -> None:
        """Train from beginning to end, and write the checkpoint in between."""
        raise NotImplementedError

    def resume(self, path: str, carries: bool) -> None:
        """Train a fresh training from the checkpoint to the end; ``carries`` restores the process's random numbers."""
        raise NotImplementedError

    def start(self) -> Any:
        """Seed as a new process does, and build the training."""
        random.seed(self.seed)
        numpy.random.seed(self.seed)
        torch.manual_seed(self.seed)
        return self.build()


class _Loop(_Halves):
    def __init__(
        self,
        train: Callable[[Any, int], Any],
        save: Callable[[Any, str], Any],
        load: Callable[[Any, str], Any],
        *rest: Any,
    ) -> None:
        super().__init__(*rest)
        self.train, self.save, self.load = train, save, load

    def train_whole(self, path: str) -> None:
        # In the same two calls, so that only the checkpoint makes a difference.
        training = self.start()
        self.train(training, self.after)
        self.save(training, path)
        self.saved, self.process = self._state(training), training_state.of_process()
        self.train(training, self.epochs - self.after)
        self.whole = self._state(training)

    def resume(self, path: str, carries: bool) -> None:
        training = self.start()
        self.load(training, path)
        if carries:
            training_state.restore_process(self.process)
        self.loaded = self._state(training)
        self.train(training, self.epochs - self.after)
        self.resumed = self._state(training)

    @staticmethod
    def _state(training: Any) -> State:
        state = training_state.of(training)
        state["random"] |= training_state.of_process()
        return state


class _Fits(_Halves):
    def __init__(self, arguments: Mapping[str, Any], *rest: Any) -> None:
        super().__init__(*rest)
        # Imported here, since it takes long, and a loop does not need it.
        from faultlab.frameworks.registry import default_framework

        self._trainings = default_framework().foreign
        self.arguments = {**arguments, "max_epochs": self.epochs}
        self._batches: list[str] = []

    def train_whole(self, path: str) -> None:
        def ended(epochs: int) -> None:
            if epochs == self.after:
                self.process = training_state.of_process()

        self.whole = self._fit(Moments(batch=self._noting(self._batches), epoch=ended))
        # Stopped in a training of its own, since a Trainer that is stopped can't go on.
        self.saved = self._fit(Moments(), stop_after=self.after, save=path)
        self.saved["random"] |= self.process

    def resume(self, path: str, carries: bool) -> None:
        batches: list[str] = []
        loaded: State = {}
        process: dict[str, Any] = {}

        def begins() -> None:
            if carries:
                training_state.restore_process(self.process)
            process.update(training_state.of_process())

        def trains(parts: Mapping[str, Any]) -> None:
            loaded.update(training_state.of(parts))

        self.resumed = self._fit(Moments(begins, trains, self._noting(batches)), resume=path)
        loaded["random"] |= process
        loaded["position"], self.saved["position"] = _positions(batches, self._batches)
        self.loaded = loaded

    def _fit(self, moments: Any, *, save: str = "", **options: Any) -> State:
        trainer = self._trainings.fit(self.start(), self.arguments, moments, **options)
        if save:
            trainer.save_checkpoint(save)
        return training_state.of(self._trainings.parts_of(trainer))

    def _noting(self, batches: list[str]) -> Callable[[int, Any], None]:
        return lambda epoch, batch: batches.append(_digest(batch)) if epoch >= self.after else None


def _positions(own: list[str], other: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return descriptions of the batches after the checkpoint, which differ if and only if the batches do."""
    if own == other:
        return {}, {}
    first = next((place for place, (a, b) in enumerate(zip(own, other)) if a != b), min(len(own), len(other)))
    described = [
        f"{len(one)} with {one[first] if first < len(one) else 'none'} as number {first}" for one in (own, other)
    ]
    return {"the batches": described[0]}, {"the batches": described[1]}


def _digest(batch: Any) -> str:
    total = hashlib.sha256()
    for path, tensor in tree.tensors(batch):
        total.update(path.encode())
        if tensor.numel() and tensor.layout is torch.strided:
            total.update(tensor.detach().cpu().reshape(-1).contiguous().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()[:8]


def _by_kind(one: State, other: State, tolerance: float, kinds: Iterable[str]) -> dict[str, list[str]]:
    found = {kind: training_state.differing(one.get(kind, {}), other.get(kind, {}), tolerance) for kind in kinds}
    return {kind: texts for kind, texts in found.items() if texts}


def _message(after: int, epochs: int, ends: dict[str, list[str]], lost: dict[str, list[str]]) -> str:
    lines = [
        f"a training of {epochs} epochs that is interrupted after {after} and resumed ends differently: "
        + "; ".join(_listed(texts) for texts in ends.values())
    ]
    if lost:
        lines.append("It did not get back what was saved:")
        lines += [f"  {_MEANT[kind]}: {_listed(texts)}" for kind, texts in lost.items()]
    else:
        lines.append("All known state was restored, so that something else differs, such as a counter of the loop.")
    return "\n".join(lines)


def _listed(texts: list[str]) -> str:
    return ", ".join(texts[:_SHOWN]) + (f" and {len(texts) - _SHOWN} more" if len(texts) > _SHOWN else "")
