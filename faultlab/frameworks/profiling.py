"""The interface of a recorder of target profiles, which each framework implements."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, Protocol

from faultlab.core.target_profile import TargetProfile


class Profiling(Protocol):
    """Records how the target is built, during a clean run."""

    def given(self, batch: Any) -> None:
        """Record the batch of a step that is called without a loader.

        Args:
            batch: The batch, of any nesting.
        """

    def watching(self) -> AbstractContextManager[None]:
        """Return a context that records the run.

        Returns:
            The context. Nothing remains attached after it.
        """

    def profile(self, trainer: Any, steps: int, validation_batches: int) -> TargetProfile:
        """Return the target profile.

        Args:
            trainer: The framework's trainer; None for a step that was called without one.
            steps: The number of training steps.
            validation_batches: The number of validation batches.

        Returns:
            The profile. The plan uses it to select the faults that apply to the target.
        """
