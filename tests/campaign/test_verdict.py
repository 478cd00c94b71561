"""The verdict on made-up outcomes: every status, who detected, and what it cost."""

from __future__ import annotations

import json
import math
from collections import namedtuple
from dataclasses import replace
from typing import Any

import pytest

from faultlab.campaign.clean_spread import blind, outlying
from faultlab.campaign.metric_choice import choose_metric
from faultlab.campaign.verdict import Twin, judge
from faultlab.catalogue.failure_mode import FailureMode, declare
from faultlab.catalogue.injection_points import Loss
from faultlab.core.alert import Alert
from faultlab.core.detection import Detection
from faultlab.core.report import FaultResult, Harm, Status
from faultlab.core.results import Broken, Outcome, RunResult, ShownWarning, TargetFailed
from faultlab.core.trajectory import Trajectory
from faultlab.errors import TargetError
from faultlab.report.overview import measured

MetricToWatch = namedtuple("MetricToWatch", "metric mode")
FAULT = "loss.made-up@step=2"
LOSSES = [(0, 4.0), (1, 3.0), (2, 2.0), (3, 1.0)]


def _mode(**more: Any) -> FailureMode:
    known: dict[str, Any] = {"point": Loss(), "severity": "critical", "effect": "silent", "cause": ("loss", "nan")}
    return declare(id="loss.made-up", docstring="Made up.", no_evidence="made up", **{**known, **more})


def _run(**changed: Any) -> Trajectory:
    fields: dict[str, Any] = {"steps": 4, "losses": list(LOSSES), "digest": "abc", "final": {"val_loss": 1.0}}
    return Trajectory(**{**fields, **changed})


def _outcome(run: Trajectory | None = None, **changed: Any) -> Outcome:
    """An outcome as it arrives from a victim: through JSON."""
    result = RunResult(run or _run(digest="other"), **{"activations": 2, "first_step": 2, **changed})
    outcome = Outcome(FAULT, [result], acting=2, seconds=0.123456)
    return Outcome.from_json(json.loads(json.dumps(outcome.to_json())))


def _judge(outcome: Outcome, twin: Twin | None = None, mode: FailureMode | None = None) -> FaultResult:
    return judge(FAULT, mode or _mode(), outcome, twin or Twin(_run(), metric="val_loss"))


def _alert(
    kind: str = "guard", name: str = "Spike", step: int = 3, message: str = "oh", how: str = "raised", **more: Any
) -> Alert:
    return Alert(kind, name, step, message, how, **more)


def test_a_fault_that_somebody_signalled_is_detected_with_its_latency() -> None:
    found = _judge(_outcome(alerts=[_alert(step=3)]))
    assert found.status is Status.DETECTED
    assert (found.activations, found.first_step, found.seconds) == (2, 2, 0.1235)
    assert [(who.kind, who.name, who.step, who.latency) for who in found.detected_by] == [("guard", "Spike", 3, 1)]
    assert (found.id, found.mode, found.family, found.severity) == (FAULT, "loss.made-up", "loss", "critical")


def test_a_fault_that_only_new_warnings_tell_of_is_warned() -> None:
    told = [ShownWarning("old #", 0, "old 1"), ShownWarning("new #", 2, "new 7")]
    found = _judge(_outcome(warnings=told), Twin(_run(), warnings=frozenset({"old #"})))
    assert (found.status, found.warnings) == (Status.WARNED, ["new 7"])


def test_a_warning_that_the_clean_run_has_too_is_none() -> None:
    told = [ShownWarning("old #", 2, "old 2")]
    found = _judge(_outcome(warnings=told), Twin(_run(), warnings=frozenset({"old #"})))
    assert (found.status, found.warnings) == (Status.SILENT, [])


def test_a_fault_that_changes_the_run_and_that_nobody_detects_is_silent() -> None:
    found = _judge(_outcome())
    assert (found.status, found.reason, found.detected_by) == (Status.SILENT, "", [])


