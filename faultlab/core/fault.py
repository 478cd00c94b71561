"""A fault: one failure mode with its dose, its trigger and its seed, and the text that says so.

The text form is ``mode[:name=value,...][@when[,stage=...][,rank=...][,seed=...]]``, for example
``label.noisy:fraction=0.3@step=8,stage=train``. ``Fault.parse(str(fault)) == fault`` holds for every fault.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from faultlab.errors import FaultSyntaxError

STAGES = ("train", "validate", "test", "predict")
MODE_ID = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*\.[a-z][a-z0-9]*(?:-[a-z0-9]+)*\Z")
_DOSE_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_DOSE_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")

DoseValue = int | float | str


@dataclass(frozen=True)
class Trigger:
    """When a fault acts.

    ``kind`` is one of ``always``, ``once``, ``step``, ``epoch``, ``every`` and ``p``. ``number`` is the training step
    (counted from 0 over all epochs), the epoch (from 0), the period in steps, or the probability a step has.
    ``stage`` and ``rank`` narrow it; without a stage the failure mode's own stages hold.
    """

    kind: str = "always"
    number: float | None = None
    stage: str | None = None
    rank: int | None = None

    def __post_init__(self) -> None:
        if self.kind in ("always", "once"):
            if self.number is not None:
                raise FaultSyntaxError(f"@{self.kind} takes no number")
        elif self.kind in ("step", "epoch", "every"):
            if self.number is None or not _is_whole(self.number) or self.number < (self.kind == "every"):
                raise FaultSyntaxError(f"@{self.kind} needs a whole number, such as @{self.kind}=8")
            object.__setattr__(self, "number", int(self.number))
        elif self.kind == "p":
            if self.number is None or not 0 <= self.number <= 1:
                raise FaultSyntaxError("@p needs a probability from 0 to 1, such as @p=0.1")
        else:
            raise FaultSyntaxError(f"unknown trigger @{self.kind}; use @always, @once, @step=, @epoch=, @every= or @p=")
        if self.stage is not None and self.stage not in STAGES:
            raise FaultSyntaxError(f"unknown stage {self.stage!r}; use one of {', '.join(STAGES)}")
        if self.rank is not None and self.rank < 0:
            raise FaultSyntaxError("rank is counted from 0")

    def fires(self, step: int, epoch: int, acted: int, seed: int = 0) -> bool:
        """Whether the fault acts at this training step; ``acted`` counts the times it already did."""
        if self.kind == "always":
            return True
        if self.kind == "once":
            return acted == 0
        assert self.number is not None
        if self.kind == "step":
            return step == self.number
        if self.kind == "epoch":
            return epoch == self.number
        if self.kind == "every":
            return step % int(self.number) == 0
        # A hash and not a generator: the same steps act whether or not the run was forked half-way.
        digest = hashlib.sha256(f"{seed}/{step}".encode()).digest()
        return int.from_bytes(digest[:8], "big") / 2**64 < self.number

    def __str__(self) -> str:
        text = self.kind if self.number is None else f"{self.kind}={self.number}"
        if self.stage is not None:
            text += f",stage={self.stage}"
        if self.rank is not None:
            text += f",rank={self.rank}"
        return text

    @classmethod
    def parse(cls, text: str) -> Trigger:
        """Reads ``step=8,stage=train``, with or without the leading ``@``."""
        trigger, extra = _parse_trigger(text)
        if extra:
            raise FaultSyntaxError(f"a trigger takes no {', '.join(extra)}")
        return trigger


@dataclass(frozen=True)
class Fault:
    """The thing injected. ``trigger`` is None until the plan has given the failure mode's default one."""

    mode: str
    dose: Mapping[str, DoseValue] = field(default_factory=dict)
    trigger: Trigger | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not MODE_ID.match(self.mode):
            raise FaultSyntaxError(f"{self.mode!r} is no failure mode id; it has the form family.kebab-name")
        for name, value in self.dose.items():
            if not _DOSE_NAME.match(name):
                raise FaultSyntaxError(f"{name!r} is no dose name")
            if isinstance(value, float) and not math.isfinite(value):
                raise FaultSyntaxError(f"the dose {name} must be finite")
            is_word = isinstance(value, str) and _DOSE_WORD.match(value) and not _is_number(value)
            if isinstance(value, bool) or (isinstance(value, str) and not is_word):
                raise FaultSyntaxError(f"the dose {name} must be a number or a plain word, not {value!r}")
        if self.seed < 0:
            raise FaultSyntaxError("a seed is not negative")

    def __hash__(self) -> int:
        return hash((self.mode, frozenset(self.dose.items()), self.trigger, self.seed))

    @property
    def family(self) -> str:
        return self.mode.partition(".")[0]

    def with_trigger(self, trigger: Trigger) -> Fault:
        return replace(self, trigger=trigger)

    def at_any_time(self) -> Fault:
        """The failure mode and its dose alone."""
        return Fault(self.mode, self.dose)

    def __str__(self) -> str:
        text = self.mode
        if self.dose:
            text += ":" + ",".join(f"{name}={value}" for name, value in sorted(self.dose.items()))
        qualifiers = [] if self.trigger is None else [str(self.trigger)]
        if self.seed:
            qualifiers.append(f"seed={self.seed}")
        return text + ("@" + ",".join(qualifiers) if qualifiers else "")

    @classmethod
    def parse(cls, text: str) -> Fault:
        """Reads the text form; raises FaultSyntaxError with the remedy where it is none."""
        head, at, tail = text.strip().partition("@")
        mode, colon, doses = head.partition(":")
        if (colon and not doses) or (at and not tail):
            raise FaultSyntaxError(f"{text!r} ends too early; write mode:dose=value@trigger, as in return.none@step=8")
        trigger: Trigger | None = None
        seed = 0
        if tail:
            if re.fullmatch(r"seed=\d+", tail):
                seed = _whole("seed", tail[5:])
            else:
                trigger, extra = _parse_trigger(tail)
                seed = _whole("seed", extra.pop("seed", "0"))
                if extra:
                    raise FaultSyntaxError(f"unknown qualifier {', '.join(extra)} in {text!r}; use stage, rank or seed")
        return cls(mode, _parse_pairs(doses), trigger, seed)


