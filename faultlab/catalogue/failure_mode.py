"""A failure mode and its doses, as its declaration describes them.

`faultlab.catalogue.index` reads the declarations without importing them; `faultlab.injection.registry` provides them
together with their injectors, and therefore imports torch.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

from faultlab.catalogue.docstring_sections import Sections, parse_sections
from faultlab.catalogue.effects import Effects
from faultlab.catalogue.injection_points import InjectionPoint
from faultlab.core.fault import MODE_ID, STAGES, DoseValue, Fault, Trigger
from faultlab.errors import CatalogueError, UsageError

SEVERITIES = ("critical", "major", "minor")
WHENS = ("always", "middle")
JUDGES = ("run", "reload", "report")


@dataclass(frozen=True)
class Dose:
    """A parameter that sets the strength of a fault, such as ``fraction`` in ``label.noisy:fraction=0.3``.

    Args:
        name: The dose's name in a fault.
        default: The value to use if a fault names none: a number or a word.
        low: The lowest valid number, or None for no lower limit.
        high: The highest valid number, or None for no upper limit.
        meaning: A noun phrase that describes the value, with its unit.
        harmless: The value at which the fault has no effect; ``low`` by default.
    """

    name: str
    default: DoseValue
    low: float | None = None
    high: float | None = None
    meaning: str = ""
    harmless: float | None = None

    @property
    def bounds(self) -> str:
        """The range in words, or an empty string if there is none."""
        if self.low is None:
            return "" if self.high is None else f"at most {self.high}"
        return f"at least {self.low}" if self.high is None else f"{self.low} to {self.high}"

    def check(self, value: DoseValue) -> None:
        """Check that a value is valid for this dose.

        Args:
            value: The value of the dose in a fault.

        Raises:
            UsageError: The value is outside the range, or a word instead of a number, or the reverse.
        """
        if isinstance(self.default, str) != isinstance(value, str):
            expected = "a word" if isinstance(self.default, str) else "a number"
            raise UsageError(f"invalid dose '{self.name}={value}': expected {expected}")
        if isinstance(value, str):
            return
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            raise UsageError(f"invalid dose '{self.name}={value}': expected {self.bounds}")


@dataclass(frozen=True)
class FailureMode:
    """One way in which a training can fail: an entry of the catalogue.

    Args:
        id: The name, of the form ``family.kebab-name``.
        point: The injection point where the failure mode acts; a declaration passes it as ``seam``.
        severity: ``critical``, ``major`` or ``minor``.
        effect: The reaction of frameworks on an ordinary model: ``raises``, ``warns`` or ``silent``. A declaration
            passes one word for all of them, or a mapping with exceptions by framework and version range, such as
            ``{"lightning": "silent", "lightning>=2.7": "raises", "torch": "raises"}``.
        cause: Lowercase beginnings of words or phrases; a message that names the cause contains at least one of them.
        sections: The parsed docstring of the injector.
        when: The default trigger: ``always`` for a wrong configuration, ``middle`` for a single event in one step
            halfway through the training.
        stages: The stages in which it acts: ``train``, ``validate``, ``test``, ``predict``; a declaration may pass
            ``"every"`` for all of them.
        doses: The parameters that set its strength.
        needs: Names of the requirements that the target has to meet, see ``faultlab.catalogue.requirements``.
        evidence: References to real occurrences, such as ``owner/repository#123``.
        no_evidence: The reason why there is no evidence; given if, and only if, ``evidence`` is empty.
        hangs: Whether the injector blocks until the deadline of the run, or leaves ranks that wait for each other.
        on_rank: The rank that it acts on in a training of several, unless the fault names one; None for all ranks.
        judged_by: Where the harm appears: in the weights of the ``run``; in a training that continues from the
            checkpoints that it wrote (``reload``); or in its reported metrics, which an evaluation of the same
            weights contradicts (``report``).
        file: The file that declares it.
        line: The line of the declaration, from 1.
    """

    id: str
    point: InjectionPoint
    severity: str
    effect: Effects
    cause: tuple[str, ...]
    sections: Sections
    when: str = "always"
    stages: tuple[str, ...] = ("train",)
    doses: tuple[Dose, ...] = ()
    needs: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    no_evidence: str = ""
    hangs: bool = False
    on_rank: int | None = None
    judged_by: str = "run"
    file: str = ""
    line: int = 0

    @property
    def family(self) -> str:
        """The part of the id before the dot."""
        return self.id.partition(".")[0]

    @property
    def seam(self) -> str:
        """The name of the injection point, for reports and docs."""
        return self.point.name

    @property
    def method(self) -> str:
        """The module's method that the failure mode affects; empty if it affects none."""
        return self.point.methods.get(self.stages[0] if self.stages else "train", "")

    @property
    def summary(self) -> str:
        """The first sentence of the docstring."""
        return self.sections.summary

    def complete(self, fault: Fault, steps: int) -> Fault:
        """Return a fault with valid doses and a trigger, as the plan stores it.

        Args:
            fault: A fault of this failure mode.
            steps: The number of training steps of the run, which determines the default trigger.

        Returns:
            The fault with its own trigger, or with the failure mode's default trigger if it has none.

        Raises:
            UsageError: A dose is unknown or has an invalid value.
        """
        known = {dose.name: dose for dose in self.doses}
        for name, value in fault.dose.items():
            if name not in known:
                raise UsageError(f"{self.id} has no dose {name!r}: expected {', '.join(known) or 'none'}")
            known[name].check(value)
        trigger = fault.trigger or self.default_trigger(steps)
        if trigger.rank is None and self.on_rank is not None:
            trigger = replace(trigger, rank=self.on_rank)
        return Fault(fault.mode, dict(fault.dose), trigger, fault.seed)

    def default_trigger(self, steps: int) -> Trigger:
        """Return the trigger of a fault that names none.

        Args:
            steps: The number of training steps of the run.

        Returns:
            ``always``, or ``step`` with the step in the middle of the run, as ``when`` demands.
        """
        kind, number = ("always", None) if self.when == "always" else ("step", steps // 2)
        return Trigger(kind, number, rank=self.on_rank)

    def amounts(self, fault: Fault) -> dict[str, DoseValue]:
        """Return the value of every dose of the failure mode.

        Args:
            fault: A fault of this failure mode.

        Returns:
            The fault's own value or the default, by dose name, in the order of the declaration.
        """
        return {dose.name: fault.dose.get(dose.name, dose.default) for dose in self.doses}


def declare(*, id: str, docstring: str | None, **fields: Any) -> FailureMode:
    """Return the failure mode with the arguments of a declaration.

    Raises:
        CatalogueError: An argument is invalid; the message names the place and the id.
    """

    def refuse(why: str) -> CatalogueError:
        return CatalogueError(f"{fields.get('file')}:{fields.get('line')}: failure mode {id!r}: {why}")

    if not MODE_ID.match(id):
        raise refuse("invalid id: expected family.kebab-name")
    if not isinstance(fields.get("point"), InjectionPoint):
        raise refuse(
            "invalid seam: expected an injection point of faultlab.catalogue.injection_points, or one derived from it"
        )
    for name, allowed in (("severity", SEVERITIES), ("when", WHENS), ("judged_by", JUDGES)):
        if fields.get(name, allowed[0]) not in allowed:
            raise refuse(f"invalid {name}: expected one of {', '.join(allowed)}")
    if fields.get("stages") == "every":
        fields["stages"] = STAGES
    for name in ("cause", "stages", "doses", "needs", "evidence"):
        if not isinstance(fields.get(name, ()), tuple):
            raise refuse(f"invalid {name}: expected a tuple. Write a single word with a comma, as in ('loss',).")
    if unheard := [word for word in fields.get("cause", ()) if not word.strip() or word != word.lower()]:
        raise refuse(f"invalid cause {unheard}: expected lowercase words, because messages are compared in lowercase")
    if unknown := [stage for stage in fields.get("stages", ()) if stage not in STAGES]:
        raise refuse(f"unknown stages {unknown}: expected {', '.join(STAGES)}")
    if bool(fields.get("evidence")) == bool(fields.get("no_evidence")):
        raise refuse("expected either evidence or no_evidence, the reason why there is none")
    if "effect" in fields:
        try:
            fields["effect"] = Effects.parse(fields["effect"])
        except ValueError as error:
            raise refuse(str(error)) from None
    try:
        return FailureMode(id=id, sections=parse_sections(docstring), **fields)
    except TypeError as error:
        raise refuse(str(error)) from None


def matching(pattern: str, ids: Iterable[str]) -> list[str]:
    """Return the ids that match a glob such as ``loss.*`` or ``*``, in their order."""
    return [id for id in ids if fnmatch.fnmatchcase(id, pattern)]


def nearest(word: str, words: Iterable[str], cutoff: float = 0.5) -> str:
    """Return a question that suggests the closest of the words, or an empty string if none is this close."""
    close = get_close_matches(word, list(words), n=1, cutoff=cutoff)
    return f"Did you mean {close[0]!r}?" if close else ""


def families(modes: Iterable[FailureMode]) -> Iterator[tuple[str, list[FailureMode]]]:
    """Yield each family with its modes, both sorted by name."""
    grouped: dict[str, list[FailureMode]] = {}
    for mode in sorted(modes, key=lambda mode: mode.id):
        grouped.setdefault(mode.family, []).append(mode)
    yield from grouped.items()
