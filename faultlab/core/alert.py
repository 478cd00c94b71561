"""An alert: one signal of a detector, with its step and its message."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

# ModelCheckpoint's warning whenever a training is resumed or repeated.
_NOT_EMPTY = "exists and is not empty"


@dataclass(frozen=True)
class Alert:
    """One signal of a detector.

    Attributes:
        kind: guard, test, module, framework or process.
        name: The detector's name.
        step: The training step of the signal, from 0.
        message: The text of the signal.
        how: raised, stopped, warned or exited.
        reason: Groups similar signals: an exception's class, EarlyStopping's reason, or a warning's text without
            numbers.
        causes: The words for the cause that the detector declares as data; if empty, the message is searched.
        rank: The rank of the process that sent it; None in a run of one process, and for what every rank sent.
    """

    kind: str
    name: str
    step: int
    message: str
    how: str = "raised"
    reason: str = ""
    causes: str = ""
    rank: int | None = None

    @property
    def finds_nothing(self) -> bool:
        """True if it only reports that the training reached its goal or that a folder is not empty."""
        goal = self.how == "stopped" and self.reason == "stopping_threshold"
        return goal or (self.how == "warned" and _NOT_EMPTY in self.message)

    def same_alert(self, other: Alert) -> bool:
        """Return True if the other alert is the same signal, at any step."""
        return (self.kind, self.name, self.how, self.reason) == (other.kind, other.name, other.how, other.reason)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    def as_false_alarm(self) -> dict[str, Any]:
        """Return the entry that a report has for a false alarm."""
        return {"kind": self.kind, "name": self.name, "step": self.step, "message": self.message}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Alert:
        return cls(**data)


# A run that stops because it is finished is not an alarm; EarlyStopping's other reasons are.
_DONE = ("patience_exhausted", "stopping_threshold")


def is_false_alarm(alert: Alert) -> bool:
    """Return True if an alert of a clean run is a false alarm and not the end of a finished training."""
    done = alert.how == "stopped" and alert.reason in _DONE
    return alert.kind == "guard" and not done and not alert.finds_nothing


def causes_of(signal: object) -> str:
    """Return the words for the cause that an exception or a warning declares, as those of ready-made guards do."""
    found = getattr(signal, "causes", "")
    return found if isinstance(found, str) else ""


def safe_text(error: object, limit: int = 2000) -> str:
    """Return the text of an exception or object, whatever its ``__str__`` does."""
    try:
        text = str(error)
    except Exception as broken:  # a victim's __str__ may raise too
        text = f"<{type(error).__name__}, whose text raised {type(broken).__name__}>"
    return text if len(text) <= limit else text[:limit] + "..."
