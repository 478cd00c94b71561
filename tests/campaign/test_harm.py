"""Harm by the metric of the final weights: measured against the spread over seeds, or unknown."""

from __future__ import annotations

import math

import pytest

from faultlab.campaign.clean_spread import blind, outlying
from faultlab.campaign.verdict import RESUMED, Twin
from faultlab.core.report import Harm, Status
from faultlab.report.overview import measured
from tests.campaign import outcomes


@pytest.mark.parametrize(
    ("faulty", "others", "lower", "harmful"),
    [
        (1.04, [], True, False),
        (1.06, [], True, True),
        (0.5, [], True, False),
        (0.94, [], False, True),
        (1.5, [], False, False),
        (1.2, [0.9, 1.0, 1.1], True, False),
        (1.31, [0.9, 1.0, 1.1], True, True),
        (1.06, [1.0, math.inf, math.nan], True, True),
    ],
)
def test_harm_is_what_exceeds_the_spread_over_seeds(
    faulty: float, others: list[float], lower: bool, harmful: bool
) -> None:
    siblings = [outcomes.trajectory(final={"val_loss": value}) for value in others]
    twin = Twin(outcomes.trajectory(), siblings, metric="val_loss", lower_is_better=lower)
    assert outcomes.judged(outcomes.outcome_of(outcomes.trajectory(final={"val_loss": faulty})), twin).harm == Harm(
        "val_loss", 1.0, faulty, harmful
    )


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_no_longer_finite_is_harm(value: float) -> None:
    assert outcomes.judged(outcomes.outcome_of(outcomes.trajectory(final={"val_loss": value}))).harm == Harm(
        "val_loss", 1.0, None, True
    )


def test_an_evaluation_that_fails_under_the_fault_leaves_the_harm_unknown() -> None:
    logged = {"val_loss": [(3, 0.9)]}
    outcome = outcomes.outcome_of(outcomes.trajectory(final={}, metrics=logged), unevaluated="ValueError: no")
    why = "the weights could not be evaluated: ValueError: no"
    assert outcomes.judged(outcome).harm == Harm("val_loss", 1.0, None, False, why)
    assert outcomes.judged(outcome).status is Status.SILENT
    without = Harm("val_loss", 1.0, None, False, "it gives no val_loss")
    assert outcomes.judged(outcomes.outcome_of(outcomes.trajectory(final={}, metrics=logged))).harm == without


def test_a_network_that_can_not_be_evaluated_with_the_fault_in_it_leaves_the_harm_unknown() -> None:
    put_back = outcomes.outcome_of(outcomes.trajectory(digest="other"), unevaluated="ValueError: no", in_place={})
    why = "the network with the fault still in it could not be evaluated: ValueError: no"
    assert outcomes.judged(put_back).harm == Harm("val_loss", 1.0, 1.0, False, why)
    worse = outcomes.outcome_of(outcomes.trajectory(final={"val_loss": 9.0}), unevaluated="ValueError: no", in_place={})
    assert outcomes.judged(worse).harm == Harm("val_loss", 1.0, 9.0, True), "that the weights are worse is known"


@pytest.mark.parametrize(("in_place", "harmful"), [(1.0, False), (9.0, True)])
def test_weights_that_can_not_be_evaluated_without_the_fault_are_known_to_be_harmful_or_not_known(
    in_place: float, harmful: bool
) -> None:
    failed = outcomes.outcome_of(
        outcomes.trajectory(final={}), unevaluated="ValueError: no", in_place={"val_loss": in_place}
    )
    harm = outcomes.judged(failed).harm
    assert harm is not None
    assert harm.harmful == harmful
    assert harm.unknown == ("" if harmful else "the weights could not be evaluated: ValueError: no")


def test_spoilt_weights_are_harm_though_the_metric_hides_them() -> None:
    hidden = outcomes.trajectory(digest="other", final={"val_loss": 1e-12}, not_finite="net.0.weight")
    harm = outcomes.judged(outcomes.outcome_of(hidden)).harm
    assert harm == Harm("val_loss", 1.0, 1e-12, True, seen_by="net.0.weight is not finite")
    assert measured(harm) == "net.0.weight is not finite (harmful; val_loss 1e-12, clean 1)"
    spoilt_clean = Twin(outcomes.trajectory(not_finite="net.0.weight"), metric="val_loss")
    found = outcomes.judged(outcomes.outcome_of(hidden), spoilt_clean).harm
    assert found is not None
    assert not found.harmful, "what the clean run holds too is none of the fault's doing"


