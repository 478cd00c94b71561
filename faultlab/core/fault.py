"""A fault: a failure mode with its dose, trigger and seed, and its text form.

The text form is ``mode[:name=value,...][@when[,stage=...][,rank=...][,seed=...]]``, for example
``label.noisy:fraction=0.3@step=8,stage=train``. ``Fault.parse(str(fault)) == fault`` holds for every fault.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from faultlab.errors import FaultSyntaxError

STAGES = ("train", "validate", "test", "predict")
MODE_ID = re.compile(r"[a-z][a-z0-9]*(?:-[a-z0-9]+)*\.[a-z][a-z0-9]*(?:-[a-z0-9]+)*\Z")
_DOSE_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")
_DOSE_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*\Z")

DoseValue = int | float | str


@dataclass(frozen=True)
class Trigger:
    """The condition under which a fault acts.

    Attributes:
        kind: ``always``, ``once``, ``step``, ``update``, ``epoch``, ``every`` or ``p``.
        number: The training step, which is one batch (from 0, counted over all epochs), the optimizer step (from 0),
            the epoch (from 0), the period in training steps, or the probability per training step, depending on
            ``kind``; None for ``always`` and ``once``.
        stage: Act in this stage only: train, validate, test or predict. None means the failure mode's own stages.
        rank: Act in the process of this rank only, from 0. None means every rank.

    Raises:
        FaultSyntaxError: A field has an invalid value.
    """

    kind: str = "always"
    number: float | None = None
    stage: str | None = None
    rank: int | None = None

    def __post_init__(self) -> None:
        if self.kind in ("always", "once"):
            if self.number is not None:
                raise FaultSyntaxError(f"@{self.kind} doesn't take a number")
        elif self.kind in ("step", "update", "epoch", "every"):
            if self.number is None or not _is_whole(self.number) or self.number < (self.kind == "every"):
                raise FaultSyntaxError(f"@{self.kind} needs a whole number, such as @{self.kind}=8")
            object.__setattr__(self, "number", int(self.number))
        elif self.kind == "p":
            if self.number is None or not 0 <= self.number <= 1:
                raise FaultSyntaxError("@p needs a probability from 0 to 1, such as @p=0.1")
        else:
            known = "@always, @once, @step=, @update=, @epoch=, @every= or @p="
            raise FaultSyntaxError(f"unknown trigger @{self.kind}; use {known}")
        if self.stage is not None and self.stage not in STAGES:
            raise FaultSyntaxError(f"unknown stage {self.stage!r}; use one of {', '.join(STAGES)}")
        if self.rank is not None and self.rank < 0:
            raise FaultSyntaxError("a rank is 0 or greater")

    def fires(self, step: int, epoch: int, acted: int, seed: int = 0, updates: Collection[int] | None = None) -> bool:
        """Return True if the fault acts at this training step.

        Args:
            step: The training step, from 0 over all epochs.
            epoch: The epoch, from 0.
            acted: How often the fault has acted so far.
            seed: The fault's seed, which determines the steps of ``p``.
            updates: The optimizer steps that this training step is part of, from 0; None for one in each.

        Returns:
            Whether the condition of ``kind`` and ``number`` holds; ``stage`` and ``rank`` are not checked here.
        """
        if self.kind == "always":
            return True
        if self.kind == "once":
            return acted == 0
        assert self.number is not None
        if self.kind == "step":
            return step == self.number
        if self.kind == "update":
            return self.number in ((step,) if updates is None else updates)
        if self.kind == "epoch":
            return epoch == self.number
        if self.kind == "every":
            return step % int(self.number) == 0
        # A hash instead of a generator: the same steps act whether or not the run was forked midway.
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
        """Parse the text form of a trigger.

        Args:
            text: For example ``step=8,stage=train``, with or without the leading ``@``.

        Returns:
            The trigger.

        Raises:
            FaultSyntaxError: The text is not a trigger.
        """
        trigger, extra = _parse_trigger(text)
        if extra:
            raise FaultSyntaxError(f"unsupported qualifier of a trigger: {', '.join(extra)}; use stage or rank")
        return trigger


@dataclass(frozen=True)
class Fault:
    """A failure mode with its dose, trigger and seed.

    Attributes:
        mode: The failure mode's id, ``family.kebab-name``.
        dose: Its dose values by name; the failure mode's defaults apply to the others.
        trigger: When it acts; None until the plan sets the failure mode's default trigger.
        seed: The seed of the injector's random numbers, 0 or greater.

    Raises:
        FaultSyntaxError: A field has an invalid value.
    """

    mode: str
    dose: Mapping[str, DoseValue] = field(default_factory=dict)
    trigger: Trigger | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not MODE_ID.match(self.mode):
            raise FaultSyntaxError(f"invalid failure mode id {self.mode!r}: expected family.kebab-name")
        for name, value in self.dose.items():
            if not _DOSE_NAME.match(name):
                raise FaultSyntaxError(f"invalid dose name {name!r}: expected lower_case_letters")
            if isinstance(value, float) and not math.isfinite(value):
                raise FaultSyntaxError(f"the dose {name} must be finite")
            is_word = isinstance(value, str) and _DOSE_WORD.match(value) and not _is_number(value)
            if isinstance(value, bool) or (isinstance(value, str) and not is_word):
                raise FaultSyntaxError(f"the dose {name} must be a number or a plain word, not {value!r}")
        if self.seed < 0:
            raise FaultSyntaxError("a seed must be 0 or greater")

    def __hash__(self) -> int:
        return hash((self.mode, frozenset(self.dose.items()), self.trigger, self.seed))

    @property
    def family(self) -> str:
        """The part of the id before the dot."""
        return self.mode.partition(".")[0]

    def with_trigger(self, trigger: Trigger) -> Fault:
        """Return a copy of the fault with another trigger.

        Args:
            trigger: The trigger of the copy.

        Returns:
            The copy, with the same failure mode, dose and seed.
        """
        return replace(self, trigger=trigger)

    def at_any_time(self) -> Fault:
        """Return a copy of the fault without trigger and seed.

        Returns:
            The failure mode with its dose.
        """
        return Fault(self.mode, self.dose)

    def to_json(self) -> dict[str, Any]:
        """Return the fault as data for another process.

        Returns:
            Its fields; text is for users.
        """
        trigger = None if self.trigger is None else vars(self.trigger)
        return {"mode": self.mode, "dose": dict(self.dose), "trigger": trigger, "seed": self.seed}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Fault:
        """Return the fault that `to_json` returned the fields of.

        Args:
            data: These fields.

        Returns:
            An equal fault.
        """
        return cls(**{**data, "trigger": None if data["trigger"] is None else Trigger(**data["trigger"])})

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
        """Parse the text form of a fault.

        Args:
            text: For example ``label.noisy:fraction=0.3@step=8``.

        Returns:
            The fault; its trigger is None if the text has none.

        Raises:
            FaultSyntaxError: The text is not a fault; the message has the remedy.
        """
        head, at, tail = text.strip().partition("@")
        mode, colon, doses = head.partition(":")
        if (colon and not doses) or (at and not tail):
            raise FaultSyntaxError(
                f"incomplete fault {text!r}: expected mode:dose=value@trigger, such as return.none@step=8"
            )
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
            raise FaultSyntaxError(f"duplicate qualifier {name} in {text!r}")
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
            raise FaultSyntaxError(f"invalid dose {part!r}: expected name=value")
        if name in pairs:
            raise FaultSyntaxError(f"duplicate dose {name}")
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
    except ValueError:  # Python parses at most a few thousand digits
        raise FaultSyntaxError(f"{name} needs a smaller number than one of {len(text)} digits") from None
