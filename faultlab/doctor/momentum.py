"""A momentum of the size of a weight decay, as an argument that was passed by position is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from faultlab.doctor.finding import Finding, Seen, wrong

_NONE = 0.01
"""A momentum below this makes no difference: it adds a hundredth of the last step."""


def of_optimizer(optimizer: Any) -> tuple[float, float]:
    """Return the momentum and the weight decay of an optimizer's first group; 0 where it has none."""
    group = optimizer.param_groups[0]
    momentum, decay = (group.get(name, 0) for name in ("momentum", "weight_decay"))
    return tuple(float(one) if isinstance(one, (int, float)) else 0.0 for one in (momentum, decay))  # type: ignore[return-value]


def swapped(seen: Seen) -> Iterator[Finding]:
    """Find a momentum that is far too small to be one."""
    for name, (momentum, decay) in (seen.get("momenta") or {}).items():
        if 0 < momentum < _NONE:
            has = "has the same value" if decay == momentum else f"is {decay:g}"
            yield wrong(
                f"the momentum of {name} is {momentum:g}, which is next to no momentum, and looks like a weight decay "
                "that was passed by position",
                f"its weight_decay {has}; the arguments of SGD are params, lr, momentum, dampening, weight_decay",
                f"Pass both by name: momentum=0.9, weight_decay={momentum:g}.",
            )