def test_harm_is_unknown_where_the_clean_run_gives_nothing_to_compare_with() -> None:
    for value in (math.nan, math.inf):
        twin = Twin(outcomes.trajectory(final={"val_loss": value}), metric="val_loss")
        harm = outcomes.judged(outcomes.outcome_of(outcomes.trajectory(final={"val_loss": 2.0})), twin).harm
        assert harm == Harm("val_loss", None, 2.0, False, "the clean run's val_loss is not finite")


@pytest.mark.parametrize("value", [3e20, math.inf, 30.0])
def test_one_clean_seed_that_diverges_hides_no_harm(value: float) -> None:
    siblings = {n: outcomes.trajectory(final={"val_loss": found}) for n, found in enumerate((1.0, 1.1, value, 0.9))}
    twin = Twin(outcomes.trajectory(), list(siblings.values()), metric="val_loss")
    assert twin.spread == pytest.approx(0.1)
    assert outcomes.judged(outcomes.outcome_of(outcomes.trajectory(final={"val_loss": 34.0})), twin).harmful
    (told,) = outlying(twin, siblings, 0)
    assert f"seed 2 ends with val_loss {value:.4g}, others between 0.9 and 1.1" in told["what"]
    assert told["kind"] == "outlier"


def test_harm_is_unknown_where_the_clean_run_itself_is_the_one_that_diverges() -> None:
    away = outcomes.trajectory(final={"val_loss": 7e12})
    siblings = {n: outcomes.trajectory(final={"val_loss": found}) for n, found in enumerate((7e12, 1.0, 1.1))}
    harm = outcomes.judged(
        outcomes.outcome_of(outcomes.trajectory(final={"val_loss": 9e12})),
        Twin(away, list(siblings.values()), metric="val_loss"),
    ).harm
    assert harm is not None
    assert (harm.harmful, "diverges itself" in harm.unknown) == (False, True)
    (told,) = outlying(Twin(away, list(siblings.values()), metric="val_loss"), siblings, 0)
    assert "their harm is unknown" in told["what"]


def test_seeds_that_end_about_as_well_are_no_finding() -> None:
    siblings = {n: outcomes.trajectory(final={"val_loss": found}) for n, found in enumerate((1.0, 1.0, 1.01, 2.0, 0.0))}
    assert outlying(Twin(outcomes.trajectory(), list(siblings.values()), metric="val_loss"), siblings, 0) == []


@pytest.mark.parametrize(
    ("faulty", "harmful", "known"),
    [
        (1.04, False, True),
        (0.96, False, True),
        (1.2, False, False),
        (0.8, False, False),
        (2.0, True, True),
        (-9.0, True, True),
    ],
)
def test_of_a_metric_without_a_direction_what_is_far_off_is_harm_to_either_side(
    faulty: float, harmful: bool, known: bool
) -> None:
    twin = Twin(outcomes.trajectory(), metric="val_loss", lower_is_better=None)
    harm = outcomes.judged(outcomes.outcome_of(outcomes.trajectory(final={"val_loss": faulty})), twin).harm
    assert harm is not None
    assert (harm.harmful, not harm.unknown) == (harmful, known)


IN_PLACE = "val_loss is computed by what the fault has changed"


@pytest.mark.parametrize(
    ("clean_code", "in_place", "harm"),
    [
        (1.0, -0.97, Harm("val_loss", 1.0, -0.97, False, IN_PLACE)),
        (5.0, -0.97, Harm("val_loss", 1.0, 5.0, True)),
        (1.0, 1.01, Harm("val_loss", 1.0, 1.01, False)),
        (1.0, 7.0, Harm("val_loss", 1.0, 7.0, True)),
    ],
)
def test_a_loss_that_the_fault_itself_computes_is_not_taken_for_an_improvement(
    clean_code: float, in_place: float, harm: Harm
) -> None:
    outcome = outcomes.outcome_of(outcomes.trajectory(final={"val_loss": clean_code}), in_place={"val_loss": in_place})
    assert outcomes.judged(outcome).harm == harm


def test_a_metric_that_compares_predictions_with_labels_stands_in_for_a_loss_that_the_fault_computes() -> None:
    twin = Twin(outcomes.trajectory(final={"val_loss": 1.0, "val_acc": 1.0}), metric="val_loss")
    evaluated = {"val_loss": -0.97, "val_acc": 0.5}
    outcome = outcomes.outcome_of(outcomes.trajectory(final={"val_loss": 1.0, "val_acc": 1.0}), in_place=evaluated)
    assert outcomes.judged(outcome, twin).harm == Harm("val_acc", 1.0, 0.5, True)


