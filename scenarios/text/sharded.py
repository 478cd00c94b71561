"""The character transformer for several ranks that share its parameters: FSDP2, with metrics that are averaged."""

from __future__ import annotations

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.nn import functional as F

from scenarios.text.model import Batch, Block, TextData, Vocabulary, load_text


class CharTransformer(nn.Module):
    """A causal transformer over characters."""

    def __init__(self, vocabulary_size: int, window: int, width: int, heads: int, layers: int) -> None:
        super().__init__()
        self.characters = nn.Embedding(vocabulary_size, width)
        self.positions = nn.Embedding(window, width)
        # Embeddings of the default size one would dominate the output of the first block.
        nn.init.normal_(self.characters.weight, std=0.1)
        nn.init.normal_(self.positions.weight, std=0.1)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary_size)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the logits of each next character, `float32[n, t, vocabulary]`."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        return self.head(self.norm(self.blocks(self.characters(input_ids) + self.positions(positions))))


class LitShardedTransformer(pl.LightningModule):
    """Predicts the next character; each rank holds a part of every parameter."""

    def __init__(
        self,
        vocabulary_size: int,
        window: int,
        width: int = 32,
        heads: int = 2,
        layers: int = 1,
        learning_rate: float = 0.02,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.model = CharTransformer(vocabulary_size, window, width, heads, layers)

    def configure_model(self) -> None:
        """Shard each block by itself, and the rest together."""
        mesh = self.device_mesh["data_parallel"]
        for block in self.model.blocks:
            fully_shard(block, mesh=mesh)
        fully_shard(self.model, mesh=mesh)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the cross-entropy per character on this rank's batch."""
        loss = self._loss(self.model(batch["input_ids"]), batch["labels"])
        self.log("train_loss", loss, sync_dist=True)
        return loss

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log `val_loss` and `val_accuracy`, averaged over the ranks."""
        logits, labels = self.model(batch["input_ids"]), batch["labels"]
        accuracy = (logits.argmax(dim=-1) == labels).float().mean()
        self.log_dict({"val_loss": self._loss(logits, labels), "val_accuracy": accuracy}, sync_dist=True)

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW with a linear warm-up that is counted in steps instead of epochs."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams["learning_rate"], betas=(0.9, 0.99))
        warmup = torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.2, total_iters=3)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": warmup, "interval": "step"}}


def build(characters: int = 8_000, window: int = 16, batch_size: int = 16) -> tuple[LitShardedTransformer, TextData]:
    """Build the module and its data together: the vocabulary comes from the training text and sizes the module."""
    text = load_text(characters)
    border = int(len(text) * 0.9)
    vocabulary = Vocabulary(text[:border])
    module = LitShardedTransformer(len(vocabulary), window)
    return module, TextData(text[:border], text[border:], vocabulary, window, batch_size)