@pytest.mark.parametrize(
    "change",
    [
        {"digest": "b"},
        {"losses": [*LOSSES[:3], (3, math.nextafter(1.0, 2.0))]},
        {"losses": LOSSES[:3]},
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
    assert _judge(_outcome(_run(**change))).status is Status.SILENT


def test_a_run_that_is_the_clean_one_to_the_bit_has_no_effect() -> None:
    odd = {"losses": [(0, math.nan), (1, math.inf)], "final": {"val_loss": math.nan}}
    for run in (_run(), _run(**odd)):
        found = _judge(_outcome(run), Twin(run, metric="val_loss"))
        assert (found.status, found.reason) == (Status.NO_EFFECT, "the run is the clean one, to the bit")


# A clean run of the same seed that strays by 0.01 from the other: its last loss, its weights, its evaluation.
STRAYED = {"digest": "c", "losses": [*LOSSES[:3], (3, 1.02)], "final": {"val_loss": 1.01}}


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"digest": "b"}, Status.NO_EFFECT),
        ({"losses": [*LOSSES[:3], (3, 0.99)]}, Status.NO_EFFECT),
        ({"losses": [*LOSSES[:3], (3, 1.03)]}, Status.NO_EFFECT),
        ({"final": {"val_loss": 1.019}}, Status.NO_EFFECT),
        ({"losses": [*LOSSES[:3], (3, 1.08)]}, Status.SILENT),
        ({"losses": [(0, 4.05), *LOSSES[1:]]}, Status.SILENT),
        ({"losses": [*LOSSES[:3], (3, math.inf)]}, Status.SILENT),
        ({"losses": [*LOSSES[:3], (3, math.nan)]}, Status.SILENT),
        ({"losses": LOSSES[:3]}, Status.SILENT),
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
    twin = Twin(_run(), repeats=[_run(**STRAYED)])
    assert _judge(_outcome(_run(**{"digest": "other", **change})), twin).status is status


def test_where_clean_runs_are_far_apart_what_has_grown_is_still_no_clean_run() -> None:
    apart = [_run(digest=str(n), losses=[(step, loss * (1 + n)) for step, loss in LOSSES]) for n in range(4)]
    twin = Twin(_run(), repeats=apart)
    assert twin.same_run(_run(digest="other", losses=[(step, loss * 2.5) for step, loss in LOSSES]))
    assert not twin.same_run(_run(digest="other", losses=[(step, loss * 500) for step, loss in LOSSES]))


def test_one_clean_run_that_diverges_does_not_make_every_run_a_clean_one() -> None:
    apart = [_run(digest=str(n), losses=[(step, loss + n / 100) for step, loss in LOSSES]) for n in range(4)]
    wild = _run(digest="wild", losses=[(step, loss * 1e20) for step, loss in LOSSES])
    assert not Twin(_run(), repeats=[*apart, wild]).same_run(_run(digest="other", losses=[(s, 9.0) for s, _ in LOSSES]))


def test_no_effect_is_not_said_where_harm_was_measured() -> None:
    apart = [_run(digest=str(n), final={"val_loss": value}) for n, value in enumerate((1.0, 3.0))]
    found = _judge(
        _outcome(_run(final={"val_loss": 2.9}, digest="other")), Twin(_run(), repeats=apart, metric="val_loss")
    )
    assert (found.status, found.harmful) == (Status.SILENT, True)


def test_what_is_clean_for_certain_may_stray_by_a_share_where_clean_runs_differ() -> None:
    twin = Twin(_run(), repeats=[_run(**STRAYED)])
    away = _run(digest="other", final={"val_loss": 1.035})
    assert not twin.same_run(away)
    assert twin.same_run(away, certain=True)
    assert not twin.same_run(_run(digest="other", final={"val_loss": 1.2}), certain=True)
    assert not Twin(_run()).same_run(away, certain=True)


def test_an_alarm_that_the_clean_run_raises_too_is_no_detection() -> None:
    clean = [Alert("guard", "Spike", 0, "another step, another text", "stopped", "patience")]
    same = _alert(how="stopped", reason="patience")
    assert _judge(_outcome(alerts=[same]), Twin(_run(), alerts=clean)).status is Status.SILENT
    for other in ({"reason": "divergence"}, {"how": "raised"}, {"name": "Other"}, {"kind": "test"}):
        found = _judge(_outcome(alerts=[replace(same, **other)]), Twin(_run(), alerts=clean))
        assert found.status is Status.DETECTED, other


