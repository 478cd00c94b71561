"""The guard that checks that a language model is taught where its texts end."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from faultlab.guards.guard import Action, Guard
from faultlab.guards.labels import IGNORED
from faultlab.guards.support import batch_view, pace
from faultlab.guards.support.training_view import TrainingView

_FORMER = 4


class EndsSupervised(Guard):
    """A guard against end tokens whose labels are ignored, such as if the end token is also the padding token.

    It judges texts whose labels are the inputs themselves, with some ignored, as models with a shift of their own take
    them. All texts have to end with the same token, whose label is ignored wherever it occurs, after other tokens that
    are supervised. The end is the last one that an attention mask shows; without a mask, it is that of the longest text
    of a batch, which needs no padding.

    Args:
        looks: Batches with such texts that have to agree.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.
    """

    judges = "batches"
    checks = {"end-ignored": "the labels of the token that ends each text are ignored"}
    causes = {"end-ignored": "label, ignored, -100, masked, eos, padding, pad, end of text"}

    def __init__(self, looks: int = 8, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        self.looks = looks
        self._forget()

    def _forget(self) -> None:
        self._done = self.dormant = False
        self._found = 0
        self._token: int | None = None
        self._former: set[int] = set()

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._forget()

    @pace.sparse
    def on_train_batch_start(self, trainer: TrainingView, pl_module: Any, batch: Any, batch_idx: int) -> None:
        if self._done or not pace.due(trainer):
            return
        seen = batch_view.look(batch)
        inputs, labels = seen.inputs, seen.labels
        if inputs is None or labels is None or inputs.shape != labels.shape or inputs.ndim != 2:
            self._done = True
            return
        if inputs.is_floating_point() or labels.is_floating_point() or inputs.shape[1] < 3:
            self._done = True
            return
        self.looked += 1
        mask = next((part for path, part in seen.usual.items() if path.rpartition(".")[2] == "attention_mask"), None)
        self._look(inputs, labels, mask if mask is not None and mask.shape == inputs.shape else None)

    on_train_batch_end = batch_view.forgetting

    def _look(self, inputs: Tensor, labels: Tensor, mask: Tensor | None) -> None:
        supervised = labels != IGNORED
        if bool((supervised & (labels != inputs)).any()) or not bool(supervised.any()):
            self._done = True
            return
        ends = _ends(inputs, mask)
        token = int(inputs[0, ends[0]]) if len(ends) else -1
        rows = torch.arange(len(inputs), device=inputs.device)
        ended = len(ends) > 0 and bool((inputs[rows, ends] == token).all())
        never = not bool((supervised & (inputs == token)).any())
        before = (ends - 1).clamp(min=0)
        follows = ended and float(supervised[rows, before].float().mean()) > 0.9
        if not (ended and never and follows) or self._token not in (None, token):
            self._done = True
            return
        self._token = token
        self._former.update(inputs[rows, before].tolist())
        self._found += 1
        if self._found < self.looks or len(self._former) < _FORMER:
            return
        self._done = True
        self.alarm(
            "end-ignored",
            f"every text ends with the token {token}, whose label is {IGNORED} in all of {self._found} batches: it is "
            "masked like padding, and the model never learns to end a text",
            "Use another padding token than the end token (eos), or mask the labels of padding by the attention mask.",
        )


def _ends(inputs: Tensor, mask: Tensor | None) -> Tensor:
    """Return the place of the last token of each text, an empty tensor if it is unknown."""
    width = inputs.shape[1]
    places = torch.arange(width, device=inputs.device)
    if mask is not None:
        return torch.where(mask.bool(), places, 0).amax(1)
    # Padded to the longest text, whose own last token is the only one of its kind at its end.
    other = inputs != inputs[0, -1]
    if not bool(other.any(1).all()) or bool(other[:, -1].any()):
        return places[:0]
    ends = torch.where(other, places, 0).amax(1) + 1
    return ends if int(ends.max()) == width - 1 else places[:0]
