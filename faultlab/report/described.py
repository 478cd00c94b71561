"""A failure mode in words: what `explain` prints, and what the pages of the catalogue are made of."""

from __future__ import annotations

from collections.abc import Iterable

from faultlab.catalogue import measured
from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.fault import STAGES
from faultlab.report.text import blocks

STOCK = {"raises": "ends the run with an error", "warns": "warns and goes on", "silent": "says nothing"}


def sections(mode: FailureMode) -> list[tuple[str, str]]:
    """The docstring's sections that are there, by title, in the order in which they are read."""
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
    """When it acts where nobody says otherwise."""
    often = "in every step" if mode.when == "always" else "in one step, half-way"
    stages = {("train",): "", STAGES: " of every stage"}.get(mode.stages, f" of {' and '.join(mode.stages)}")
    return f"by default {often}{stages}"


def needs(mode: FailureMode) -> str:
    """What the target must have, in the words of the requirements' names; empty where it needs nothing."""
    return ", ".join(name.replace("-", " ") for name in mode.needs)


def doses(mode: FailureMode) -> list[tuple[str, str]]:
    """Every dose as it is written by default, and its range and meaning."""
    return [
        (f"{dose.name}={dose.default}", f"{f'({dose.bounds}) ' if dose.bounds else ''}{dose.meaning}")
        for dose in mode.doses
    ]


def effects(mode: FailureMode) -> str:
    """On how many models each effect was measured, such as ``silent on 4, warns on 1``; "not measured" without any."""
    return ", ".join(f"{effect} on {len(models)}" for effect, models in _measured(mode).items()) or "not measured"


def models(mode: FailureMode) -> list[str]:
    """A line an effect that was measured, with its models, and one with those that are spared; none without any."""
    found = _measured(mode)
    if not found:
        return []
    affected = {model for models in found.values() for model in models}
    others = [model for model in measured.table().models if model not in affected]
    lines = [_counted(effect, "on", models) for effect, models in found.items()]
    return lines + ([_counted("does not apply", "to", others)] if others else [])


def version() -> str:
    """The version of Lightning that was measured."""
    return measured.table().versions["lightning"]


def _measured(mode: FailureMode) -> dict[str, list[str]]:
    return measured.table().effects(mode.id)


def _counted(effect: str, preposition: str, models: Iterable[str]) -> str:
    names = list(models)
    return f"{effect} {preposition} {len(names)}: {', '.join(names)}"