def test_a_best_checkpoint_is_harm_only_if_it_is_worse_than_the_clean_seeds_differ() -> None:
    clean = outcomes.trajectory(reloaded={"val_loss": 1.0})
    seeds = [outcomes.trajectory(final={"val_loss": value}) for value in (0.8, 1.0, 1.2)]
    twin = Twin(clean, others=seeds, metric="val_loss")
    for value, harmful in ((1.5, False), (1.7, True)):
        harm = outcomes.judged(
            outcomes.outcome_of(outcomes.trajectory(digest="other", reloaded={"val_loss": value})), twin
        ).harm
        assert harm == Harm("val_loss", 1.0, value, harmful)


@pytest.mark.parametrize(("idle", "expected"), [(1.05, True), (2.3, False), (0.9, True)])
def test_harm_is_unknown_if_a_run_that_never_updates_ends_as_clean_runs_do(idle: float, expected: bool) -> None:
    seeds = [outcomes.trajectory(final={"val_loss": value}) for value in (1.0, 1.1, 0.97)]
    never = outcomes.trajectory(digest="initial", final={"val_loss": idle})
    twin = Twin(outcomes.trajectory(), seeds, metric="val_loss", never_updated=never)
    found = blind(twin)
    assert bool(found) is expected
    harmless = outcomes.judged(
        outcomes.outcome_of(outcomes.trajectory(digest="other", final={"val_loss": 1.06})), twin
    ).harm
    assert harmless is not None
    assert not harmless.harmful
    assert bool(harmless.unknown) is expected, "what the metric can't show is not shown to be harmless"
    assert outcomes.judged(
        outcomes.outcome_of(outcomes.trajectory(digest="other", final={"val_loss": 9.0})), twin
    ).harmful, "harm is still harm"
    if found:
        assert found[0]["kind"] == "blind"
        assert "clean runs end with val_loss 0.97 to 1.1, and a run that never updates" in found[0]["what"]


def test_a_harmless_value_is_shown_with_the_least_distance_that_would_be_harm() -> None:
    seeds = [outcomes.trajectory(final={"val_loss": value}) for value in (1.0, 1.1, 0.9)]
    harm = outcomes.judged(
        outcomes.outcome_of(outcomes.trajectory(digest="other", final={"val_loss": 1.06})),
        Twin(outcomes.trajectory(), seeds, metric="val_loss"),
    ).harm
    assert measured(harm) == "val_loss 1.06, clean 1 ± 0.3 (within the spread of clean runs)"


@pytest.mark.parametrize(("faulty", "lower"), [(0.6, True), (1.4, False)])
def test_a_value_that_is_better_than_clean_runs_is_not_said_to_be_within_their_spread(
    faulty: float, lower: bool
) -> None:
    seeds = [outcomes.trajectory(final={"val_loss": value}) for value in (1.0, 1.1, 0.9)]
    twin = Twin(outcomes.trajectory(), seeds, metric="val_loss", lower_is_better=lower)
    run = outcomes.trajectory(digest="other", final={"val_loss": faulty})
    harm = outcomes.judged(outcomes.outcome_of(run), twin).harm
    assert measured(harm) == f"val_loss {faulty}, clean 1 ± 0.3 (better than clean runs)"


def test_a_clean_value_of_another_run_is_named_after_that_run() -> None:
    clean = outcomes.trajectory(reloaded={"val_loss": 0.8})
    run = outcomes.outcome_of(outcomes.trajectory(digest="other", reloaded={"val_loss": 1.7}))
    best = outcomes.judged(run, Twin(clean, metric="val_loss")).harm
    assert measured(best) == "val_loss 1.7, clean best checkpoint 0.8 (harmful)"
    resumed = Twin(outcomes.trajectory(), metric="val_loss", name=RESUMED)
    harm = outcomes.judged(outcomes.outcome_of(outcomes.trajectory(digest="other", final={"val_loss": 9.0})), resumed)
    assert measured(harm.harm) == "val_loss 9, clean resumed run 1 (harmful)"
    assert harm.to_json()["harm"]["clean_of"] == "resumed run"
    assert "clean_of" not in Harm("val_loss", 1.0, 1.0, False).to_json()
