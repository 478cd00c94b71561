"""gradient: failure modes of gradients that flow where they should be stopped."""

from __future__ import annotations

import torch

from faultlab.catalogue.injection_points import StopGradient
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "gradient.detach-missing",
    seam=StopGradient,
    severity="major",
    effect={"lightning": "raises", "torch": "silent"},
    cause=("detach", "stop gradient", "stop-gradient", "second time", "critic", "target"),
    evidence=("astariul/encode-attend-navigate-pytorch#3", "astariul/encode-attend-navigate-pytorch#2"),
)
def keep_attached(detached: torch.Tensor, ctx: Context) -> torch.Tensor:
    """A tensor that the loss is computed from is not detached, so gradients flow through it, too.

    Effect: a part that should only be a target, a baseline or an input is trained by a loss that is not its own: the
    critic is pulled towards what suits the actor, and a target follows its predictions. No error or warning is raised
    if one backward serves both. If each part has its own, as in an adversarial training, torch raises an error, because
    the second one goes through a graph that the first one has freed.
    Why it goes undetected: every number is the same, and only gradients differ. The losses fall.
    Example:
        advantage = reward - value              # value.detach() was meant
        loss = -(advantage * log_prob).mean() + F.mse_loss(value, reward)
    Remedy: test that the loss of the actor leaves no gradient in the critic: `torch.autograd.grad(actor_loss,
    critic.parameters(), allow_unused=True)` returns only None.
    """
    attached: torch.Tensor = ctx.memory["attached"]
    return attached
