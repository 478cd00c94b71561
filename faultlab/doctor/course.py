"""In the victim: the course of a training: batches planned and delivered, validation, failed inspections."""

from __future__ import annotations

import contextlib
import sys
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
    ``rests_in_training`` and ``rests_later`` (layers, from the first batch on or not), ``rested_by`` (the places that
    call ``eval``, by function), ``monitored`` (names of logged metrics), ``epochs`` (with promised and delivered
    batches), ``sanity_batches`` and ``real_validation_batches``, ``batch`` (facts about the first one), ``graph``
    (of the first steps' losses), ``compared`` (inputs of losses), ``labels`` (of the last loss that takes class
    numbers), ``guess`` (see `Guesses`), ``class_weights`` (see `Weighted`), ``replay`` and ``idle_parts`` (see
    `replay`), ``terms`` (see `LossTerms`), ``samples`` and ``metrics`` (see `Samples` and `MetricObjects`),
    ``unread`` (failed inspections: part, error).

    Inspections run inside the context ``beside``, which marks what they call as not part of the training.
    """

    def __init__(
        self, seen: dict[str, Any], code: UserCode, beside: Callable[[], contextlib.AbstractContextManager[None]]
    ) -> None:
        self._seen = seen
        self._beside = beside
        self._inputs = LossInputs(code)
        self._modes: list[str] = []
        self._samples, self._metrics = Samples(), MetricObjects()
        self._code = code
        self._first_batch: Any = None
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
            rests_later=[],
            rested_by={},
            monitored=[],
            compared=self._inputs.found,
            labels=self._inputs.labels,
            terms=self._inputs.terms.found,
            reach=self._inputs.reach.facts(),
            samples=self._samples.found,
            metrics=self._metrics.found,
        )

    def attach(self, patches: Patches, base: type) -> None:
        """Watch metrics, see `MetricObjects.attach`, and who puts modules into evaluation mode."""
        import torch

        self._metrics.attach(patches, base)
        patches.wrap(torch.nn.Module, "train", self._switching)

    def _switching(self, train: Callable[..., Any]) -> Callable[..., Any]:
        def switching(module: Any, mode: bool = True) -> Any:
            frame = sys._getframe(1)
            if frame.f_code.co_name == "eval" and frame.f_back is not None:
                frame = frame.f_back
            if self._code.holds(frame):
                # A function that switches back leaves nothing behind.
                self._seen["rested_by"].pop(name := frame.f_code.co_name, None)
                if not mode:
                    self._seen["rested_by"][name] = f"{frame.f_code.co_filename}:{frame.f_lineno}"
            return train(module, mode)

        return switching

    def hook(self, trainer: Any, name: str) -> None:
        """Take in a hook that Lightning is about to call on its callbacks."""
        with self._looking(name):
            self._at(trainer, name)
        # Early: at the end the loss may be 0, whatever it depends on.
        if name == "on_train_batch_end" and self._first_batch is not None:
            batch, self._first_batch = self._first_batch, None
            with self._looking("the parts of the batch"):
                self._seen["idle_parts"] = replay.idle_parts(trainer, anatomy.module_of(trainer), batch)
        with self._looking("the metrics"):
            self._metrics.hook(trainer, name)
        if name == "on_train_end":
            with self._looking("the targets"):
                self._seen["guess"] = self._inputs.guesses.loss()
                self._seen["class_weights"] = (self._inputs.weighted.weights, self._inputs.weighted.counts)
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
            elif seen["epochs"][-1]["delivered"] <= 2 and not seen["rests_later"]:
                resting = set(anatomy.resting_layers(anatomy.module_of(trainer)))
                seen["rests_later"] = sorted(resting - set(seen["rests_in_training"]))
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
                given = self._first_batch = arguments[0]
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
            with self._beside():
                yield
        except Exception as error:  # a user's objects may raise anything when they are inspected
            if len(self._seen["unread"]) < _LOOKED_AT:
                self._seen["unread"].append({"part": what, "error": f"{type(error).__name__}: {safe_text(error, 200)}"})


def _nothing(module: Any, output: Any) -> None:
    """Ignore the output: later steps are not looked at."""
