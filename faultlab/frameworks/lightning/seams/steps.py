"""The module's own methods: what a step returns, how a hook is called, and whether the class defines it at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from faultlab.core.patching import Patches
from faultlab.frameworks.lightning import namespaces
from faultlab.injection.seam import Seam, Site

if TYPE_CHECKING:
    from faultlab.core.target_profile import Recon
    from faultlab.injection.armed_fault import Armed

STEP_METHODS = {
    "training_step": "train",
    "validation_step": "validate",
    "test_step": "test",
    "predict_step": "predict",
}


_WITHIN_STEPS = (*STEP_METHODS, "on_train_batch_start", "on_train_batch_end", "backward", "manual_backward",
                 "on_before_backward", "on_after_backward", "optimizer_step", "optimizer_zero_grad",
                 "on_before_zero_grad", "on_before_optimizer_step", "configure_gradient_clipping", "lr_scheduler_step",
                 "on_train_epoch_end")  # fmt: skip


@dataclass(frozen=True)
class StepOutput(Seam):
    """What ``training_step`` and its siblings return. The injector maps output -> output."""

    leaves = frozenset({"batches", "forward", "metrics"})

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        def mapping(stage: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
            def make(step: Callable[..., Any]) -> Callable[..., Any]:
                def mapped(*args: Any, **kwargs: Any) -> Any:
                    output = step(*args, **kwargs)
                    return armed.map(output) if armed.due(stage) else output

                return mapped

            return make

        for name, stage in STEP_METHODS.items():
            if namespaces.overrides(site.cls, name):
                patches.wrap(site.owner(name), name, mapping(stage))


@dataclass(frozen=True)
class StepCall(Seam):
    """The call of one of the module's hooks. The injector is "around": it may raise, skip, repeat or swallow."""

    hook: str = "training_step"

    @property
    def attach_at(self) -> str:  # type: ignore[override]
        """At the step only for what Lightning calls after it: hooks of the fit's or epoch's start are over by then."""
        return "step" if self.hook in _WITHIN_STEPS else "fit"

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        patches.wrap(site.owner(self.hook), self.hook, armed.surrounding(STEP_METHODS.get(self.hook)))

    def inapplicable(self, recon: Recon) -> str:
        return "" if self.hook in recon.hooks else f"{self.hook} is never called in the clean run"


@dataclass(frozen=True)
class Definition(Seam):
    """What the class defines under a hook's name. The injector maps function or None -> function or None (not defined).

    Lightning decides before training which hooks a module has, so this seam is in place before fit.
    """

    hook: str = "training_step"
    attach_at = "fit"

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        own = getattr(site.cls, self.hook) if namespaces.overrides(site.cls, self.hook) else None
        if not armed.due(STEP_METHODS.get(self.hook, "train")):
            return
        new = armed.map(own)
        if new is own:
            return
        fallback = getattr(namespaces.base_module(site.cls), self.hook, None)
        if new is None and fallback is None:
            return
        patches.set(site.owner(self.hook), self.hook, fallback if new is None else new)
