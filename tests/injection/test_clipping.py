"""Functions that clip gradients, replaced by several at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.utils import clip_grad_norm_, clip_grads_with_norm_

from faultlab.core.patching import Make, Patches
from faultlab.frameworks.torch.seams.clipping import wrap_functions
from faultlab.guards.support.clip_calls import CALLS


def parameter() -> nn.Parameter:
    """A parameter whose gradient is (3, 4)."""
    made = nn.Parameter(torch.zeros(2))
    made.grad = torch.tensor([3.0, 4.0])
    return made


def noting(name: str, called: list[str]) -> Make:
    def make(clip: Callable[..., Any]) -> Callable[..., Any]:
        def around(*args: Any, **kwargs: Any) -> Any:
            called.append(name)
            return clip(*args, **kwargs)

        return around

    return make


def by_its_own_name(clipped: nn.Parameter) -> None:
    clip_grad_norm_([clipped], 1.0)


def by_torchs_module(clipped: nn.Parameter) -> None:
    nn.utils.clip_grad_norm_([clipped], 1.0)


def by_a_known_norm(clipped: nn.Parameter) -> None:
    clip_grads_with_norm_([clipped], 1.0, torch.tensor(5.0))


@pytest.mark.parametrize("clip", [by_its_own_name, by_torchs_module, by_a_known_norm])
def test_whoever_replaces_them_last_is_called_first_by_every_name(clip: Callable[[nn.Parameter], None]) -> None:
    called: list[str] = []
    clipped = parameter()
    with Patches() as outer, Patches() as inner:
        wrap_functions(outer, noting("outer", called))
        wrap_functions(inner, noting("inner", called))
        clip(clipped)
    assert called == ["inner", "outer"]
    assert clipped.grad is not None
    assert float(clipped.grad.norm()) == pytest.approx(1.0)
    clip(clipped)
    assert called == ["inner", "outer"]


def test_a_fault_and_a_guard_that_observes_clipping_are_both_called() -> None:
    called: list[str] = []

    def observe(parameters: list[Any], limit: float, by_norm: bool) -> None:
        called.append(f"guard, limit {limit:g}")

    CALLS.observe(observe)
    try:
        with Patches() as patches:
            wrap_functions(patches, noting("fault", called))
            nn.utils.clip_grad_value_([parameter()], 2.0)
    finally:
        CALLS.leave(observe)
    assert called == ["fault", "guard, limit 2"]
