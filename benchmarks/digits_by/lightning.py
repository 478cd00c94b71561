"""The digits classifier, trained with Lightning: it clips what the loop written by hand clips."""

from __future__ import annotations

from torch import nn
from torch.optim import Optimizer

from scenarios.digits.model import LitDigits


class ClippedDigits(LitDigits):
    """Clips the gradients of the model, as loops do; Lightning's default clips those that its optimizer holds."""

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the norm that the Trainer is given."""
        if gradient_clip_val is not None:
            nn.utils.clip_grad_norm_(self.parameters(), max_norm=gradient_clip_val)