def test_who_detected_stands_in_the_order_of_worth_and_then_of_time() -> None:
    said = [
        _alert("framework", "exception", 2, "the loss is nan"),
        _alert("module", "LitModel.training_step", 2, "the loss is nan"),
        _alert("guard", "Late", 9, "stopped", "stopped"),
        _alert("guard", "Early", 4, "stopped", "stopped"),
        _alert("test", "test_loss", 7, "the LOSS is negative"),
        _alert("guard", "Spike", 5, "NaN met"),
    ]
    found = _judge(_outcome(alerts=said))
    named = ["Spike", "test_loss", "Early", "Late", "LitModel.training_step", "exception"]
    assert [who.name for who in found.detected_by] == named
    assert [who.names_cause for who in found.detected_by] == [True, True, False, False, True, True]
    assert found.best is not None
    assert found.best.name == "Spike"


def test_detects_of_a_second_run_without_flags_count_too() -> None:
    found = judge(FAULT, _mode(), _outcome(), Twin(_run()), [Alert("guard", "Spike", 3, "oh")])
    assert [who.name for who in found.detected_by] == ["Spike"]


def test_a_fault_that_never_acted_gets_no_verdict_whoever_signalled() -> None:
    found = _judge(_outcome(activations=0, first_step=None, alerts=[_alert()]))
    assert (found.status, found.detected_by) == (Status.NOT_ACTIVATED, [])
    assert found.reason


@pytest.mark.parametrize(
    ("outcome", "said"),
    [
        (Outcome(FAULT, lost="its fork server is gone"), "its fork server is gone"),
        (_outcome(broken="KeyError: 'x'"), "the injector failed: KeyError: 'x'"),
        (Outcome(FAULT, [Broken("KeyError")]), "the injector failed: KeyError"),
        (Outcome(FAULT, [TargetFailed(TargetError((), "no module"))]), "could not be built again: no module"),
        (Outcome(FAULT, exit=-11), "killed by SIGSEGV before the fault acted"),
        (Outcome(FAULT, exit=3), "ended with status 3 before the fault acted"),
        (Outcome(FAULT, exit=0), "ended with status 0 before the fault acted"),
    ],
)
def test_what_is_not_the_victims_doing_is_an_error(outcome: Outcome, said: str) -> None:
    found = _judge(outcome)
    assert found.status is Status.ERROR
    assert said in found.reason


@pytest.mark.parametrize(
    ("exit", "said"),
    [(-9, "killed by SIGKILL"), (-11, "killed by SIGSEGV"), (-99, "killed by signal 99"), (7, "ended with status 7")],
)
def test_a_process_that_the_fault_kills_is_detected_by_process(exit: int, said: str) -> None:
    found = _judge(Outcome(FAULT, exit=exit, acting=5))
    (who,) = found.detected_by
    assert (found.status, found.activations, found.first_step) == (Status.DETECTED, 1, 5)
    assert (who.kind, who.step, who.worth) == ("process", 5, 3)
    assert said in who.message


def test_an_early_exit_with_status_0_is_silent() -> None:
    unreported = _judge(Outcome(FAULT, exit=0, acting=5))
    reported = _judge(_outcome(_run(end="exited")))
    for found in (unreported, reported):
        assert (found.status, found.detected_by) == (Status.SILENT, [])
        assert "exits with status 0" in found.reason
    assert reported.harm == Harm("val_loss", 1.0, None, True)


def test_a_deadline_is_detected_by_process_only_where_the_failure_mode_hangs() -> None:
    late = Outcome(FAULT, timed_out=True, acting=2, seconds=10.0, exit=-9)
    found = _judge(late, mode=_mode(hangs=True))
    assert (found.status, found.detected_by[0].kind) == (Status.DETECTED, "process")
    assert "deadline of 10 s" in found.detected_by[0].message
    assert _judge(late).status is Status.TIMEOUT
    assert "deadline of 10 s" in _judge(late).reason


