"""Time the bare training of a scenario in a separate process, without guards, evaluation, recording or seams.

Read ``{"scenario": ..., "reload": ..., "fits": ...}`` from standard input, and write the timelines to the given file.
See benchmarks/README.md.
"""

from __future__ import annotations

import gc
import json
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

CLOCKS: Mapping[str, Callable[[], float]] = {"cpu": time.process_time, "wall": time.perf_counter}
_WARM_UP = 2

Marks = dict[str, dict[str, Any]]
"""By clock: ``fit`` and ``end``, the times when fit began and ended; ``begun`` and ``ended``, those of each step;
``validated``, the seconds of validation before each step and, last, in total. All since the build began."""


class Stopwatch:
    """A recorder of the marks of one training; ``attach`` makes Lightning's loops call it."""

    def __init__(self) -> None:
        self.marks: Marks = {name: {"begun": [], "ended": [], "validated": []} for name in CLOCKS}
        self._started = {name: clock() for name, clock in CLOCKS.items()}
        self._validation = dict.fromkeys(CLOCKS, 0.0)

    def attach(self, patches: Any) -> None:
        from faultlab.frameworks.lightning import namespaces, private_api

        for namespace in namespaces.loaded():
            patches.wrap(private_api.part(namespace, private_api.EPOCH_LOOP), "advance", self._step)
            patches.wrap(private_api.part(namespace, private_api.EVALUATION_LOOP), "run", self._validate)

    def fit(self) -> None:
        for name, seconds in self._now().items():
            self.marks[name]["fit"] = seconds

    def end(self) -> None:
        for name, seconds in self._now().items():
            self.marks[name]["end"] = seconds
            self.marks[name]["validated"].append(self._validation[name])

    def _now(self) -> dict[str, float]:
        return {name: clock() - self._started[name] for name, clock in CLOCKS.items()}

    def _step(self, advance: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            for name, seconds in self._now().items():
                self.marks[name]["begun"].append(seconds)
                self.marks[name]["validated"].append(self._validation[name])
            try:
                return advance(*args, **kwargs)
            finally:
                for name, seconds in self._now().items():
                    self.marks[name]["ended"].append(seconds)

        return step

    def _validate(self, run: Callable[..., Any]) -> Callable[..., Any]:
        def validate(loop: Any, *args: Any, **kwargs: Any) -> Any:
            if loop.trainer.sanity_checking:
                return run(loop, *args, **kwargs)
            begun = self._now()
            try:
                return run(loop, *args, **kwargs)
            finally:
                for name, seconds in self._now().items():
                    self._validation[name] += seconds - begun[name]

        return validate


def train(target: Any, reloading: Mapping[str, Any] | None = None) -> Marks:
    """Build the target and train it once; with ``reloading``, halfway, and then on from the checkpoint with a second.

    ``reloading`` has the ``epochs`` of the whole training, the ``monitor`` and its ``monitor_mode``.
    """
    import torch

    from faultlab.core.patching import Patches
    from faultlab.core.trajectory import Trajectory
    from faultlab.frameworks.lightning import confinement, resume
    from faultlab.frameworks.lightning.clock import LightningClock
    from faultlab.frameworks.lightning.training import LightningTraining
    from faultlab.sandbox.overlay import Overlay

    root = tempfile.mkdtemp(prefix="faultlab-bare-")

    def build(changed: Mapping[str, Any], interrupted: bool = False) -> Any:
        built = target.build(root, with_flags=False)
        guards = list(map(id, built.guards.values()))
        arguments = {**built.trainer_arguments, **changed}
        arguments["callbacks"] = [callback for callback in arguments["callbacks"] if id(callback) not in guards]
        if reloading is not None:
            kept = (reloading["monitor"], reloading["monitor_mode"])
            arguments = resume.with_checkpoints(arguments, built.namespace, root, *kept)
            if interrupted:
                arguments["callbacks"].append(resume.interruption(built.namespace, reloading["epochs"], lambda: None))
        trainer = built.trainer_class(**arguments)
        confinement.move(trainer, root)
        torch.set_num_threads(1)
        return LightningTraining(built, trainer, Trajectory(), LightningClock())

    _seed()
    try:
        with Patches() as patches:
            watch = Stopwatch()
            watch.attach(patches)
            confinement.confine(patches, Overlay(lambda: root, ()), lambda: root, set())
            training = build({}, interrupted=reloading is not None)
            watch.fit()
            training.run()
            if reloading is not None:
                resume.go_on(training.trainer, reloading["epochs"], build)
            watch.end()
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return watch.marks


def median(repeats: Sequence[Marks]) -> Marks:
    """Return the median of each mark, for the steps that all trainings have."""

    def of(marks: Sequence[Any]) -> Any:
        if isinstance(marks[0], list):
            return [statistics.median(points) for points in zip(*marks)]
        return statistics.median(marks)

    return {name: {mark: of([one[name][mark] for one in repeats]) for mark in repeats[0][name]} for name in CLOCKS}


def _seed() -> None:
    import numpy
    import torch

    random.seed(0)
    numpy.random.seed(0)
    torch.manual_seed(0)


def main(file: str) -> None:
    """Write ``{"start": ..., "plain": ..., "reload": ...}``; ``start`` is the CPU seconds of the imports."""
    asked = json.load(sys.stdin)
    sys.path[:0] = asked["scenario"]["path"]
    import torch

    torch.set_num_threads(1)

    from faultlab.frameworks.lightning.target import Target

    target = Target({**asked["scenario"], "guards": []})
    found: dict[str, Any] = {"start": time.process_time()}
    kinds = {"plain": None, "reload": asked["reload"]} if asked["reload"] else {"plain": None}
    for kind, reloading in kinds.items():
        for _ in range(_WARM_UP):
            train(target, reloading)
        # As in a victim, whose collector skips objects that existed before it.
        gc.collect()
        gc.freeze()
        found[kind] = median([train(target, reloading) for _ in range(asked["fits"])])
    Path(file).write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
