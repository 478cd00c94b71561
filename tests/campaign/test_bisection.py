"""Scales of doses, and the bisection that detectors share."""

from __future__ import annotations

import pytest

from faultlab.campaign.bisection import Scale, first_parts, next_parts, next_steps
from faultlab.catalogue import index
from faultlab.catalogue.failure_mode import Dose

NUMBERS = [
    (mode.id, dose) for mode in index.modes().values() for dose in mode.doses if not isinstance(dose.default, str)
]


@pytest.mark.parametrize(("mode", "dose"), NUMBERS, ids=[f"{mode}:{dose.name}" for mode, dose in NUMBERS])
def test_every_dose_has_a_scale_that_keeps_to_its_bounds_and_moves_away_from_harmless(mode: str, dose: Dose) -> None:
    scale = Scale.of(dose)
    values = [scale.value(part) for part in first_parts()]
    for value in values:
        dose.check(value)
    distances = [abs(value - scale.harmless) for value in values]
    assert distances == sorted(distances)
    assert distances[-1] > 0


def test_a_share_is_spaced_evenly_and_a_factor_by_factors() -> None:
    assert [Scale.of(Dose("fraction", 0.3, 0.01, 1.0)).value(part) for part in (0.25, 0.5, 1.0)] == [0.25, 0.5, 1.0]
    factor = Scale.of(Dose("factor", 100.0, 1e-12, 1e12, harmless=1.0))
    assert [factor.value(part) for part in (0.25, 0.5, 1.0)] == [10.0, 100.0, 10000.0]


def test_a_bisection_looks_below_the_least_part_that_each_detector_detects() -> None:
    assert next_parts({0.25: {}, 0.5: {"A"}, 1.0: {"A", "B"}}) == [0.375, 0.75]
    assert next_parts({0.5: {}, 1.0: {}}) == []
    assert next_parts({0.5: {}, 0.51: {"A"}}) == []


def test_a_bisection_ends_at_the_border_of_each_detector() -> None:
    borders = {"A": 0.1, "B": 0.62}
    detected = {part: {name for name, border in borders.items() if part >= border} for part in first_parts()}
    while wanted := next_parts(detected):
        detected |= {part: {name for name, border in borders.items() if part >= border} for part in wanted}
    for name, border in borders.items():
        least = min(part for part, names in detected.items() if name in names)
        assert border <= least <= border + 1 / 32
    assert len(detected) < 16


def test_steps_are_bisected_from_both_ends() -> None:
    detected = {step: {"A"} if 5 <= step <= 13 else set() for step in (0, 8, 16)}
    while wanted := next_steps(detected):
        detected |= {step: {"A"} if 5 <= step <= 13 else set() for step in wanted}
    seen = [step for step, names in detected.items() if names]
    assert (min(seen), max(seen)) == (5, 13)


@pytest.mark.parametrize(
    ("dose", "scale"),
    [
        (Dose("x", 0.3, 0.0, 1.0), Scale(0.0, 1.0, False, False, 0.0, 1.0)),
        (Dose("x", 0.3, 0.01, 1.0), Scale(0.0, 1.0, False, False, 0.01, 1.0)),
        (Dose("x", 0.25, 0.0, 1.0), Scale(0.0, 1.0, False, False, 0.0, 1.0)),
        (Dose("x", 0.2, 0.0, 1.0), Scale(0.0, 1.0, True, False, 0.0, 1.0)),
        (Dose("x", 0.5, 0.0, 1.0, harmless=1.0), Scale(1.0, 0.0, False, False, 0.0, 1.0)),
        (Dose("x", 3, 1, 8, harmless=1), Scale(1.0, 8.0, False, True, 1, 8)),
        (Dose("x", 100.0, 1e-12, 1e12, harmless=1.0), Scale(1.0, 10000.0, True, False, 1e-12, 1e12)),
        (Dose("x", 2.0, 0.0, None, harmless=2.0), Scale(2.0, 200.0, True, False, 0.0, float("inf"))),
        (Dose("x", 2.0, 0.0, 50.0, harmless=2.0), Scale(2.0, 50.0, True, False, 0.0, 50.0)),
        (Dose("x", 10.0, 0.0, None), Scale(0.0, 1000.0, True, False, 0.0, float("inf"))),
        (Dose("x", 40.0, 1.0, None, harmless=2.0), Scale(2.0, 800.0, True, False, 1.0, float("inf"))),
        (Dose("x", 0.5, 0.1, 100.0, harmless=10.0), Scale(10.0, 0.1, False, False, 0.1, 100.0)),
        (Dose("x", 0.4, 0.1, 100.0, harmless=10.0), Scale(10.0, 0.1, True, False, 0.1, 100.0)),
        (Dose("x", 1.0, -5.0, 5.0), Scale(-5.0, 5.0, False, False, -5.0, 5.0)),
        (Dose("x", 3.0, None, 8.0, harmless=1.0), Scale(1.0, 8.0, False, False, float("-inf"), 8.0)),
        (Dose("x", 10, 0, 500), Scale(0.0, 500.0, True, True, 0, 500)),
    ],
)
def test_a_scale_goes_from_harmless_to_the_worst_that_is_tried(dose: Dose, scale: Scale) -> None:
    assert Scale.of(dose) == scale


@pytest.mark.parametrize(
    ("scale", "values"),
    [
        (Scale(0.0, 10.0, False), [2.5, 5.0, 10.0]),
        (Scale(0.0, 10.0, False, whole=True), [2, 5, 10]),
        (Scale(1.0, 16.0, True), [2.0, 4.0, 16.0]),
        (Scale(2.0, 32.0, True), [4.0, 8.0, 32.0]),
        (Scale(-1.0, 9.0, True), [-1.0, -0.999, 9.0]),
        (Scale(0.0, 10.0, True), [1e-5, 1e-3, 10.0]),
        (Scale(0.0, 10.0, False, low=3.0, high=8.0), [3.0, 5.0, 8.0]),
        (Scale(0.0, 1 / 3, False), [0.08333, 0.1667, 0.3333]),
    ],
)
def test_a_part_of_a_scale_is_a_dose(scale: Scale, values: list[float]) -> None:
    found = [scale.value(part) for part in (0.25, 0.5, 1.0)]
    assert found == values
    assert [type(one) for one in found] == [type(one) for one in values]


def test_where_to_look_next_is_half_way_and_only_where_something_lies_between() -> None:
    assert next_parts({0.125: {"A"}}) == [0.0625]
    assert next_parts({1 / 32: {"A"}}) == []
    assert next_steps({0: {"A"}, 8: {"A", "B"}, 16: set()}) == [4, 12]
    assert next_steps({7: {"A"}}) == []
    assert next_steps({3: set(), 8: {"A"}, 13: set()}) == [5, 10]