def test_a_deadline_before_the_fault_acted_is_inconclusive_even_where_the_mode_hangs() -> None:
    found = _judge(Outcome(FAULT, timed_out=True, seconds=10.0), mode=_mode(hangs=True))
    assert found.status is Status.TIMEOUT
    assert "had not acted" in found.reason


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
    siblings = [_run(final={"val_loss": value}) for value in others]
    twin = Twin(_run(), siblings, metric="val_loss", lower_is_better=lower)
    assert _judge(_outcome(_run(final={"val_loss": faulty})), twin).harm == Harm("val_loss", 1.0, faulty, harmful)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_metric_that_is_no_longer_finite_is_harm(value: float) -> None:
    assert _judge(_outcome(_run(final={"val_loss": value}))).harm == Harm("val_loss", 1.0, None, True)


def test_the_metric_is_read_where_the_clean_run_has_it_and_nowhere_else() -> None:
    logged = {"val_loss": [(1, 9.0), (3, 2.0)]}
    evaluated = Twin(_run(), metric="val_loss")
    assert evaluated.value(_run(metrics=logged)) == 1.0
    assert evaluated.value(_run(final={}, metrics=logged)) is None
    only_logged = Twin(_run(final={}, metrics=logged), metric="val_loss")
    assert only_logged.value(_run(final={}, metrics=logged)) == 2.0
    assert only_logged.value(_run(final={})) is None
    neither = Twin(_run(final={}), metric="loss")
    assert neither.value(_run(final={}, losses=[(step, float(step)) for step in range(8)])) == 6.5
    assert neither.value(_run(final={}, losses=[])) is None


def test_an_evaluation_that_fails_under_the_fault_leaves_the_harm_unknown() -> None:
    logged = {"val_loss": [(3, 0.9)]}
    outcome = _outcome(_run(final={}, metrics=logged), unevaluated="ValueError: no")
    why = "the weights could not be evaluated: ValueError: no"
    assert _judge(outcome).harm == Harm("val_loss", 1.0, None, False, why)
    assert _judge(outcome).status is Status.SILENT
    without = Harm("val_loss", 1.0, None, False, "it gives no val_loss")
    assert _judge(_outcome(_run(final={}, metrics=logged))).harm == without


def test_a_network_that_can_not_be_evaluated_with_the_fault_in_it_leaves_the_harm_unknown() -> None:
    put_back = _outcome(_run(digest="other"), unevaluated="ValueError: no", in_place={})
    why = "the network with the fault still in it could not be evaluated: ValueError: no"
    assert _judge(put_back).harm == Harm("val_loss", 1.0, 1.0, False, why)
    worse = _outcome(_run(final={"val_loss": 9.0}), unevaluated="ValueError: no", in_place={})
    assert _judge(worse).harm == Harm("val_loss", 1.0, 9.0, True), "that the weights are worse is known"


@pytest.mark.parametrize(("in_place", "harmful"), [(1.0, False), (9.0, True)])
def test_weights_that_can_not_be_evaluated_without_the_fault_are_known_to_be_harmful_or_not_known(
    in_place: float, harmful: bool
) -> None:
    failed = _outcome(_run(final={}), unevaluated="ValueError: no", in_place={"val_loss": in_place})
    harm = _judge(failed).harm
    assert harm is not None
    assert harm.harmful == harmful
    assert harm.unknown == ("" if harmful else "the weights could not be evaluated: ValueError: no")


def test_spoilt_weights_are_harm_though_the_metric_hides_them() -> None:
    hidden = _run(digest="other", final={"val_loss": 1e-12}, not_finite="net.0.weight")
    harm = _judge(_outcome(hidden)).harm
    assert harm == Harm("val_loss", 1.0, 1e-12, True, seen_by="net.0.weight is not finite")
    assert measured(harm) == "net.0.weight is not finite (harmful) (val_loss 1e-12, clean 1)"
    spoilt_clean = Twin(_run(not_finite="net.0.weight"), metric="val_loss")
    found = _judge(_outcome(hidden), spoilt_clean).harm
    assert found is not None
    assert not found.harmful, "what the clean run holds too is none of the fault's doing"


def test_harm_is_unknown_where_the_clean_run_gives_nothing_to_compare_with() -> None:
    for value in (math.nan, math.inf):
        twin = Twin(_run(final={"val_loss": value}), metric="val_loss")
        harm = _judge(_outcome(_run(final={"val_loss": 2.0})), twin).harm
        assert harm == Harm("val_loss", None, 2.0, False, "the clean run's val_loss is not finite")


