"""An alert: that somebody raised or signalled, at which step, and in which words."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# What ModelCheckpoint warns of whenever a training is resumed, or done again.
_NOT_EMPTY = "exists and is not empty"


@dataclass(frozen=True)
class Alert:
    """``kind`` is guard, test, module, framework or process; ``how`` is raised, stopped, warned or exited.

    ``reason`` groups alike signals: an exception's class, EarlyStopping's reason, a warning's text without numbers.
    ``causes`` holds the words for the cause that the detector declares as data; if empty, the message is searched.
    """

    kind: str
    name: str
    step: int
    message: str
    how: str = "raised"
    reason: str = ""
    causes: str = ""

    @property
    def finds_nothing(self) -> bool:
        """Whether it only says that training got where it was meant to, or that a folder holds files already."""
        goal = self.how == "stopped" and self.reason == "stopping_threshold"
        return goal or (self.how == "warned" and _NOT_EMPTY in self.message)

    def same_alert(self, other: Alert) -> bool:
        """Whether the other alert is the same alarm, at whatever step."""
        return (self.kind, self.name, self.how, self.reason) == (other.kind, other.name, other.how, other.reason)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def as_false_alarm(self) -> dict[str, Any]:
        """What a report says of it where it is one of a healthy run."""
        return {"kind": self.kind, "name": self.name, "step": self.step, "message": self.message}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Alert:
        return cls(**data)


# A run that stops because it is done is no alarm; the rest of EarlyStopping's reasons are.
_DONE = ("patience_exhausted", "stopping_threshold")


def is_false_alarm(alert: Alert) -> bool:
    """Whether an alert on a clean run is a false alarm, rather than training that is simply done."""
    done = alert.how == "stopped" and alert.reason in _DONE
    return alert.kind == "guard" and not done and not alert.finds_nothing


def causes_of(signal: object) -> str:
    """Return the words for the cause that an exception or a warning declares, as those of ready-made guards do."""
    found = getattr(signal, "causes", "")
    return found if isinstance(found, str) else ""


def safe_text(error: object, limit: int = 2000) -> str:
    """An exception's or object's text, whatever its ``__str__`` does."""
    try:
        text = str(error)
    except Exception as broken:  # a victim's __str__ may raise too
        text = f"<{type(error).__name__}, whose text raised {type(broken).__name__}>"
    return text if len(text) <= limit else text[:limit] + "..."
