"""A failure mode in words, for `explain` and for the pages of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable

from faultlab.catalogue import measured
from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.fault import STAGES
from faultlab.core.framework_names import DEFAULT
from faultlab.report.text import blocks

EFFECTS = {"raises": "ends the run with an error", "warns": "warns and continues", "silent": "reports nothing"}
_LOOP = "a plain PyTorch loop"


def sections(mode: FailureMode) -> list[tuple[str, str]]:
    """Return the sections of the docstring by title, in reading order."""
    own = mode.sections
    shows_code = any(is_code for is_code, _ in blocks(own.example))
    titled = [
        ("What exactly", own.details),
        ("Effect", own.effect),
        ("Why it goes undetected", own.undetected),
        ("Example, broken" if shows_code else "Example", own.example),
        ("Remedy", own.remedy),
    ]
    return [(title, text) for title, text in titled if text]


def timing(mode: FailureMode) -> str:
    """Return when the failure mode acts by default."""
    often = "in every step" if mode.when == "always" else "in one step, halfway"
    stages = {("train",): "", STAGES: " of every stage"}.get(mode.stages, f" of {' and '.join(mode.stages)}")
    return f"by default {often}{stages}"


def needs(mode: FailureMode) -> str:
    """Return the names of the requirements on the target; empty if there are none."""
    return ", ".join(name.replace("-", " ") for name in mode.needs)


def doses(mode: FailureMode) -> list[tuple[str, str]]:
    """Return each dose with its default, its range and its meaning."""
    return [
        (f"{dose.name}={dose.default}", f"{f'({dose.bounds}) ' if dose.bounds else ''}{dose.meaning}")
        for dose in mode.doses
    ]


def declared(mode: FailureMode, framework: str = DEFAULT) -> str:
    """Return the declared effect in a framework as the end of a sentence, with that of other versions."""
    if measured.inapplicable(mode.id, framework):
        return "does not apply"
    others = [f"{_versions(one.versions)} {EFFECTS[one.effect]}" for one in mode.effect.ranges_of(framework)]
    return "; ".join([EFFECTS[mode.effect.on(framework)], *others])


def in_loop(mode: FailureMode) -> str:
    """Return the declared effect in a plain PyTorch loop as a sentence."""
    return f"In {_LOOP}: {declared(mode, 'torch')}."


def effects(mode: FailureMode, framework: str = DEFAULT) -> str:
    """Return the number of models per measured effect, such as ``silent on 4, warns on 1``, or "not measured"."""
    if measured.inapplicable(mode.id, framework):
        return "does not apply"
    found = measured.table(framework).effects(mode.id)
    return ", ".join(f"{effect} on {len(models)}" for effect, models in found.items()) or "not measured"


def models(mode: FailureMode, framework: str = DEFAULT) -> list[str]:
    """Return a line for each measured effect with its models, and one for the models that it does not apply to."""
    table = measured.table(framework)
    found = table.effects(mode.id)
    if not found:
        return []
    affected = {model for models in found.values() for model in models}
    others = [model for model in table.models if model not in affected]
    lines = [_counted(effect, "on", models) for effect, models in found.items()]
    return lines + ([_counted("does not apply", "to", others)] if others else [])


def version(framework: str = DEFAULT) -> str:
    """Return the version of a framework that was measured; empty if none was."""
    return measured.table(framework).versions.get(framework, "")


def _versions(specifier: str) -> str:
    """Return a version specifier as the beginning of a clause: ``from 2.7 on``, else ``in versions >=2.5,<2.7``."""
    only = specifier.removeprefix(">=")
    return f"in versions {specifier}" if "," in specifier or only == specifier else f"from {only} on"


def _counted(effect: str, preposition: str, models: Iterable[str]) -> str:
    names = list(models)
    return f"{effect} {preposition} {len(names)}: {', '.join(names)}"