@pytest.mark.parametrize("value", [3e20, math.inf, 30.0])
def test_one_clean_seed_that_diverges_hides_no_harm(value: float) -> None:
    siblings = {n: _run(final={"val_loss": found}) for n, found in enumerate((1.0, 1.1, value, 0.9))}
    twin = Twin(_run(), list(siblings.values()), metric="val_loss")
    assert twin.spread == pytest.approx(0.1)
    assert _judge(_outcome(_run(final={"val_loss": 34.0})), twin).harmful
    (told,) = outlying(twin, siblings, 0)
    assert f"seed 2 ends with val_loss {value:.4g}, others between 0.9 and 1.1" in told["what"]
    assert told["kind"] == "outlier"


def test_harm_is_unknown_where_the_clean_run_itself_is_the_one_that_diverges() -> None:
    away = _run(final={"val_loss": 7e12})
    siblings = {n: _run(final={"val_loss": found}) for n, found in enumerate((7e12, 1.0, 1.1))}
    harm = _judge(_outcome(_run(final={"val_loss": 9e12})), Twin(away, list(siblings.values()), metric="val_loss")).harm
    assert harm is not None
    assert (harm.harmful, "diverges itself" in harm.unknown) == (False, True)
    (told,) = outlying(Twin(away, list(siblings.values()), metric="val_loss"), siblings, 0)
    assert "their harm is unknown" in told["what"]


def test_seeds_that_end_about_as_well_are_no_finding() -> None:
    siblings = {n: _run(final={"val_loss": found}) for n, found in enumerate((1.0, 1.0, 1.01, 2.0, 0.0))}
    assert outlying(Twin(_run(), list(siblings.values()), metric="val_loss"), siblings, 0) == []


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
    twin = Twin(_run(), metric="val_loss", lower_is_better=None)
    harm = _judge(_outcome(_run(final={"val_loss": faulty})), twin).harm
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
    outcome = _outcome(_run(final={"val_loss": clean_code}), in_place={"val_loss": in_place})
    assert _judge(outcome).harm == harm


def test_a_metric_that_compares_predictions_with_labels_stands_in_for_a_loss_that_the_fault_computes() -> None:
    twin = Twin(_run(final={"val_loss": 1.0, "val_acc": 1.0}), metric="val_loss")
    evaluated = {"val_loss": -0.97, "val_acc": 0.5}
    outcome = _outcome(_run(final={"val_loss": 1.0, "val_acc": 1.0}), in_place=evaluated)
    assert _judge(outcome, twin).harm == Harm("val_acc", 1.0, 0.5, True)


REPORT = {"val_loss": [(1, 1.5), (3, 1.0)]}


def _reported(run: Trajectory, twin: Twin | None = None) -> Harm | None:
    twin = twin or Twin(_run(metrics=REPORT), metric="val_loss")
    return _judge(_outcome(run), twin, _mode(judged_by="report")).harm


@pytest.mark.parametrize(
    ("reported", "harmful"), [(1.0, False), (1.04, False), (1.06, True), (0.94, True), (0.0, True), (99.0, True)]
)
def test_a_report_is_harmful_where_it_is_far_from_an_evaluation_of_the_same_weights(
    reported: float, harmful: bool
) -> None:
    run = _run(metrics={"val_loss": [(1, 1.5), (3, reported)]})
    assert _reported(run) == Harm("val_loss", 1.0, reported, harmful)


def test_a_clean_run_that_validates_before_its_last_step_sets_how_far_a_report_may_be() -> None:
    early = {"val_loss": [(2, 1.2)]}
    twin = Twin(_run(metrics=early), [_run(metrics={}), _run(metrics=early, final={})], metric="val_loss")
    assert _reported(_run(metrics={"val_loss": [(2, 1.3)]}), twin) == Harm("val_loss", 1.0, 1.3, False)
    assert _reported(_run(metrics={"val_loss": [(2, 1.5)]}), twin) == Harm("val_loss", 1.0, 1.5, True)


@pytest.mark.parametrize("metrics", [{}, {"avg_val_loss": [(3, 1.0)]}, {"val_loss": [(3, math.nan)]}])
def test_a_metric_that_is_no_longer_reported_is_harm(metrics: Any) -> None:
    assert _reported(_run(metrics=metrics)) == Harm("val_loss", 1.0, None, True)