def _parse_trigger(text: str) -> tuple[Trigger, dict[str, str]]:
    when, _, rest = text.strip().removeprefix("@").partition(",")
    kind, equals, number = when.partition("=")
    qualifiers: dict[str, str] = {}
    for part in filter(None, rest.split(",")):
        name, _, value = part.partition("=")
        if name in qualifiers:
            raise FaultSyntaxError(f"{name} stands twice in {text!r}")
        qualifiers[name] = value
    rank = qualifiers.pop("rank", None)
    trigger = Trigger(
        kind,
        _number(kind, number) if equals else None,
        qualifiers.pop("stage", None),
        None if rank is None else _whole("rank", rank),
    )
    return trigger, qualifiers


def _parse_pairs(text: str) -> dict[str, DoseValue]:
    pairs: dict[str, DoseValue] = {}
    for part in filter(None, text.split(",")):
        name, equals, value = part.partition("=")
        if not equals or not value:
            raise FaultSyntaxError(f"a dose is written name=value, not {part!r}")
        if name in pairs:
            raise FaultSyntaxError(f"the dose {name} stands twice")
        pairs[name] = _dose_value(value)
    return pairs


def _dose_value(text: str) -> DoseValue:
    return _number("a dose", text) if _is_number(text) else text


def _is_whole(number: float) -> bool:
    return isinstance(number, int) or number.is_integer()


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(name: str, text: str) -> float:
    if not _is_number(text):
        raise FaultSyntaxError(f"{name} needs a number, not {text!r}")
    return _integer(name, text) if re.fullmatch(r"[+-]?\d+", text) else float(text)


def _whole(name: str, text: str) -> int:
    if not re.fullmatch(r"\d+", text):
        raise FaultSyntaxError(f"{name} needs a whole number, not {text!r}")
    return _integer(name, text)


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:  # Python reads no more than some thousand digits
        raise FaultSyntaxError(f"{name} needs a smaller number than one of {len(text)} digits") from None
