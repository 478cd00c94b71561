"""The digits classifier for trainings of several ranks: its metrics are averaged over them."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from scenarios.digits.model import Batch, LitDigits


class LitDigitsOnRanks(LitDigits):
    """Logs with `sync_dist`, since each rank sees only its share of the data."""

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the cross-entropy on this rank's batch."""
        images, labels = batch
        loss = F.cross_entropy(self(images), labels)
        self.log("train_loss", loss, on_step=False, on_epoch=True, sync_dist=True)
        return loss

    def _evaluate(self, batch: Batch, stage: str) -> None:
        images, labels = batch
        logits = self(images)
        accuracy = (logits.argmax(dim=1) == labels).float().mean()
        logged = {f"{stage}_loss": F.cross_entropy(logits, labels), f"{stage}_accuracy": accuracy}
        self.log_dict(logged, sync_dist=True)
