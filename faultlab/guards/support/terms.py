"""The terms of a training: how the code that trains names what alarms and remedies are about."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Terms:
    """The names that the user's code has for the parts of its training, to fit into the sentences of guards.

    Attributes:
        by_trainer: Whether a Trainer calls the user's hooks; otherwise the user's own loop calls torch.
        training: The whole training.
        training_step: The code that computes the loss of a batch.
        validation: The code that validates.
        within_validation: The code to look at if a validation changes what it should not.
        parameters: The expression for the module's parameters.
    """

    by_trainer: bool
    training: str
    training_step: str
    validation: str
    within_validation: str
    parameters: str

    def either(self, by_trainer: str, in_loop: str) -> str:
        """Return the text for a training by a Trainer, or the one for a loop of the user's own."""
        return by_trainer if self.by_trainer else in_loop


TRAINERS = Terms(
    by_trainer=True,
    training="fit",
    training_step="training_step",
    validation="validation_step",
    within_validation="validation_step or in code that it calls",
    parameters="self.parameters()",
)
LOOPS = Terms(
    by_trainer=False,
    training="the training",
    training_step="a training step",
    validation="the validation",
    within_validation="the validation",
    parameters="model.parameters()",
)
