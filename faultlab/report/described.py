"""A failure mode in words, for `explain` and for the pages of the catalogue."""

from __future__ import annotations

from collections.abc import Iterable

from faultlab.catalogue import measured
from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.fault import STAGES
from faultlab.report.text import blocks

STOCK = {"raises": "ends the run with an error", "warns": "warns and continues", "silent": "reports nothing"}


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


def effects(mode: FailureMode) -> str:
    """Return the number of models per measured effect, such as ``silent on 4, warns on 1``, or "not measured"."""
    return ", ".join(f"{effect} on {len(models)}" for effect, models in _measured(mode).items()) or "not measured"


def models(mode: FailureMode) -> list[str]:
    """Return a line for each measured effect with its models, and one for the models that it does not apply to."""
    found = _measured(mode)
    if not found:
        return []
    affected = {model for models in found.values() for model in models}
    others = [model for model in measured.table().models if model not in affected]
    lines = [_counted(effect, "on", models) for effect, models in found.items()]
    return lines + ([_counted("does not apply", "to", others)] if others else [])


def version() -> str:
    """Return the version of Lightning that was measured."""
    return measured.table().versions["lightning"]


def _measured(mode: FailureMode) -> dict[str, list[str]]:
    return measured.table().effects(mode.id)


def _counted(effect: str, preposition: str, models: Iterable[str]) -> str:
    names = list(models)
    return f"{effect} {preposition} {len(names)}: {', '.join(names)}"
