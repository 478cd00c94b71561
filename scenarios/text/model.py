"""A tiny causal transformer that reads the help topics of Python's standard library, character by character."""

from __future__ import annotations

from functools import lru_cache

import pytorch_lightning as pl
import torch
from pytorch_lightning.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

UNKNOWN = "\N{REPLACEMENT CHARACTER}"
Batch = dict[str, Tensor]


@lru_cache(maxsize=4)
def load_text(characters: int) -> str:
    """Return the beginning of the help topics, in an order that does not depend on how the library stores them.

    Cached, since the module behind it is one very large literal.
    """
    from pydoc_data.topics import topics

    return "\n".join(text for _, text in sorted(topics.items()))[:characters]


class Vocabulary:
    """The characters of a text and their ids; id 0 is for all characters that the text does not have."""

    def __init__(self, text: str) -> None:
        self.characters = [UNKNOWN, *sorted(set(text) - {UNKNOWN})]
        self._ids = {character: number for number, character in enumerate(self.characters)}

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> Tensor:
        """Return the ids, `int64[len(text)]`."""
        return torch.tensor([self._ids.get(character, 0) for character in text], dtype=torch.int64)

    def decode(self, ids: Tensor) -> str:
        """Return the text of some ids."""
        return "".join(self.characters[number] for number in ids.tolist())


class NextCharacter(Dataset[Batch]):
    """Adjacent windows; each label is the input one position later."""

    def __init__(self, ids: Tensor, window: int) -> None:
        self.ids = ids
        self.window = window

    def __len__(self) -> int:
        return (len(self.ids) - 1) // self.window

    def __getitem__(self, index: int) -> Batch:
        start = index * self.window
        # Views are enough, since collating a batch copies them.
        return {
            "input_ids": self.ids[start : start + self.window],
            "labels": self.ids[start + 1 : start + 1 + self.window],
        }


class TextData(pl.LightningDataModule):
    """Training windows from the front of the text and validation windows from its end, which never overlap."""

    def __init__(
        self, train_text: str, validation_text: str, vocabulary: Vocabulary, window: int, batch_size: int
    ) -> None:
        super().__init__()
        # The texts would enlarge every checkpoint.
        self.save_hyperparameters("window", "batch_size")
        self.train_text = train_text
        self.validation_text = validation_text
        self.vocabulary = vocabulary

    def setup(self, stage: str) -> None:
        """Encode both texts."""
        window = self.hparams["window"]
        self.train_windows = NextCharacter(self.vocabulary.encode(self.train_text), window)
        self.validation_windows = NextCharacter(self.vocabulary.encode(self.validation_text), window)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Shuffle the training windows."""
        return DataLoader(self.train_windows, batch_size=self.hparams["batch_size"], shuffle=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        """Return every validation window once."""
        return DataLoader(self.validation_windows, batch_size=2 * self.hparams["batch_size"])


class Block(nn.Module):
    """Causal self-attention and a feed-forward layer, each with normalization first and a residual connection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.merge = nn.Linear(width, width)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, hidden: Tensor) -> Tensor:
        """Map `float32[n, t, width]` to the same shape; position i sees only positions up to i."""
        n, t, width = hidden.shape
        projected = self.query_key_value(self.attention_norm(hidden)).view(n, t, 3, self.heads, width // self.heads)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, is_causal=True)
        hidden = hidden + self.merge(attended.transpose(1, 2).reshape(n, t, width))
        return hidden + self.feed_forward(hidden)


class LitCharTransformer(pl.LightningModule):
    """Predicts the next character from those before it."""

    def __init__(
        self,
        vocabulary_size: int,
        window: int,
        width: int = 32,
        heads: int = 2,
        layers: int = 1,
        dropout: float = 0.05,
        learning_rate: float = 0.02,
        warmup_steps: int = 5,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.characters = nn.Embedding(vocabulary_size, width)
        self.positions = nn.Embedding(window, width)
        # Embeddings of the default size one would dominate the output of the first block.
        nn.init.normal_(self.characters.weight, std=0.1)
        nn.init.normal_(self.positions.weight, std=0.1)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary_size)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return the logits of each next character, `float32[n, t, vocabulary]`."""
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        embedded = self.dropout(self.characters(input_ids) + self.positions(positions))
        return self.head(self.norm(self.blocks(embedded)))

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, Tensor]:
        """Return the cross-entropy per character on one batch."""
        loss = self._loss(self(batch["input_ids"]), batch["labels"])
        self.log("train_loss", loss)
        return {"loss": loss}

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Log `val_loss` and `val_accuracy`."""
        logits, labels = self(batch["input_ids"]), batch["labels"]
        accuracy = (logits.argmax(dim=-1) == labels).float().mean()
        self.log_dict({"val_loss": self._loss(logits, labels), "val_accuracy": accuracy})

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return F.cross_entropy(logits.flatten(0, 1), labels.flatten())

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW with a linear warm-up that is counted in steps instead of epochs."""
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams["learning_rate"], betas=(0.9, 0.99))
        warmup = torch.optim.lr_scheduler.LinearLR(
            optimizer, start_factor=0.2, total_iters=self.hparams["warmup_steps"]
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": warmup, "interval": "step"}}


def build(
    characters: int = 40_000,
    validation_fraction: float = 0.1,
    window: int = 16,
    batch_size: int = 48,
    learning_rate: float = 0.02,
) -> tuple[LitCharTransformer, TextData]:
    """Build the module and its data together: the vocabulary comes from the training text and sizes the module."""
    text = load_text(characters)
    border = int(len(text) * (1 - validation_fraction))
    train_text, validation_text = text[:border], text[border:]
    vocabulary = Vocabulary(train_text)
    module = LitCharTransformer(len(vocabulary), window, learning_rate=learning_rate)
    return module, TextData(train_text, validation_text, vocabulary, window, batch_size)
