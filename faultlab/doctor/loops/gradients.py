"""In the victim: the gradients of a loop's optimizers, from one backward pass to the next step and beyond."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch

_CLIPS = 40


class Gradients:
    """Records whether gradients are cleared, and what becomes of them between backward and the step.

    ``seen`` has ``backwards``; ``judged`` and ``stale``, the steps that an optimizer has taken after another one, and
    those of them before which no backward pass found its gradients cleared; ``steps``, and ``empty_steps`` whose
    gradients are missing or all zero; ``cleared`` (clearings of gradients that no step has used); and ``clips`` (the
    limit, and the norm before it), ``clipped_early``, those before the backward pass, and ``clipped_scaled``, the
    limits and scales of those between a GradScaler's ``scale`` and ``unscale_``. ``graded`` has the ids of the weights
    that had a gradient in some step, and ``scale`` what gradients and the loss are multiplied by now.
    """

    def __init__(self) -> None:
        self.seen: dict[str, Any] = {
            "backwards": 0, "judged": 0, "stale": 0, "steps": 0, "empty_steps": 0, "cleared": 0, "clips": [],
            "clipped_early": 0, "clipped_scaled": [],
        }  # fmt: skip
        self.graded: set[int] = set()
        self._uncleared: list[Any] = []
        self._stepped: list[Any] = []
        self._unused = False
        self.scale = 1.0

    def before_backward(self) -> None:
        """Note the optimizers whose gradients have been cleared since their last step."""
        # The backward of one optimizer may reach the weights of another, as in adversarial training.
        for optimizer in [*self._uncleared]:
            if not any(_nonzero(one) for one in _held(optimizer)):
                self._uncleared.remove(optimizer)

    def after_backward(self) -> None:
        """Count a backward pass, whose gradients wait for a step."""
        self.seen["backwards"] += 1
        self._unused = True

    def before_step(self, optimizer: Any, closure: bool) -> None:
        """Look at what is left of the gradients at the step."""
        self.seen["steps"] += 1
        # They may be cleared after the step, as the Trainer of transformers does.
        self.graded.update(
            id(one) for group in optimizer.param_groups for one in group["params"] if one.grad is not None
        )
        if closure:
            return
        if optimizer in self._stepped:
            self.seen["judged"] += 1
            self.seen["stale"] += optimizer in self._uncleared
        if not any(_nonzero(one) for one in _held(optimizer)):
            self.seen["empty_steps"] += 1

    def after_step(self, optimizer: Any) -> None:
        """Expect that the gradients are cleared before the next step."""
        self._unused = False
        for known in (self._stepped, self._uncleared):
            if optimizer not in known:
                known.append(optimizer)

    def idle(self, optimizer: Any) -> bool:
        """Return whether an optimizer was never stepped, and another one was."""
        # A wrapper, such as Accelerate's, has the groups of the optimizer that it steps.
        groups = getattr(optimizer, "param_groups", None)
        others = [one for one in self._stepped if one.param_groups is not groups]
        return groups is not None and bool(others) and len(others) == len(self._stepped)

    def clearing(self, clear: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``zero_grad`` to record gradients that are cleared unused."""

        def around(owner: Any, *args: Any, **kwargs: Any) -> Any:
            held = _held(owner) if hasattr(owner, "param_groups") else owner.parameters()
            if self._unused and any(_nonzero(one) for one in held):
                self.seen["cleared"] += 1
            return clear(owner, *args, **kwargs)

        return around

    def clipping(self, clip: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap a function that clips gradients to record its limit and the norm before."""

        def around(parameters: Any, *args: Any, **kwargs: Any) -> Any:
            clipped = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
            limit = args[0] if args else kwargs.get("max_norm", kwargs.get("clip_value"))
            if len(self.seen["clips"]) < _CLIPS and isinstance(limit, (int, float)):
                self.seen["clips"].append((float(limit), _norm(clipped)))
                self.seen["clipped_early"] += not self._unused
                if self.scale > 1:
                    self.seen["clipped_scaled"].append((float(limit), self.scale))
            return clip(clipped, *args, **kwargs)

        return around

    def scaling(self, scale: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``GradScaler.scale``: the gradients of what it returns are multiplied until they are unscaled."""

        def around(scaler: Any, *args: Any, **kwargs: Any) -> Any:
            scaled = scale(scaler, *args, **kwargs)
            self.scale = float(scaler.get_scale()) if scaler.is_enabled() else 1.0
            return scaled

        return around

    def unscaling(self, unscale: Callable[..., Any]) -> Callable[..., Any]:
        """Wrap ``GradScaler.unscale_``, which a scaler's step calls unless the loop has."""

        def around(*args: Any, **kwargs: Any) -> Any:
            self.scale = 1.0
            return unscale(*args, **kwargs)

        return around


def _held(optimizer: Any) -> Iterable[Any]:
    return (one for group in optimizer.param_groups for one in group["params"])


def _nonzero(parameter: Any) -> bool:
    gradient = parameter.grad
    if gradient is None:
        return False
    values = gradient.coalesce().values() if gradient.is_sparse else gradient
    return bool(values.any())


def _norm(parameters: Iterable[Any]) -> float:
    gradients = [one.grad for one in parameters if one.grad is not None and not one.grad.is_sparse]
    if not gradients:
        return 0.0
    return float(torch.linalg.vector_norm(torch.stack([torch.linalg.vector_norm(one.float()) for one in gradients])))
