"""The guard that checks that a network in eval mode gives the same outputs for the same inputs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from faultlab.guards.guard import Action, Guard, Level
from faultlab.guards.support import draws, listening, trainer_state, trials
from faultlab.guards.support.training_view import TrainingView

_DROPOUTS = {
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_dropout", "feature_alpha_dropout",
}  # fmt: skip
_NOISE = {"randn", "randn_like", "rand", "rand_like", "normal_", "uniform_"}
_ALWAYS_ON = re.compile(r"training\s*=\s*True\b|\bdropout\w*\([^()]*,\s*True\s*[,)]")


class EvaluationRepeats(Guard):
    """A guard against dropout and noise that stay active in eval mode, so that validation and predictions are noisy.

    It looks at the first batch of a validation. If the module, or the parts of it that the step calls, draws random
    numbers, a copy is run twice on the same inputs under two seeds. If the outputs differ, two causes raise an alarm:
    functional dropout, or attention with `dropout_p`, in a part that is in eval mode, unless its source keeps dropout
    on explicitly (``training=True``); and a layer without parameters that returns its input, one tensor of floats, with
    noise.

    Other random numbers are allowed: sampling from the network's output (a variational autoencoder), draws of the step
    itself (times and noise of a diffusion model), augmentation and corruption called by the step, and generators.

    Args:
        tolerance: The allowed difference of the outputs, as a share of their largest value.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    level: ClassVar[Level] = "full"
    judges = "forward"
    checks = {
        "dropout": "dropout is active in eval mode",
        "noise": "a layer adds noise in eval mode",
    }
    causes = {
        "dropout": "dropout, eval mode, random, validation",
        "noise": "noise, eval mode, random, validation, training",
    }

    def __init__(self, tolerance: float = 1e-4, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.tolerance = tolerance
        self._forget()

    def _forget(self) -> None:
        self._done = False
        self._calls: list[tuple[str, Any, Any]] = []
        self._marks: dict[str, draws.Mark] = {}
        self._drew = self._again = False

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_calls": [], "_marks": {}}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        trials.prepare(pl_module, trainer, self.skip)
        self._forget()

    def on_validation_batch_start(
        self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if self._done or self.ears or not trainer.is_fitting:
            return
        for name, part in listening.parts(pl_module):
            if "." not in name:
                self.ears.before(part, self._begins(name))
                self.ears.after(part, self._ends(name))

    def _begins(self, name: str) -> Any:
        def hear(module: Any, args: Any, kwargs: Any) -> None:
            # Calls within a recorded call are not recorded, since they run again with it.
            if not trials.trying() and len(self._calls) < 8 and not any(call[0] == "" for call in self._calls):
                self._calls.append((name, args, kwargs))
                self._marks[name] = draws.mark()

        return hear

    def _ends(self, name: str) -> Any:
        def hear(module: Any, args: Any, output: Any) -> None:
            if not trials.trying() and name in self._marks:
                self._drew = draws.since(self._marks.pop(name)) or self._drew

        return hear

    def on_validation_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int, dataloader_idx: int = 0
    ) -> None:
        if not self.ears:
            return
        calls, self._calls = self._calls, []
        if not self._again and not self._drew and not any(name == "" for name, _, _ in calls):
            # In a loop, the validation shows by the first call of the module itself, which has begun by then.
            self._again = True
            self._marks = {}
            return
        self.ears.rest()
        self._marks = {}
        self._done = True
        if not calls:
            self.skip("no call of the module was observed in validation")
            return
        if not self._drew:
            self.looked += len(calls)
            return
        trial = trials.shared(pl_module, trainer, self.skip)
        if trial is None:
            return
        for name, args, kwargs in calls:
            runner = trial.module if name == "" else getattr(trial.module, name, None)
            if not isinstance(runner, nn.Module):
                continue
            try:
                found = self._tried(trial, runner, args, kwargs)
            except Exception as error:
                self.skip(f"the forward pass of the copy failed: {type(error).__name__}: {error}")
                continue
            self.looked += 1
            if found:
                self.alarm(*found)

    def _tried(self, trial: trials.Trial, runner: nn.Module, args: Any, kwargs: Any) -> tuple[str, str, str] | None:
        watch = _Watch(runner)
        drew = False
        outputs: list[list[Tensor]] = []
        try:
            for seed in (1, 2):
                with trial.running(), watch:
                    draws.reseed(seed)
                    output = runner(*_copied(args), **_copied(kwargs))
                    drew = draws.drawn(seed)
                    outputs.append([t.clone() for t in trainer_state.tensors(output) if t.is_floating_point()])
                if not drew or not watch.found:
                    return None
        finally:
            watch.leave()
        one, other = outputs
        return next(iter(watch.found.values())) if self._differ(one, other) else None

    def _differ(self, one: list[Tensor], other: list[Tensor]) -> bool:
        pairs = [(a, b) for a, b in zip(one, other) if a.shape == b.shape and a.numel()]
        return any(bool((a - b).abs().max() > self.tolerance * a.abs().max()) for a, b in pairs)


class _Watch(TorchFunctionMode):
    """Records which part of a network calls a function that draws. ``found`` has one finding for each check."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.found: dict[str, tuple[str, str, str]] = {}
        self._names = {part: name or type(part).__name__ for name, part in network.named_modules()}
        self._running: list[nn.Module] = []
        self._noisy: set[nn.Module] = set()
        self._hooks: list[Any] = []
        for part in network.modules():
            self._hooks.append(part.register_forward_pre_hook(self._enter))
            self._hooks.append(part.register_forward_hook(self._exit))

    def leave(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        part = self._running[-1] if self._running else None
        name = getattr(func, "__name__", "")
        if part is not None and not part.training and not isinstance(part, nn.modules.dropout._DropoutNd):
            if (name in _DROPOUTS and _drops(args, kwargs)) or (
                name == "scaled_dot_product_attention" and _of(args, kwargs, 4, "dropout_p")
            ):
                self._dropped(part, name)
            elif name in _NOISE and not list(part.parameters()) and len(self._running) > 1:
                self._noisy.add(part)
        return func(*args, **kwargs)

    def _dropped(self, part: nn.Module, name: str) -> None:
        if name != "scaled_dot_product_attention" and _is_meant(part):
            return
        remedy = "dropout_p=p if self.training else 0.0" if name.startswith("scaled") else "training=self.training"
        self.found.setdefault(
            "dropout",
            (
                "dropout",
                f"{name} drops values in {self._names.get(part, type(part).__name__)} ({type(part).__name__}), which "
                "is in eval mode: validation and predictions are random",
                f"Pass {remedy}, or use nn.Dropout, which follows the mode.",
            ),
        )

    def _enter(self, part: nn.Module, args: Any) -> None:
        self._running.append(part)

    def _exit(self, part: nn.Module, args: Any, output: Any) -> None:
        self._running.pop()
        if part not in self._noisy or len(args) != 1 or not isinstance(output, Tensor):
            return
        given = args[0]
        if not isinstance(given, Tensor) or given.shape != output.shape or not given.is_floating_point():
            return
        # A sample drawn from the input's probabilities has few values, and pure noise doesn't resemble the input.
        if torch.unique(output).numel() <= 2 or not _resembles(given, output):
            return
        self.found.setdefault(
            "noise",
            (
                "noise",
                f"{self._names.get(part, type(part).__name__)} ({type(part).__name__}) adds noise to its input, "
                "though it is in eval mode: validation and predictions are random",
                "Return the input unchanged if self.training is False.",
            ),
        )


def _of(args: Any, kwargs: Any, place: int, name: str) -> Any:
    return kwargs[name] if name in kwargs else args[place] if len(args) > place else None


def _drops(args: Any, kwargs: Any) -> bool:
    """Return whether a call of dropout drops values. In torch, ``training`` is at most the third argument."""
    p = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
    training = kwargs.get("training", kwargs.get("train", args[2] if len(args) > 2 else True))
    return bool(training) and isinstance(p, (int, float)) and p > 0


def _is_meant(part: nn.Module) -> bool:
    """Return whether the source keeps dropout on explicitly, or can't be read."""
    try:
        source = inspect.getsource(type(part))
    except (OSError, TypeError):
        return True
    return bool(_ALWAYS_ON.search(source))


def _resembles(given: Tensor, output: Tensor) -> bool:
    one, other = given.flatten().float(), output.flatten().float()
    if one.numel() < 2 or bool(one.std() == 0):
        return False
    return bool(torch.corrcoef(torch.stack([one, other]))[0, 1] > 0.5)


def _copied(value: Any) -> Any:
    """Return copies of inputs, which are not inference tensors."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_copied(part) for part in value)
    return value
