"""What a failure mode is, as its declaration says it.

`faultlab.catalogue.index` reads the declarations without importing them; `faultlab.injection.registry` has them with
their injectors, which imports torch.
"""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from faultlab.catalogue.docstring_sections import Sections, parse_sections
from faultlab.catalogue.injection_points import InjectionPoint
from faultlab.core.fault import MODE_ID, STAGES, DoseValue, Fault, Trigger
from faultlab.errors import CatalogueError, UsageError

SEVERITIES = ("critical", "major", "minor")
EFFECTS = ("raises", "warns", "silent")
WHENS = ("always", "middle")
JUDGES = ("run", "reload", "report")


@dataclass(frozen=True)
class Dose:
    """How much of a fault there is: a name, the amount that life usually deals, and the range that makes sense.

    ``harmless`` is where the range does no harm, its lower end if nothing else is said.
    """

    name: str
    default: DoseValue
    low: float | None = None
    high: float | None = None
    meaning: str = ""
    harmless: float | None = None

    @property
    def bounds(self) -> str:
        """The range in words; empty where there is none."""
        if self.low is None:
            return "" if self.high is None else f"at most {self.high}"
        return f"at least {self.low}" if self.high is None else f"{self.low} to {self.high}"

    def check(self, value: DoseValue) -> None:
        """Raises UsageError where the value is outside the range or of another kind."""
        if isinstance(self.default, str) != isinstance(value, str):
            raise UsageError(f"the dose {self.name} is {'a word' if isinstance(self.default, str) else 'a number'}")
        if isinstance(value, str):
            return
        if (self.low is not None and value < self.low) or (self.high is not None and value > self.high):
            raise UsageError(f"the dose {self.name}={value} is not {self.bounds}")


@dataclass(frozen=True)
class FailureMode:
    """One way in which training goes wrong.

    ``point`` is where it acts, which a declaration calls its ``seam``. ``when`` is the default trigger: ``always`` for
    what is configured wrongly, ``middle`` for one step half-way of what happens once. ``needs`` names what the target
    must have (see ``faultlab.catalogue.requirements``). ``effect`` is what stock Lightning does about it on an ordinary
    model: raises, warns or stays silent. ``cause`` holds words of which a message that names the cause has at least
    one. ``stages`` are those it acts in, or "every".

    ``judged_by`` says where the failure bites: in the ``run``'s own weights; in what a user gets who goes on from the
    checkpoints it wrote (``reload``); or in what it reports, which an evaluation of the same weights contradicts
    (``report``).
    """

    id: str
    point: InjectionPoint
    severity: str
    effect: str
    cause: tuple[str, ...]
    sections: Sections
    when: str = "always"
    stages: tuple[str, ...] = ("train",)
    doses: tuple[Dose, ...] = ()
    needs: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    no_evidence: str = ""
    hangs: bool = False
    judged_by: str = "run"
    file: str = ""
    line: int = 0

    @property
    def family(self) -> str:
        return self.id.partition(".")[0]

    @property
    def seam(self) -> str:
        """The name of the injection point, for reports and documents."""
        return self.point.name

    @property
    def method(self) -> str:
        """The method that it bites in; empty where it is none of the module's."""
        return self.point.methods.get(self.stages[0] if self.stages else "train", "")

    @property
    def summary(self) -> str:
        return self.sections.summary

    def complete(self, fault: Fault, steps: int) -> Fault:
        """The fault with every dose and a trigger: what the plan writes down for a run of ``steps`` steps."""
        known = {dose.name: dose for dose in self.doses}
        for name, value in fault.dose.items():
            if name not in known:
                raise UsageError(f"{self.id} has no dose {name!r}; it has {', '.join(known) or 'none'}")
            known[name].check(value)
        trigger = fault.trigger or self.default_trigger(steps)
        return Fault(fault.mode, dict(fault.dose), trigger, fault.seed)

    def default_trigger(self, steps: int) -> Trigger:
        return Trigger() if self.when == "always" else Trigger("step", steps // 2)

    def amounts(self, fault: Fault) -> dict[str, DoseValue]:
        """Every dose by name, the fault's own or the default."""
        return {dose.name: fault.dose.get(dose.name, dose.default) for dose in self.doses}


def declare(*, id: str, docstring: str | None, **fields: Any) -> FailureMode:
    """A FailureMode from a declaration's arguments, checked; raises CatalogueError that names the id."""

    def refuse(why: str) -> CatalogueError:
        return CatalogueError(f"failure mode {id!r} in {fields.get('file')}:{fields.get('line')}: {why}")

    if not MODE_ID.match(id):
        raise refuse("an id has the form family.kebab-name")
    if not isinstance(fields.get("point"), InjectionPoint):
        raise refuse("its seam is an injection point, of faultlab.catalogue.injection_points or derived from one")
    for name, allowed in (("severity", SEVERITIES), ("effect", EFFECTS), ("when", WHENS), ("judged_by", JUDGES)):
        if fields.get(name, allowed[0]) not in allowed:
            raise refuse(f"{name} must be one of {', '.join(allowed)}")
    if fields.get("stages") == "every":
        fields["stages"] = STAGES
    for name in ("cause", "stages", "doses", "needs", "evidence"):
        if not isinstance(fields.get(name, ()), tuple):
            raise refuse(f"{name} is a tuple; one of a single word is written with a comma, as in ('loss',)")
    if unheard := [word for word in fields.get("cause", ()) if not word.strip() or word != word.lower()]:
        raise refuse(f"the words of a cause are met in lowercase text, which {unheard} never is")
    if unknown := [stage for stage in fields.get("stages", ()) if stage not in STAGES]:
        raise refuse(f"unknown stages {unknown}")
    if bool(fields.get("evidence")) == bool(fields.get("no_evidence")):
        raise refuse("give evidence, or say in no_evidence why there is none")
    try:
        return FailureMode(id=id, sections=parse_sections(docstring), **fields)
    except TypeError as error:
        raise refuse(str(error)) from None


def matching(pattern: str, ids: Iterable[str]) -> list[str]:
    """The ids that a glob such as ``loss.*`` or ``*`` matches, in order."""
    return [id for id in ids if fnmatch.fnmatchcase(id, pattern)]


def nearest(word: str, words: Iterable[str]) -> str:
    """A remedy that names the closest of the words, or an empty string."""
    close = get_close_matches(word, list(words), n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else ""


def families(modes: Iterable[FailureMode]) -> Iterator[tuple[str, list[FailureMode]]]:
    """The modes grouped by family, both in order of their names."""
    grouped: dict[str, list[FailureMode]] = {}
    for mode in sorted(modes, key=lambda mode: mode.id):
        grouped.setdefault(mode.family, []).append(mode)
    yield from grouped.items()
