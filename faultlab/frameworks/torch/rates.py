"""Facts about the learning rates of a training: which groups have their own, and how long schedules raise them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from faultlab.frameworks.torch.facts import rate
from faultlab.frameworks.torch.optimizers import groups_in, optimizers_in, rate_in


def configured(optimizers: Any) -> dict[str, Any]:
    """Return facts of a target profile about optimizers as they were constructed: ``decays``, ``group_settings``."""
    found = set()
    for optimizer in optimizers_in(optimizers):
        groups = [group for group in optimizer.param_groups if group["params"]]
        values = {"lr": map(rate, groups), "weight_decay": (rate_in(group, "weight_decay") for group in groups)}
        found |= {name for name, own in values.items() if len(set(own) - {None}) > 1}
    decays = any(group.get("weight_decay") for group in groups_in(optimizers))
    return {"decays": decays, "group_settings": tuple(sorted(found))}


class WarmUp:
    """Follows the learning rates of a clean run.

    Attributes:
        turns: The number of scheduler steps until the highest learning rate was first reached.
    """

    def __init__(self) -> None:
        self.turns = 0
        self._highest = 0.0

    def updating(self, optimizers: Any, schedulers: Iterable[Any]) -> None:
        """Note the rates of the step that an optimizer is about to take."""
        groups = (group for optimizer in optimizers_in(optimizers) for group in optimizer.param_groups)
        now = max((abs(rate_in(group, "lr") or 0.0) for group in groups), default=0.0)
        if now > self._highest:
            self._highest = now
            self.turns = max((int(getattr(one, "last_epoch", 0) or 0) for one in schedulers), default=0)
