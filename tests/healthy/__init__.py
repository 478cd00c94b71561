"""Healthy trainings of every make, over which no guard may raise an alarm: `TRAININGS` has them all by name."""

from __future__ import annotations

from tests.healthy import (
    acting,
    averaging,
    computing,
    feeding,
    generative,
    hf,
    loop_models,
    loops,
    optimizing,
    progressing,
    ranks,
    representation,
    vision,
)
from tests.healthy.training import TRAININGS

__all__ = [
    "TRAININGS",
    "acting",
    "averaging",
    "computing",
    "feeding",
    "generative",
    "hf",
    "loop_models",
    "loops",
    "optimizing",
    "progressing",
    "ranks",
    "representation",
    "vision",
]
