"""In the victim: the course of a training: batches planned and delivered, validation, failed inspections."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from faultlab.core.alert import safe_text
from faultlab.core.patching import Patches
from faultlab.core.user_code import UserCode
from faultlab.doctor import anatomy, batches, callbacks, loss_graph, planned, replay
from faultlab.doctor.loss_inputs import LossInputs
from faultlab.doctor.metric_objects import MetricObjects
from faultlab.doctor.samples import Samples

# Later steps resemble the first ones: walking the graph and watching every torch call in all of them would be slow.
_LOOKED_AT = 3
_EPOCHS = 200


class Course:
    """Fills ``seen`` while the training runs.

    ``plan`` (see `planned.plan`), ``attendants`` (see `callbacks.facts`), ``trains_in_validation`` and
    ``rests_in_training`` (layers), ``monitored`` (names of logged metrics), ``epochs`` (with promised and delivered
    batches), ``sanity_batches`` and ``real_validation_batches``, ``batch`` (facts about the first one), ``graph``
    (of the first steps' losses), ``compared`` (inputs of losses), ``labels`` (of the last loss that takes class
    numbers), ``replay`` (see `replay.facts`), ``terms`` (see `LossTerms`), ``samples`` and ``metrics`` (see `Samples`
    and `MetricObjects`), ``unread`` (failed inspections: part, error).
    """

    def __init__(self, seen: dict[str, Any], code: UserCode) -> None:
        self._seen = seen
        self._inputs = LossInputs(code)
        self._modes: list[str] = []
        self._samples, self._metrics = Samples(), MetricObjects()
        seen.update(
            unread=[],
            epochs=[],
            sanity_batches=0,
            real_validation_batches=0,
            graph=[],
            plan={},
            attendants={},
            trains_in_validation=[],
            rests_in_training=[],
            monitored=[],
            compared=self._inputs.found,
            labels=self._inputs.labels,
            terms=self._inputs.terms.found,
            samples=self._samples.found,
            metrics=self._metrics.found,
        )

    def attach(self, patches: Patches, base: type) -> None:
        """Watch metrics; see `MetricObjects.attach`."""
        self._metrics.attach(patches, base)

    def hook(self, trainer: Any, name: str) -> None:
        """Take in a hook that Lightning is about to call on its callbacks."""
        with self._looking(name):
            self._at(trainer, name)
        with self._looking("the metrics"):
            self._metrics.hook(trainer, name)
        if name == "on_train_end":
            with self._looking("the samples"):
                self._samples.end(trainer)
            if self._seen["real_validation_batches"]:
                with self._looking("the steps on the same batches"):
                    self._seen["replay"] = replay.facts(trainer, anatomy.module_of(trainer))

    def _at(self, trainer: Any, name: str) -> None:
        seen = self._seen
        if name == "on_train_start":
            seen["plan"] = planned.plan(trainer)
            seen["attendants"] = callbacks.facts(trainer)
            self._inputs.terms.asked(anatomy.scripted()[0].get("precision"), anatomy.module_of(trainer))
            seen["rested_before"] = anatomy.resting_layers(anatomy.module_of(trainer))
        elif name == "on_train_epoch_start" and len(seen["epochs"]) < _EPOCHS:
            promised = planned.plan(trainer)["batches"]
            seen["epochs"].append({"epoch": trainer.current_epoch, "promised": promised, "delivered": 0})
        elif name == "on_train_batch_start" and seen["epochs"]:
            seen["epochs"][-1]["delivered"] += 1
            if seen["epochs"][-1]["delivered"] == len(seen["epochs"]) == 1:
                seen["rests_in_training"] = anatomy.resting_layers(anatomy.module_of(trainer))
        elif name == "on_validation_batch_start":
            seen["sanity_batches" if trainer.sanity_checking else "real_validation_batches"] += 1
            self._modes = anatomy.training_layers(anatomy.module_of(trainer))
        elif name == "on_validation_end" and not trainer.sanity_checking:
            seen["monitored"] = sorted({*seen["monitored"], *trainer.callback_metrics})
        elif name == "on_validation_batch_end":
            added = [one for one in anatomy.training_layers(anatomy.module_of(trainer)) if one not in self._modes]
            seen["trains_in_validation"] += [one for one in added if one not in seen["trains_in_validation"]]
            self._modes += added

    @contextlib.contextmanager
    def step(self, arguments: tuple[Any, ...]) -> Iterator[Callable[[Any, Any], None]]:
        """Wrap a training step with these arguments; yield a function that takes the module and the output."""
        first = len(self._seen["graph"]) < _LOOKED_AT
        if "batch" not in self._seen and arguments:
            with self._looking("the batch"):
                given = arguments[0]
                self._seen["batch"] = {
                    "is": batches.described(given),
                    "kind": batches.kind(given),
                    "parts": batches.parts(given),
                    "keys": batches.keys(given),
                    "types": batches.types(given),
                }
        if len(self._seen["epochs"]) < 2 and arguments:
            with self._looking("the samples of a batch"):
                self._samples.batch(arguments[0])
        self._inputs.begin(arguments)
        with self._inputs if first else contextlib.nullcontext():
            yield self._told if first else _nothing

    def _told(self, module: Any, output: Any) -> None:
        with self._looking("the loss's graph"):
            self._seen["graph"].append(loss_graph.facts(module, output))
        with self._looking("the loss's direction"):
            self._inputs.weigh(output)

    @contextlib.contextmanager
    def _looking(self, what: str) -> Iterator[None]:
        """Record an error of the doctor's own, so that it does not end the training."""
        try:
            yield
        except Exception as error:  # a user's objects may raise anything when they are inspected
            if len(self._seen["unread"]) < _LOOKED_AT:
                self._seen["unread"].append({"part": what, "error": f"{type(error).__name__}: {safe_text(error, 200)}"})


def _nothing(module: Any, output: Any) -> None:
    """Ignore the output: later steps are not looked at."""
