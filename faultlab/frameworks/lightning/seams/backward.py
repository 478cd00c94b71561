"""From the loss to the update: the loss itself, the gradients that backward leaves, and the calls around the step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import namespaces
from faultlab.frameworks.lightning.seams.model import held_optimizers
from faultlab.injection.seam import Seam, Site

if TYPE_CHECKING:
    from faultlab.core.target_profile import Recon
    from faultlab.injection.armed_fault import Armed
    from faultlab.injection.clock import Clock


@dataclass(frozen=True)
class Loss(Seam):
    """The loss, whatever form the step's return has. The injector maps loss -> loss (a tensor of one element).

    Under manual optimisation it is what goes into ``manual_backward``, or into ``Tensor.backward`` where the module
    calls that itself.
    """

    leaves = frozenset({"batches", "forward"})

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        if armed.recon.automatic:
            patches.wrap(site.owner("training_step"), "training_step", self._in_output(armed))
        elif "manual_backward" in armed.recon.hooks:
            position = site.first_argument("manual_backward")
            patches.wrap(site.owner("manual_backward"), "manual_backward", self._in_argument(armed, position))
        else:
            patches.wrap(torch.Tensor, "backward", self._in_argument(armed, 0))

    def _in_output(self, armed: Armed) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def make(step: Callable[..., Any]) -> Callable[..., Any]:
            def mapped(*args: Any, **kwargs: Any) -> Any:
                output = step(*args, **kwargs)
                if not armed.due("train"):
                    return output
                if isinstance(output, torch.Tensor):
                    return armed.map(output)
                if isinstance(output, Mapping) and isinstance(output.get("loss"), torch.Tensor):
                    return {**output, "loss": armed.map(output["loss"])}
                return output

            return mapped

        return make

    def _in_argument(self, armed: Armed, position: int) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        def make(backward: Callable[..., Any]) -> Callable[..., Any]:
            def mapped(*args: Any, **kwargs: Any) -> Any:
                if len(args) > position and isinstance(args[position], torch.Tensor) and armed.due("train"):
                    args = (*args[:position], armed.map(args[position]), *args[position + 1 :])
                return backward(*args, **kwargs)

            return mapped

        return make

    def inapplicable(self, recon: Recon) -> str:
        return "" if recon.losses else "no loss was seen in the clean run"


@dataclass(frozen=True)
class Backward(Seam):
    """Around backward: the module's hook, or ``Tensor.backward`` where the module calls that itself.

    The injector is given the call.
    """

    leaves = frozenset({"batches", "forward", "metrics"})

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        owner = site.owner("backward") if "backward" in armed.recon.hooks else torch.Tensor
        patches.wrap(owner, "backward", armed.surrounding("train"))

    def inapplicable(self, recon: Recon) -> str:
        return "" if recon.losses else "no backward was seen in the clean run"


@dataclass(frozen=True)
class Gradients(Seam):
    """The gradients after backward. The injector gets the parameters that have one and changes ``.grad`` in place.

    It sees what this one backward left; what was accumulated before is added again afterwards. A sign turned on the sum
    would be turned back by the next batch that is accumulated.
    It acts before any ``on_after_backward``, so that guards see what it did.
    """

    leaves = frozenset({"batches", "forward", "metrics"})

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        def make(backward: Callable[..., Any]) -> Callable[..., Any]:
            def then_inject(*args: Any, **kwargs: Any) -> Any:
                if not armed.due("train"):
                    return backward(*args, **kwargs)
                module = site.present(armed.clock.trainer)
                if module is None:
                    return backward(*args, **kwargs)
                earlier = [(p, p.grad) for p in module.parameters() if p.grad is not None]
                for parameter, _ in earlier:
                    parameter.grad = None
                result = backward(*args, **kwargs)
                parameters = [p for p in module.parameters() if p.grad is not None]
                if parameters:
                    armed.in_place(parameters, _gradients)
                for parameter, gradient in earlier:
                    parameter.grad = gradient if parameter.grad is None else gradient.add_(parameter.grad)
                return result

            return then_inject

        if "backward" in armed.recon.hooks:
            patches.wrap(site.owner("backward"), "backward", make)
        else:
            patches.wrap(torch.Tensor, "backward", make)

    def inapplicable(self, recon: Recon) -> str:
        return "" if recon.losses else "no backward was seen in the clean run"


@dataclass(frozen=True)
class OptimizerStep(Seam):
    """Around ``optimizer.step(closure)``, of automatic and manual optimisation. The injector is given the call.

    Attached to Lightning's wrapper: a patched ``step`` on the optimizer itself brings torch's warning about the order
    of scheduler and optimizer. Where the module steps torch's own optimizers, past the wrapper, those that it or the
    Trainer holds are patched one by one, from the beginning of each training step to its end.
    ``ctx.memory["closure"]`` holds the closure, which runs the training step under
    automatic optimisation; the call takes another in its stead. ``ctx.memory["optimizer"]`` holds the optimizer.
    What the parameters are after the call counts too.
    """

    leaves = frozenset({"batches", "forward", "metrics"})

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        def around(optimizer: Any, closure: Any, step: Callable[..., Any]) -> Any:
            if not armed.due("train"):
                return step(closure)
            armed.ctx.memory.update(closure=closure, optimizer=optimizer)
            return armed.around(lambda own=closure: step(own), lambda: _held(optimizer))

        def wrapped(step: Callable[..., Any]) -> Callable[..., Any]:
            def stepping(optimizer: Any, closure: Any = None, **kwargs: Any) -> Any:
                return around(optimizer, closure, lambda own: step(optimizer, own, **kwargs))

            return stepping

        def bare(optimizer: torch.optim.Optimizer, step: Callable[..., Any]) -> Callable[..., Any]:
            def stepping(closure: Any = None, **kwargs: Any) -> Any:
                return around(optimizer, closure, lambda own: step(own, **kwargs) if own else step(**kwargs))

            return stepping

        if armed.recon.past_lightning:
            wrap_held_optimizers(patches, armed.clock, site, bare)
            return
        for namespace in namespaces.loaded():
            patches.wrap(namespaces.part(namespace, "core.optimizer:LightningOptimizer"), "step", wrapped)

    def inapplicable(self, recon: Recon) -> str:
        if "LightningOptimizer.step" in recon.hooks or recon.past_lightning:
            return ""
        return "training_step steps no optimizer that the module or its Trainer holds"


def wrap_held_optimizers(
    patches: Patches, clock: Clock, site: Site, make: Callable[[torch.optim.Optimizer, Callable[..., Any]], Any]
) -> None:
    """Replaces ``step`` of each optimizer that is held by module or Trainer while a training step runs."""

    def stepping(training_step: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            with Patches() as inner:
                for optimizer in held_optimizers(site.present(clock.trainer), clock.trainer):
                    inner.wrap(optimizer, "step", functools.partial(make, optimizer))
                return training_step(*args, **kwargs)

        return step

    patches.wrap(site.owner("training_step"), "training_step", stepping)


@dataclass(frozen=True)
class ZeroGrad(Seam):
    """Around ``optimizer.zero_grad()``, of automatic and manual optimisation. The injector is given the call."""

    leaves = frozenset({"batches", "forward", "metrics"})

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        patches.wrap(torch.optim.Optimizer, "zero_grad", armed.surrounding("train"))

    def inapplicable(self, recon: Recon) -> str:
        called = "Optimizer.zero_grad" in recon.hooks
        return "" if called else "no optimizer's zero_grad is called in the clean run"


def _gradients(parameters: list[torch.nn.Parameter]) -> list[torch.Tensor | None]:
    return [None if p.grad is None else p.grad.detach().clone() for p in parameters]


def _held(optimizer: Any) -> list[torch.Tensor]:
    return [p.detach().clone() for group in optimizer.param_groups for p in group["params"]]
