"""Whether a run differs from clean runs by more than they differ from each other."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from faultlab.campaign.verdict import Twin
from faultlab.core.alert import Alert
from faultlab.core.report import Status
from tests.campaign import outcomes


def test_a_fault_that_changes_the_run_and_that_nobody_detects_is_silent() -> None:
    found = outcomes.judged(outcomes.outcome_of())
    assert (found.status, found.reason, found.detected_by) == (Status.SILENT, "", [])


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "b"},
        {"losses": [*outcomes.LOSSES[:3], (3, math.nextafter(1.0, 2.0))]},
        {"losses": outcomes.LOSSES[:3]},
        {"learning_rates": [(0, 0.1)]},
        {"metrics": {"acc": [(3, 0.5)]}},
        {"validation_batches": 1},
        {"global_step": 3},
        {"logger_calls": 1},
        {"epochs": 1},
        {"final": {}},
        {"final": {"val_loss": math.nan}},
    ],
)
def test_on_a_deterministic_target_any_difference_is_an_effect(change: dict[str, Any]) -> None:
    assert outcomes.judged(outcomes.outcome_of(outcomes.trajectory(**change))).status is Status.SILENT


def test_a_run_that_is_the_clean_one_to_the_bit_has_no_effect() -> None:
    odd = {"losses": [(0, math.nan), (1, math.inf)], "final": {"val_loss": math.nan}}
    for run in (outcomes.trajectory(), outcomes.trajectory(**odd)):
        found = outcomes.judged(outcomes.outcome_of(run), Twin(run, metric="val_loss"))
        assert (found.status, found.reason) == (Status.NO_EFFECT, "the run is the clean one, to the bit")


# A clean run of the same seed that strays by 0.01 from the other: its last loss, its weights, its evaluation.
STRAYED = {"digest": "c", "losses": [*outcomes.LOSSES[:3], (3, 1.02)], "final": {"val_loss": 1.01}}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"digest": "b"}, Status.NO_EFFECT),
        ({"losses": [*outcomes.LOSSES[:3], (3, 0.99)]}, Status.NO_EFFECT),
        ({"losses": [*outcomes.LOSSES[:3], (3, 1.03)]}, Status.NO_EFFECT),
        ({"final": {"val_loss": 1.019}}, Status.NO_EFFECT),
        ({"losses": [*outcomes.LOSSES[:3], (3, 1.08)]}, Status.SILENT),
        ({"losses": [(0, 4.05), *outcomes.LOSSES[1:]]}, Status.SILENT),
        ({"losses": [*outcomes.LOSSES[:3], (3, math.inf)]}, Status.SILENT),
        ({"losses": [*outcomes.LOSSES[:3], (3, math.nan)]}, Status.SILENT),
        ({"losses": outcomes.LOSSES[:3]}, Status.SILENT),
        ({"final": {"val_loss": 1.04}}, Status.SILENT),
        ({"final": {"val_loss": math.nan}}, Status.SILENT),
        ({"final": {}}, Status.SILENT),
        ({"final": {"val_loss": 1.0, "more": 2.0}}, Status.SILENT),
        ({"steps": 3}, Status.SILENT),
        ({"validation_batches": 2}, Status.SILENT),
        ({"end": "exited"}, Status.SILENT),
    ],
)
def test_where_clean_runs_differ_a_run_has_no_effect_if_it_is_as_near_to_one_as_they_are(
    change: dict[str, Any], status: Status
) -> None:
    twin = Twin(outcomes.trajectory(), repeats=[outcomes.trajectory(**STRAYED)])
    assert (
        outcomes.judged(outcomes.outcome_of(outcomes.trajectory(**{"digest": "other", **change})), twin).status
        is status
    )


def test_where_clean_runs_are_far_apart_what_has_grown_is_still_no_clean_run() -> None:
    apart = [
        outcomes.trajectory(digest=str(n), losses=[(step, loss * (1 + n)) for step, loss in outcomes.LOSSES])
        for n in range(4)
    ]
    twin = Twin(outcomes.trajectory(), repeats=apart)
    assert twin.same_run(
        outcomes.trajectory(digest="other", losses=[(step, loss * 2.5) for step, loss in outcomes.LOSSES])
    )
    assert not twin.same_run(
        outcomes.trajectory(digest="other", losses=[(step, loss * 500) for step, loss in outcomes.LOSSES])
    )


def test_one_clean_run_that_diverges_does_not_make_every_run_a_clean_one() -> None:
    apart = [
        outcomes.trajectory(digest=str(n), losses=[(step, loss + n / 100) for step, loss in outcomes.LOSSES])
        for n in range(4)
    ]
    wild = outcomes.trajectory(digest="wild", losses=[(step, loss * 1e20) for step, loss in outcomes.LOSSES])
    assert not Twin(outcomes.trajectory(), repeats=[*apart, wild]).same_run(
        outcomes.trajectory(digest="other", losses=[(s, 9.0) for s, _ in outcomes.LOSSES])
    )


def test_no_effect_is_not_said_where_harm_was_measured() -> None:
    apart = [outcomes.trajectory(digest=str(n), final={"val_loss": value}) for n, value in enumerate((1.0, 3.0))]
    found = outcomes.judged(
        outcomes.outcome_of(outcomes.trajectory(final={"val_loss": 2.9}, digest="other")),
        Twin(outcomes.trajectory(), repeats=apart, metric="val_loss"),
    )
    assert (found.status, found.harmful) == (Status.SILENT, True)


def test_what_is_clean_for_certain_may_stray_by_a_share_where_clean_runs_differ() -> None:
    twin = Twin(outcomes.trajectory(), repeats=[outcomes.trajectory(**STRAYED)])
    away = outcomes.trajectory(digest="other", final={"val_loss": 1.035})
    assert not twin.same_run(away)
    assert twin.same_run(away, certain=True)
    assert not twin.same_run(outcomes.trajectory(digest="other", final={"val_loss": 1.2}), certain=True)
    assert not Twin(outcomes.trajectory()).same_run(away, certain=True)


def test_an_alarm_that_the_clean_run_raises_too_is_no_detection() -> None:
    clean = [Alert("guard", "Spike", 0, "another step, another text", "stopped", "patience")]
    same = outcomes.alert(how="stopped", reason="patience")
    assert (
        outcomes.judged(outcomes.outcome_of(alerts=[same]), Twin(outcomes.trajectory(), alerts=clean)).status
        is Status.SILENT
    )
    for other in ({"reason": "divergence"}, {"how": "raised"}, {"name": "Other"}, {"kind": "test"}):
        found = outcomes.judged(
            outcomes.outcome_of(alerts=[replace(same, **other)]), Twin(outcomes.trajectory(), alerts=clean)
        )
        assert found.status is Status.DETECTED, other


def test_what_clean_repeats_agree_in_to_the_bit_has_to_agree_in_a_nondeterministic_target_too() -> None:
    repeats = [outcomes.trajectory(losses=[(0, 4.01), (1, 3.0), (2, 2.0), (3, 1.0)])]
    twin = Twin(outcomes.trajectory(), metric="val_loss", repeats=repeats)
    assert twin.same_run(outcomes.trajectory(losses=[(0, 4.02), (1, 3.0), (2, 2.0), (3, 1.0)]))
    assert not twin.same_run(outcomes.trajectory(digest="other"))
    assert not twin.same_run(outcomes.trajectory(losses=[(0, 5.0), (1, 3.0), (2, 2.0), (3, 1.0)]))


NEAR = [(0, 4.01), *outcomes.LOSSES[1:]]


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({}, True),
        ({"metrics": {"acc": [(3, 0.65)]}}, True),
        ({"metrics": {"acc": [(3, 0.1)]}}, False),
        ({"metrics": {"acc": [(3, math.nan)]}}, False),
        ({"metrics": {"acc": [(2, 0.5)]}}, False),
        ({"reloaded": {"val_loss": 1.015}}, True),
        ({"reloaded": {"val_loss": 9.0}}, False),
    ],
)
def test_where_runs_differ_what_is_reported_or_reloaded_may_stray_as_far_as_in_clean_runs(
    change: dict[str, Any], same: bool
) -> None:
    clean = outcomes.trajectory(metrics={"acc": [(3, 0.5)]}, reloaded={"val_loss": 1.0})
    other = outcomes.trajectory(losses=NEAR, metrics={"acc": [(3, 0.6)]}, reloaded={"val_loss": 1.01})
    twin = Twin(clean, metric="val_loss", repeats=[other])
    known = {"metrics": {"acc": [(3, 0.55)]}, "reloaded": {"val_loss": 1.005}}
    assert twin.same_run(outcomes.trajectory(losses=NEAR, **{**known, **change})) is same


def test_no_effect_says_how_near_the_clean_run_it_was() -> None:
    near = "the run is the clean one, as near as clean runs are to each other"
    assert (
        outcomes.judged(
            outcomes.outcome_of(outcomes.trajectory(digest="b")),
            Twin(outcomes.trajectory(), repeats=[outcomes.trajectory(digest="c")]),
        ).reason
        == near
    )
    assert outcomes.judged(outcomes.outcome_of(outcomes.trajectory())).reason == "the run is the clean one, to the bit"
