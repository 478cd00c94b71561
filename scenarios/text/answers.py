"""Questions with answers for fine-tuning: two of them share a row, and a small transformer keeps them apart."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset

PADDING, END, COLON = 0, 1, 2
KEYS = 8  # letters that decide about the answer
FIRST_KEY, FIRST_ANSWER = 3, 3 + KEYS
VOCABULARY = FIRST_ANSWER + KEYS
LENGTH = 14
IGNORED = -100
Batch = dict[str, Tensor]


def _question(generator: torch.Generator) -> tuple[list[int], list[int]]:
    """Return the tokens of a question and those of its answer: as many letters as its key, modulo three, demands."""
    key = int(torch.randint(KEYS, (), generator=generator))
    filler = int(torch.randint(2, (), generator=generator))
    return [FIRST_KEY + key] * (1 + filler) + [COLON], [FIRST_ANSWER + key] * (1 + key % 3) + [END]


class Answers(Dataset[Batch]):
    """Rows of two questions, padded on their left; only answers and their ends are to be learned.

    `input_ids`, `labels`, `segment_ids` and `attention_mask` have shape `int64[LENGTH]`. The padding belongs to the
    first question's segment, so that only the mask hides it.
    """

    def __init__(self, rows: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self.rows = [self._row(_question(generator), _question(generator)) for _ in range(rows)]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Batch:
        # Copies, so that a change of a sample does not stay in the dataset.
        return {name: part.clone() for name, part in self.rows[index].items()}

    @staticmethod
    def _row(*packed: tuple[list[int], list[int]]) -> Batch:
        ids, labels, segments = list[int](), list[int](), list[int]()
        for number, (question, answer) in enumerate(packed, 1):
            ids += question + answer
            labels += [IGNORED] * len(question) + answer
            segments += [number] * len(question + answer)
        missing = LENGTH - len(ids)
        return {
            "input_ids": torch.tensor([PADDING] * missing + ids),
            "labels": torch.tensor([IGNORED] * missing + labels),
            "segment_ids": torch.tensor([1] * missing + segments),
            "attention_mask": torch.tensor([0] * missing + [1] * len(ids)),
        }


class Answerer(nn.Module):
    """One block of causal attention within each segment; there are no positions, since the tokens are enough."""

    def __init__(self, width: int = 24) -> None:
        super().__init__()
        self.tokens = nn.Embedding(VOCABULARY, width)
        self.query_key_value = nn.Linear(width, 3 * width)
        self.merge = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )
        self.head = nn.Linear(width, VOCABULARY)

    def forward(self, input_ids: Tensor, segment_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Return the logits of each next token, `float32[n, LENGTH, VOCABULARY]`."""
        hidden: Tensor = self.tokens(input_ids)
        query, key, value = self.query_key_value(hidden).chunk(3, dim=-1)
        together = segment_ids[:, :, None] == segment_ids[:, None, :]
        seen = together & attention_mask[:, None, :].bool()
        # A padding sees itself, since a softmax over nothing is NaN.
        seen = (seen | torch.eye(seen.shape[-1], dtype=torch.bool, device=seen.device)).tril()
        hidden = hidden + F.scaled_dot_product_attention(query, key, value, attn_mask=seen)
        logits: Tensor = self.head(hidden + self.merge(hidden))
        return logits


def loss(model: nn.Module, batch: Batch) -> tuple[Tensor, Tensor]:
    """Return the cross-entropy of the tokens that are to be learned, and the share of them that is predicted."""
    logits = model(batch["input_ids"], batch["segment_ids"], batch["attention_mask"])[:, :-1]
    labels = batch["labels"][:, 1:]
    learned = labels != IGNORED
    right = (logits.argmax(dim=-1) == labels)[learned].float().mean()
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=IGNORED), right


def loaders(rows: int, batch_size: int) -> tuple[DataLoader[Batch], DataLoader[Batch]]:
    """Return a shuffled loader for training and one of other rows for validation."""
    training, validation = Answers(rows, seed=0), Answers(rows // 4, seed=1)
    return DataLoader(training, batch_size, shuffle=True), DataLoader(validation, 2 * batch_size)
