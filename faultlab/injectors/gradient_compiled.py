"""gradient: failure modes of backward passes that do not belong to their forward pass."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.injection_points import HeadInput
from faultlab.injection import tree
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode


class _Miscompiled(torch.autograd.Function):
    """Returns its input; backward leaves the second half of the gradient as an earlier step has left it."""

    @staticmethod
    def forward(graph: Any, value: torch.Tensor, memory: dict[Any, Any], step: int) -> torch.Tensor:
        graph.memory, graph.step = memory, step
        return value.view_as(value)

    @staticmethod
    def backward(graph: Any, gradient: torch.Tensor) -> Any:
        # By step, since a guard may compute the gradients of a step once more.
        known = graph.memory.setdefault(("buffer", gradient.shape), {})
        earlier = known.get(max((step for step in known if step < graph.step), default=None))
        kept = torch.zeros_like(gradient) if earlier is None else earlier
        known[graph.step] = gradient.detach().clone()
        for step in sorted(known)[:-2]:
            del known[step]
        half = (gradient.shape[-1] if gradient.dim() else 1) // 2
        return torch.cat([gradient[..., :half], kept[..., half:]], -1) if half else kept, None, None


@failure_mode(
    "gradient.compiled-differs",
    seam=HeadInput,
    severity="critical",
    effect="silent",
    cause=("gradient", "compil", "stale", "eager", "differ"),
    needs=("several-steps",),
    evidence=("pytorch/pytorch#193061", "pytorch/pytorch#185509"),
)
def miscompile_backward(value: Any, ctx: Context) -> Any:
    """The forward pass is right, and backward computes wrong gradients, as a miscompiled module does.

    It acts on the input of the last layer: half of its gradient is never written, and holds what the step before has
    left there. The target does not have to be compiled.

    Effect: the last layer learns as usual, and all layers before it in partly wrong directions. No error or warning is
    raised.
    Why it goes undetected: outputs and losses agree with those of the eager module to the last digit, and the loss
    falls.
    Example:
        model = torch.compile(model)            # under torch 2.10 with shared scales of chained normalizations
    Remedy: test that the gradients of the compiled module equal those of the eager one
    (`faultlab.testing.assert_compiled_equivalent`), after every change of version.
    """

    def wrong(tensor: torch.Tensor) -> torch.Tensor:
        if not tensor.requires_grad:
            return tensor
        result: torch.Tensor = _Miscompiled.apply(tensor, ctx.memory, ctx.step)  # type: ignore[no-untyped-call]
        return result

    return tree.map_tensors(value, wrong)