def test_a_number_reported_for_weights_whose_metric_is_not_finite_is_harm_and_the_truth_is_none() -> None:
    told = _run(metrics=REPORT, final={"val_loss": math.nan})
    assert _reported(told) == Harm("val_loss", None, 1.0, True)
    honest = _run(metrics={"val_loss": [(3, math.inf)]}, final={"val_loss": math.nan})
    assert _reported(honest) == Harm("val_loss", None, None, False)


def test_without_an_evaluation_the_clean_report_of_the_same_weights_is_the_truth() -> None:
    twin = Twin(_run(metrics=REPORT, final={}), metric="val_loss")
    better = {"val_loss": [(3, 0.5)]}
    assert _reported(_run(metrics=better, final={}), twin) == Harm("val_loss", 1.0, 0.5, True)
    assert _reported(_run(metrics={}, final={}), twin) == Harm("val_loss", 1.0, None, True)
    assert _reported(_run(metrics=better, final={}, digest="other"), twin) == Harm("val_loss", 1.0, 0.5, False)


def test_a_run_that_a_missing_metric_ends_is_harm_by_the_clean_runs_value() -> None:
    assert _reported(_run(metrics={}, final={}, end="raised")) == Harm("val_loss", 1.0, None, True)


def test_what_clean_repeats_agree_in_to_the_bit_has_to_agree_in_a_nondeterministic_target_too() -> None:
    repeats = [_run(losses=[(0, 4.01), (1, 3.0), (2, 2.0), (3, 1.0)])]
    twin = Twin(_run(), metric="val_loss", repeats=repeats)
    assert twin.same_run(_run(losses=[(0, 4.02), (1, 3.0), (2, 2.0), (3, 1.0)]))
    assert not twin.same_run(_run(digest="other"))
    assert not twin.same_run(_run(losses=[(0, 5.0), (1, 3.0), (2, 2.0), (3, 1.0)]))


def test_a_goal_that_is_reached_early_detects_nothing() -> None:
    reached = Alert("guard", "EarlyStopping", 2, "Stopping threshold reached", "stopped", "stopping_threshold")
    spent = Alert("guard", "EarlyStopping", 2, "did not improve", "stopped", "patience_exhausted")
    assert reached.finds_nothing
    assert not spent.finds_nothing


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["train_loss", "val_acc", "val_loss"], ("val_loss", True)),
        (["reconstruction_loss_validation", "validation_loss"], ("validation_loss", True)),
        (["a_val_loss", "val/loss"], ("val/loss", True)),
        (["val_loss_epoch", "val_loss_of_parts"], ("val_loss_epoch", True)),
        (["train_loss", "val_acc"], ("train_loss", True)),
        (["val_acc"], ("val_acc", False)),
        (["val_error"], ("val_error", True)),
        (["val_encoder2_loss"], ("val_encoder2_loss", True)),
        (["val_iou_loss"], ("val_iou_loss", True)),
        ([], ("loss", True)),
    ],
)
def test_the_metric_for_harm_is_a_validation_loss_if_there_is_one(names: list[str], chosen: tuple[str, bool]) -> None:
    assert choose_metric(_run(final=dict.fromkeys(names, 1.0)), None)[:2] == chosen


NEAR = [(0, 4.01), *LOSSES[1:]]


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
    clean = _run(metrics={"acc": [(3, 0.5)]}, reloaded={"val_loss": 1.0})
    other = _run(losses=NEAR, metrics={"acc": [(3, 0.6)]}, reloaded={"val_loss": 1.01})
    twin = Twin(clean, metric="val_loss", repeats=[other])
    known = {"metrics": {"acc": [(3, 0.55)]}, "reloaded": {"val_loss": 1.005}}
    assert twin.same_run(_run(losses=NEAR, **{**known, **change})) is same


def test_a_best_checkpoint_is_harm_only_if_it_is_worse_than_the_clean_seeds_differ() -> None:
    clean = _run(reloaded={"val_loss": 1.0})
    seeds = [_run(final={"val_loss": value}) for value in (0.8, 1.0, 1.2)]
    twin = Twin(clean, others=seeds, metric="val_loss")
    for value, harmful in ((1.5, False), (1.7, True)):
        harm = _judge(_outcome(_run(digest="other", reloaded={"val_loss": value})), twin).harm
        assert harm == Harm("val_loss", 1.0, value, harmful)


