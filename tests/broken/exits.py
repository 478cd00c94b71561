"""Ends the process in the middle of the clean run."""

import os
from typing import Any

from tests.broken import healthy


class Model(healthy.Model):
    def training_step(self, batch: Any, batch_idx: int) -> Any:
        os._exit(9)
