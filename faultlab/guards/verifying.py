"""Checks of a model before it trains: `verify`."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from types import SimpleNamespace
from typing import Any, Literal

from torch import nn

from faultlab.guards.alarm import Alarm, GuardWarning
from faultlab.guards.guard import Guard
from faultlab.guards.initial_weights import InitialWeights
from faultlab.guards.samples_independent import SamplesIndependent
from faultlab.guards.support import draws, guessing, mode_difference, trainer_state, trials
from faultlab.guards.support.hand_loop import HandLoop
from faultlab.guards.support.overfitting import Overfitted, overfit
from faultlab.guards.support.parameter_samples import some
from faultlab.guards.support.stepping import Stepping
from faultlab.guards.verification import Checked, Verification

Reaction = Literal["report", "warn", "raise"]
_BELOW = 0.95
CHECKS = ("weights", "step", "initial-loss", "samples", "modes", "gradients", "overfits")
_REMEDIES = {
    "step": "Call the step with one batch of the training loader, on the device of the model.",
    "initial-loss": "Check the scale of the last layer's initial weights, and whether the loss takes logits or "
    "probabilities.",
    "modes": "Let only dropout and normalization depend on the mode, or leave this check out.",
    "gradients": "Check whether the loss depends on these parameters: look for detached tensors, no_grad, dead "
    "activations, and layers that forward doesn't call. Freeze those that should not learn.",
    "overfits": "Check whether the output depends on the inputs, whether every layer gets a gradient, and whether the "
    "loss compares the right values.",
}


def verify(
    model: nn.Module,
    batch: Any,
    loss: Callable[[Any, Any], Any] | None = None,
    *,
    action: Reaction = "report",
    leave_out: Iterable[str] = (),
    steps: int = 50,
    rate: float = 0.01,
    least: float = 0.2,
    chance: float = 2.0,
) -> Verification:
    """Check a model on one batch before it trains.

    >>> found = verify(model, next(iter(loader)), lambda model, batch: F.cross_entropy(model(batch[0]), batch[1]))
    ... # doctest: +SKIP

    The checks, by name:

    - ``weights``: the initial weights are finite, varied and of a plausible size (`InitialWeights`);
    - ``step``: the loss of the batch is a finite number;
    - ``initial-loss``: if it is a cross-entropy, it is not far above that of guessing all classes alike;
    - ``samples``: outputs depend on their own sample only, in eval mode (`SamplesIndependent`);
    - ``modes``: training and eval mode differ by dropout, normalization and random numbers only;
    - ``gradients``: every trainable parameter gets a gradient, and not always zero;
    - ``overfits``: a copy of the model can learn the batch (`OverfitsBatch`).

    All of them run on copies. The model keeps its weights, buffers, gradients and modes, and the random number
    generators their states.

    Args:
        model: A `torch.nn.Module`, such as a LightningModule.
        batch: A batch as the training loader yields it, on the device of the model.
        loss: A function of the model and the batch that returns the loss. It must call the model that it is given. None
            for a module with a ``training_step``, whose output is used.
        action: What a failed check does. "report" only reports it, "warn" issues a `GuardWarning` for each, and "raise"
            raises an `Alarm` for the first one after all checks have run.
        leave_out: Names of checks that do not fit the model.
        steps: Steps of Adam on the batch, for ``gradients`` and ``overfits``.
        rate: The learning rate of Adam.
        least: The required fall of the copy's loss, as a share.
        chance: How many times the loss of guessing the initial loss may be.

    Returns:
        The result of each check, and the names of the frozen parameters. It is false if a check failed.

    Raises:
        Alarm: A check failed, and the action is "raise". Its ``guard`` is "verify".
        TypeError: The model is not a module, can't be copied, or needs a ``loss``.
        ValueError: The action or a name in ``leave_out`` is unknown, or ``loss`` uses another model than the one that
            it is given.
    """
    if action not in ("report", "warn", "raise"):
        raise ValueError(f"invalid action {action!r}: expected 'report', 'warn' or 'raise'")
    if unknown := set(leave_out) - set(CHECKS):
        raise ValueError(f"verify has no check {', '.join(sorted(unknown))}: expected {', '.join(CHECKS)}")
    if not isinstance(model, nn.Module):
        raise TypeError(f"invalid model of type {type(model).__name__}: expected a torch.nn.Module")
    if loss is None and not callable(getattr(model, "training_step", None)):
        raise TypeError(f"{type(model).__name__} has no training_step: pass a function of model and batch as `loss`")
    wanted = [check for check in CHECKS if check not in set(leave_out)]
    with _left_alone(model):
        trial = _Tried(model, batch, loss, steps, rate, least, chance)
        results = tuple(Checked(check, *trial.result(check)) for check in wanted)
    parameters = list(model.named_parameters())
    verification = Verification(
        type(model).__name__,
        results,
        tuple(name for name, parameter in parameters if parameter.requires_grad),
        tuple(name for name, parameter in parameters if not parameter.requires_grad),
    )
    for failed in verification.failed:
        alarm = Alarm("verify", failed.check, failed.found, failed.remedy)
        if action == "raise":
            raise alarm
        if action == "warn":
            warnings.warn(GuardWarning(str(alarm)), stacklevel=2)
    return verification


_Result = tuple[Any, ...]
"""The outcome of a check, what was found and the remedy: the fields of `Checked` after the first."""


class _Tried:
    """A model and a batch under the checks. What several of them need is computed once."""

    def __init__(
        self, model: nn.Module, batch: Any, loss: Any, steps: int, rate: float, least: float, chance: float
    ) -> None:
        self.own = model
        self.model = model if loss is None else Stepping(model, loss)
        self.batch = batch
        self.steps, self.rate, self.least, self.chance = steps, rate, least, chance
        self.view = HandLoop([], SimpleNamespace(batch_size=trainer_state.samples(batch)), None, 1, 1)
        self._overfitted: Overfitted | str | None = None
        self._broken = ""

    def result(self, check: str) -> _Result:
        if check != "weights" and not trainer_state.learns(self.model):
            return "skipped", "the step optimizes the module itself"
        if self._broken and check != "weights":
            return "skipped", "the step fails"
        result: _Result = getattr(self, f"_{check.replace('-', '_')}")()
        return result if result[0] != "failed" or len(result) > 2 else (*result, _REMEDIES[check])

    def _copy(self) -> trials.Trial:
        try:
            return trials.Trial(self.model, self.view)
        except Exception as error:
            raise TypeError(f"the model can't be copied: {type(error).__name__}: {error}") from error

    def _weights(self) -> _Result:
        guard = InitialWeights()
        return self._judged(guard, lambda: guard.on_fit_start(self.view, self.own)) or (
            "passed",
            "the initial weights are finite, varied and of a plausible size",
        )

    def _judged(self, guard: Guard, look: Callable[[], None]) -> _Result | None:
        """Return the result of a guard that raises an alarm or can't look, None if it looks and finds nothing."""
        try:
            look()
        except Alarm as alarm:
            return "failed", alarm.found, alarm.remedy
        finally:
            guard.ears.off()
        reason = next(iter(guard.skipped), guard._failed)
        return ("skipped", reason) if reason else None

    def _step(self) -> _Result:
        trial = self._copy()
        try:
            with trial.running(grad=True):
                output = trial.step(self.batch, 0)
        except Exception as error:
            self._broken = f"the step raises {type(error).__name__}: {error}"
            return "failed", self._broken
        self._output = output.get("loss") if isinstance(output, dict) else output
        value = trainer_state.loss_of(output)
        if value is None or not math.isfinite(float(value)):
            self._broken = "the step returns no loss" if value is None else f"the loss is {float(value)}"
            return "failed", self._broken, "Return a finite loss, as a tensor of one element."
        return "passed", f"the loss of the batch is {float(value):.4g}"

    @property
    def _loss(self) -> Any:
        if not hasattr(self, "_output"):
            self._step()
        return getattr(self, "_output", None)

    def _initial_loss(self) -> _Result:
        guess = guessing.of_uniform(self._loss, guessing.integers(self.batch)) if self._loss is not None else None
        if guess is None:
            return "skipped", "the loss is not a cross-entropy of the batch's labels"
        value = float(self._loss.detach())
        found = f"the loss is {value:.4g}, and that of guessing all classes alike {guess:.4g}"
        return ("passed" if value <= self.chance * guess else "failed"), found

    def _samples(self) -> _Result:
        guard, trial = SamplesIndependent(), self._copy()

        def look() -> None:
            guard.on_train_batch_start(self.view, trial.module, self.batch, 0)
            # Outside of the trial's context, in which guards ignore calls.
            with draws.undrawn():
                output = trial.step(self.batch, 0)
            guard.on_train_batch_end(self.view, trial.module, output, self.batch, 0)

        return self._judged(guard, look) or ("passed", "each output depends on its own sample only")

    def _modes(self) -> _Result:
        trial = self._copy()
        try:
            found = mode_difference.find(trial, lambda: trial.step(self.batch, 0), 1e-4)
        except Exception as error:
            return "skipped", f"the step of the copy failed in eval mode: {type(error).__name__}: {error}"
        if found:
            shown = [f"{name} ({kind})" if name else kind for name, kind in zip(self._names(found), found.values())]
            return "failed", f"{some(shown)} computes something else in training mode than in eval mode"
        return "passed", "dropout, normalization and random numbers aside, training and eval mode agree"

    def _trained(self) -> Overfitted | str:
        """Return what the training of a copy showed, or the reason why there was none."""
        if self._overfitted is None:
            try:
                self._overfitted = overfit(self._copy(), self.batch, 0, self.steps, self.rate)
            except (RuntimeError, ValueError) as error:
                self._overfitted = f"a copy can't be trained: {error}"
        return self._overfitted

    def _gradients(self) -> _Result:
        done = self._trained()
        if isinstance(done, str):
            return ("failed" if "require grad" in done or "empty parameter list" in done else "skipped"), done
        without, unmoved = map(self._names, (done.without, done.unmoved))
        found = [f"{some(without)} never gets a gradient"] if without else []
        found += [f"the gradient of {some(unmoved)} is always zero"] if unmoved else []
        return ("failed", " and ".join(found)) if found else ("passed", "every trainable parameter gets a gradient")

    def _names(self, names: Iterable[str]) -> list[str]:
        """Return the names of parts as the model has them."""
        known = list(names)
        return known if self.model is self.own else [name.partition(".")[2] for name in known]

    def _overfits(self) -> _Result:
        done = self._trained()
        if isinstance(done, str):
            return "skipped", done
        if not done.comparable:
            return "skipped", "the loss is zero at the beginning, or not finite later"
        fell, began, ends = done.fell(self.least)
        found = f"in {self.steps} steps on this batch alone, the loss of a copy goes from {began:.4g} to {ends:.4g}"
        labels = guessing.integers(self.batch)
        explained = [labels[index] for index in guessing.explained(self._loss, labels)]
        guess = guessing.entropy(explained) if explained else None
        if guess is not None and ends > _BELOW * guess:
            return "failed", f"{found}, and that of guessing by the frequency of the labels is {guess:.4g}"
        return ("passed" if fell else "failed"), found


@contextlib.contextmanager
def _left_alone(model: nn.Module) -> Iterator[None]:
    """Check that the model's own gradients stay as they are, and restore random states."""
    before = [(parameter, parameter.grad) for parameter in model.parameters()]
    with draws.undrawn():
        yield
    touched = [parameter for parameter, gradient in before if parameter.grad is not gradient]
    for parameter, gradient in before:
        parameter.grad = gradient
    if touched:
        raise ValueError("`loss` uses another model than the one that it is given as its first argument")
