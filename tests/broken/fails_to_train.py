"""Has a training_step that raises in the third step of the clean run."""

from typing import Any

from tests.broken import healthy


class Model(healthy.Model):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if batch_idx == 2:
            raise ZeroDivisionError("the clean run divides by zero")
        return super().training_step(batch, batch_idx)
