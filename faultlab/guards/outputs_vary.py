"""The guard that checks that the model's outputs are finite and vary, and that its activations are alive."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from faultlab.guards.guard import Action, Guard, Level
from faultlab.guards.support import listening, trainer_state, trials
from faultlab.guards.support.training_view import TrainingView

_RECTIFIERS = (nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU)
_BOUNDED = (nn.Tanh, nn.Sigmoid)
_HALVES = (torch.float16, torch.bfloat16)


class OutputsVary(Guard):
    """A guard against outputs that are not finite, constant or in low precision, and against dead activations.

    It observes the module, if its forward pass is called as ``self(...)``, or else the last of its parts that ran, and
    activation layers. Finite values are checked in every step, the rest in the first steps and then regularly. The
    saturation of the last layer of a part is allowed, since it means a confident answer. Outputs in half precision are
    allowed if layers in single precision compute in it, other than the last one: then something like autocast is on for
    parts of the module. Within a compiled network only the outputs are observed, and of a module that is compiled as a
    whole nothing.

    Args:
        every: Steps between looks at everything but finite values, after the first steps.
        patience: Looks in a row for constant outputs and dead or saturated layers, since some models start with zeros.
        saturated: The share of values near the bounds, from 0 to 1, above which a layer is saturated.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    level: ClassVar[Level] = "full"
    checks = {
        "not-finite": "an output of the model is NaN or infinite",
        "constant": "the outputs are the same for all samples",
        "half-precision": "outputs have a lower precision than the parameters and the computation",
        "dead": "an activation layer returns only zeros",
        "saturated": "an activation layer returns only its bounds",
    }
    causes = {
        "not-finite": "output, forward, in forward, not finite, nan, infinite, overflow, log of, zero",
        "constant": "same output, constant, dead, zero, layer, weights, samples, in forward",
        "half-precision": "half, precision, float16, float32, output, forward, mixed, parameters, loss",
        "dead": "activation, dead, zero, output, relu, bias, scale, gradient, learning rate, samples",
        "saturated": "activation, saturated, scale, bias, gradient, learning rate, samples",
    }

    def __init__(
        self,
        every: int = 10,
        patience: int = 3,
        saturated: float = 0.9,
        *,
        action: Action = "raise",
        leave_out: Iterable[str] = (),
    ) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.every = every
        self.patience = patience
        self.saturated = saturated
        self._forget()

    def _forget(self) -> None:
        self._watched: list[tuple[nn.Module, Any]] = []
        self._outputs: list[tuple[str, Any, bool]] = []
        self._layers: dict[str, str] = {}
        self._rows: Counter[str] = Counter()
        self._steps = 0
        self._listening = False
        self._layers_in_half: list[bool] = []

    def __getstate__(self) -> dict[str, Any]:
        return {**super().__getstate__(), "_outputs": [], "_watched": []}

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._forget()

    def on_train_start(self, trainer: TrainingView, pl_module: Any) -> None:
        last = {list(part.children())[-1] for part in pl_module.modules() if list(part.children())}
        self._watched = []
        for name, part in listening.parts(pl_module):
            if "." not in name:
                self._watched.append((part, self._watcher(name or "the module", pl_module)))
            if isinstance(part, _RECTIFIERS) or (isinstance(part, _BOUNDED) and part not in last):
                self._watched.append((part, self._activation(name)))

    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self._listening = self._steps < 2 * self.patience or self._steps % self.every == 0
        self._outputs = []
        self._layers = {}
        for part, hook in self._watched:
            self.ears.after(part, hook)
        if not self._steps:
            for _, part in listening.parts(pl_module):
                if _is_layer(part):
                    self.ears.after(part, self._layer)

    def on_before_backward(self, trainer: TrainingView, pl_module: Any, loss: Any) -> None:
        self._judge(trainer, pl_module)

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self.ears.rest()
        self._judge(trainer, pl_module)
        self._listening = False
        self._steps += 1

    def _watcher(self, name: str, pl_module: Any) -> Any:
        def watch(module: Any, args: Any, output: Any) -> None:
            if module.training and not trials.trying():
                # The current state: when the loss is judged, autocast has ended.
                self._outputs.append((name, output, _autocasts(pl_module)))

        return watch

    def _layer(self, module: Any, args: Any, output: Any) -> None:
        if isinstance(output, Tensor) and not trials.trying():
            self._layers_in_half.append(output.dtype in _HALVES)

    def _activation(self, name: str) -> Any:
        def watch(module: Any, args: Any, output: Any) -> None:
            if not self._listening or trials.trying() or not isinstance(output, Tensor) or output.numel() < 16:
                return
            values = output.detach()
            if isinstance(module, _RECTIFIERS):
                dead = not bool(values.count_nonzero())
                self._layers[name] = "dead" if dead else ""
            else:
                low = 0.0 if isinstance(module, nn.Sigmoid) else -1.0
                near = ((values - low < 0.01) | (1.0 - values < 0.01)).float().mean()
                self._layers[name] = "saturated" if float(near) > self.saturated else ""

        return watch

    def _judge(self, trainer: TrainingView, pl_module: Any) -> None:
        outputs, self._outputs = self._outputs, []
        layers, self._layers = self._layers, {}
        if not outputs and not layers:
            return
        whole = [entry for entry in outputs if entry[0] == "the module"] or outputs[-1:]
        for name, output, autocast in whole[-1:]:
            floating = [t.detach() for t in trainer_state.tensors(output) if t.is_floating_point() and t.numel()]
            if floating:
                self._judge_outputs(name, floating, autocast, pl_module)
        for name, state in layers.items():
            for kind in ("dead", "saturated"):
                self._count(f"{kind} {name}", kind == state)
            if state and self._rows[f"{state} {name}"] >= self.patience:
                what = "is dead: it returns zero" if state == "dead" else "is saturated: it returns its bounds"
                self.alarm(
                    state,
                    f"the activation {name} {what} for all samples, in {self._rows[f'{state} {name}']} looks in a "
                    "row, so that the layers before it get no gradient",
                    "Look at the bias and the scale of its input, and at the learning rate.",
                )

    def _judge_outputs(self, name: str, outputs: list[Tensor], autocast: bool, pl_module: Any) -> None:
        if not all(_are_finite(output) for output in outputs):
            bad = sum(int((~torch.isfinite(output)).sum()) for output in outputs)
            self.alarm(
                "not-finite",
                f"{bad} values of the forward output of {name} are not finite (NaN or infinite)",
                "Look for an overflow, a division by zero or the log of zero in forward, and at the inputs.",
            )
            return
        half = [output for output in outputs if output.dtype in _HALVES]
        # The last layer alone may have been cast, and more layers work in half precision on purpose.
        if half and not autocast and not any(self._layers_in_half[:-1]) and _works_in_single(pl_module):
            self.alarm(
                "half-precision",
                f"the forward output of {name} is in half precision ({half[0].dtype}), though the parameters are "
                "float32 and mixed precision is off",
                "Cast to float32 before the loss, and leave the precision to "
                + self.terms.either("the Trainer.", "torch.autocast."),
            )
        if not self._listening:
            return
        rows = [output for output in outputs if output.dim() >= 1 and len(output) >= 4]
        # Comparing two samples nearly always suffices to see that they differ.
        constant = bool(rows) and all(
            torch.equal(output[0], output[-1]) and bool((output == output[:1]).all()) for output in rows
        )
        self._count(f"constant {name}", constant)
        if constant and self._rows[f"constant {name}"] >= self.patience:
            self.alarm(
                "constant",
                f"the forward output of {name} is constant: all {len(rows[0])} samples of a batch have the same "
                f"output, in {self._rows[f'constant {name}']} looks in a row",
                "Check whether the inputs are the same, or whether something in forward is zero (a gate, a dead "
                "layer, weights).",
            )

    def _count(self, what: str, seen: bool) -> None:
        self._rows[what] = self._rows[what] + 1 if seen else 0


def _are_finite(output: Tensor) -> bool:
    low, high = torch.aminmax(output.float())
    return math.isfinite(float(low)) and math.isfinite(float(high))


def _is_layer(part: nn.Module) -> bool:
    """Return whether a part computes with parameters of its own, in single precision."""
    own = [parameter.dtype for parameter in part.parameters(recurse=False)]
    return bool(own) and torch.float32 in own and not list(part.children())


def _works_in_single(pl_module: Any) -> bool:
    return {p.dtype for p in pl_module.parameters() if p.is_floating_point()} == {torch.float32}


def _autocasts(pl_module: Any) -> bool:
    device = getattr(pl_module, "device", None)
    try:
        return torch.is_autocast_enabled(getattr(device, "type", "cpu"))
    except (RuntimeError, TypeError):
        return True