def test_what_ended_the_process_is_told_by_what_it_was_and_when() -> None:
    (hung,) = _judge(Outcome(FAULT, timed_out=True, acting=2, seconds=9.6), mode=_mode(hangs=True)).detected_by
    assert hung == Detection("process", "deadline", 2, 0, False, "still running after its deadline of 10 s")
    (dead,) = _judge(Outcome(FAULT, exit=3, acting=2)).detected_by
    assert dead == Detection("process", "exit", 2, 0, False, "the process ended with status 3")
    late = _judge(Outcome(FAULT, timed_out=True, seconds=9.6)).reason
    assert late == "still running after its deadline of 10 s, and the fault had not acted"
    left = "the process exits with status 0 before the training is done"
    assert _judge(Outcome(FAULT, exit=0, acting=2)).reason == left
    assert _judge(_outcome(_run(end="exited", digest="other"))).reason == left


def test_a_metric_that_the_scenario_names_is_taken_as_it_says() -> None:
    assert choose_metric(_run(), MetricToWatch("val_f1", "max"))[:2] == ("val_f1", False)
    assert choose_metric(_run(), MetricToWatch("loss", "min"))[:2] == ("loss", True)


def test_no_effect_says_how_near_the_clean_run_it_was() -> None:
    near = "the run is the clean one, as near as clean runs are to each other"
    assert _judge(_outcome(_run(digest="b")), Twin(_run(), repeats=[_run(digest="c")])).reason == near
    assert _judge(_outcome(_run())).reason == "the run is the clean one, to the bit"


def test_before_anything_was_changed_there_is_no_verdict() -> None:
    found = _judge(_outcome(activations=0))
    assert found.reason == "the fault never changed a value although it applies to the target"


def test_a_detect_is_told_in_full_and_counted_from_the_first_activation() -> None:
    (found,) = _judge(_outcome(alerts=[_alert(step=3, message="the loss rose")])).detected_by
    assert found == Detection("guard", "Spike", 3, 1, True, "the loss rose")
    assert _judge(_outcome(alerts=[_alert(step=1)])).status is Status.SILENT
    (same,) = _judge(_outcome(alerts=[_alert(step=2)])).detected_by
    assert (same.step, same.latency) == (2, 0)
    (first,) = _judge(_outcome(alerts=[_alert(step=0)], first_step=None)).detected_by
    assert (first.step, first.latency) == (0, 0)
    (later,) = _judge(_outcome(alerts=[_alert(step=1)], first_step=None)).detected_by
    assert later.latency == 1


@pytest.mark.parametrize(("idle", "expected"), [(1.05, True), (2.3, False), (0.9, True)])
def test_harm_is_unknown_if_a_run_that_never_updates_ends_as_clean_runs_do(idle: float, expected: bool) -> None:
    seeds = [_run(final={"val_loss": value}) for value in (1.0, 1.1, 0.97)]
    never = _run(digest="initial", final={"val_loss": idle})
    twin = Twin(_run(), seeds, metric="val_loss", never_updated=never)
    found = blind(twin)
    assert bool(found) is expected
    harmless = _judge(_outcome(_run(digest="other", final={"val_loss": 1.06})), twin).harm
    assert harmless is not None
    assert not harmless.harmful
    assert bool(harmless.unknown) is expected, "what the metric can't show is not shown to be harmless"
    assert _judge(_outcome(_run(digest="other", final={"val_loss": 9.0})), twin).harmful, "harm is still harm"
    if found:
        assert found[0]["kind"] == "blind"
        assert "clean runs end with val_loss 0.97 to 1.1, and a run that never updates" in found[0]["what"]


def test_a_harmless_value_is_shown_with_the_least_distance_that_would_be_harm() -> None:
    seeds = [_run(final={"val_loss": value}) for value in (1.0, 1.1, 0.9)]
    harm = _judge(_outcome(_run(digest="other", final={"val_loss": 1.06})), Twin(_run(), seeds, metric="val_loss")).harm
    assert measured(harm) == "val_loss 1.06, clean 1 ± 0.3 (within the spread of clean runs)"
