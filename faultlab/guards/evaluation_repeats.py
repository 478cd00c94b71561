"""In eval mode the network says the same of the same inputs, whatever random numbers there are."""

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
    """Detects dropout and noise that a network goes on with in eval mode, so that validation and predictions are noisy.

    It looks at the first batch of a validation. Where the module (or those of its parts that the step calls) draws
    random numbers, a copy is run twice, under two seeds, on what that was given. Where the outputs differ, dropout
    that is called as a function
    in a part that is in eval mode is an alarm, attention's `dropout_p` as well, unless the source says in so many
    words that it is always on (``training=True``). So is a layer without parameters that gives back one tensor of
    floats as it came in, but for noise, within a network.

    Whatever else draws is let pass: sampling from what the network says (a variational autoencoder), what the step
    itself draws (times and noise of a diffusion model), augmentation and corruption that the step calls, generators.
    """

    level: ClassVar[Level] = "full"
    judges = "forward"
    checks = {
        "dropout": "dropout drops in eval mode",
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
        self._drew = False

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_calls": [], "_marks": {}}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
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
            # Of what a part calls in its turn nothing is kept: that runs again with it.
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
        self.ears.rest()
        self._marks = {}
        self._done = True
        if not calls:
            self.skip("nothing of the module is heard in validation")
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
                self.skip(f"the copy's forward failed: {type(error).__name__}: {error}")
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
    """Sees which part of a network calls a function that draws; ``found`` has a finding a check."""

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
                f"{name} drops in {self._names.get(part, type(part).__name__)} ({type(part).__name__}) though it is in "
                "eval mode: validation and predictions are random",
                f"Pass {remedy}, or use nn.Dropout, which knows its mode.",
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
        # A sample of what the input says is likely has few values, and noise alone nothing of its input.
        if torch.unique(output).numel() <= 2 or not _resembles(given, output):
            return
        self.found.setdefault(
            "noise",
            (
                "noise",
                f"{self._names.get(part, type(part).__name__)} ({type(part).__name__}) adds noise to its input though "
                "it is in eval mode: validation and predictions are random",
                "Return the input as it is where self.training is false.",
            ),
        )


def _of(args: Any, kwargs: Any, place: int, name: str) -> Any:
    return kwargs[name] if name in kwargs else args[place] if len(args) > place else None


def _drops(args: Any, kwargs: Any) -> bool:
    """Whether a call of dropout drops; torch's own functions take ``training`` third at the latest."""
    p = kwargs.get("p", args[1] if len(args) > 1 else 0.5)
    training = kwargs.get("training", kwargs.get("train", args[2] if len(args) > 2 else True))
    return bool(training) and isinstance(p, (int, float)) and p > 0


def _is_meant(part: nn.Module) -> bool:
    """Whether the source says that dropout is always on; where there is none to read, it may be."""
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
    """Inputs of their own memory, with which no inference mode has to do."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(part) for key, part in value.items()}
    if type(value) in (tuple, list):
        return type(value)(_copied(part) for part in value)
    return value
