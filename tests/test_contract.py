"""What every failure mode owes: it applies and acts somewhere, does what it says, repeats itself, waits its turn."""

from __future__ import annotations

import pytest

from faultlab import index
from faultlab.fault import Fault
from faultlab.results import INCONCLUSIVE, FaultResult, Status
from tests.lab import Lab, engine

ZOO = ["classifier", "regressor", "language", "adversarial"]
MODES = sorted(index.modes())
NEVER = "step=1000000000"

EFFECTS = {
    Status.NOTICED: "raises",
    Status.WARNED: "warns",
    Status.SILENT: "silent",
    Status.NO_EFFECT: "silent",
}


class Findings:
    """Every failure mode on every model of the zoo, and on its first model once more and with a trigger never met."""

    def __init__(self) -> None:
        self.results: dict[str, dict[str, FaultResult]] = {mode: {} for mode in MODES}
        self.again: dict[str, FaultResult] = {}
        self.untouched: dict[str, bool] = {}
        self.reasons: dict[str, dict[str, str]] = {}
        with engine() as working:
            for model in ZOO:
                self._study(model, Lab(working, f"tests.zoo.models.{model}"))

    def _study(self, model: str, lab: Lab) -> None:
        plan = lab.plan()
        self.reasons[model] = {Fault.parse(id).mode: reason for id, reason in plan.items()}
        applicable = {Fault.parse(id).mode: id for id, reason in plan.items() if not reason}
        new = [mode for mode in applicable if not self.results[mode]]
        for outcome in lab.run(applicable.values()).values():
            result = lab.judge(outcome)
            self.results[result.mode][model] = result
        for outcome in lab.run(applicable[mode] for mode in new).values():
            result = lab.judge(outcome)
            self.again[result.mode] = result
        for id, outcome in lab.run(f"{mode}@{NEVER}" for mode in new).items():
            result_of = outcome.result or {}
            untouched = "trajectory" in result_of and lab.is_clean(outcome)
            self.untouched[Fault.parse(id).mode] = untouched


@pytest.fixture(scope="module")
def findings() -> Findings:
    return Findings()


@pytest.mark.parametrize("mode", MODES)
def test_it_applies_and_acts_wherever_it_is_said_to(findings: Findings, mode: str) -> None:
    results = findings.results[mode]
    assert results, {model: reasons[mode] for model, reasons in findings.reasons.items()}
    for model, result in results.items():
        assert result.activations > 0, (model, result)
        assert result.status not in INCONCLUSIVE, (model, result)


@pytest.mark.parametrize("mode", MODES)
def test_it_does_on_stock_lightning_what_it_says(findings: Findings, mode: str) -> None:
    model, result = next(iter(findings.results[mode].items()))
    assert EFFECTS[result.status] == index.modes()[mode].effect, (model, result)


@pytest.mark.parametrize("mode", MODES)
def test_the_same_seed_has_the_same_effect(findings: Findings, mode: str) -> None:
    first, again = next(iter(findings.results[mode].values())), findings.again[mode]
    assert (first.status, first.activations, first.first_step) == (again.status, again.activations, again.first_step)
    assert first.harm == again.harm


@pytest.mark.parametrize("mode", MODES)
def test_a_trigger_that_is_never_met_leaves_the_clean_run_to_the_bit(findings: Findings, mode: str) -> None:
    assert findings.untouched[mode]


@pytest.mark.parametrize("model", ZOO)
def test_a_reason_is_given_for_each_mode_that_does_not_apply(findings: Findings, model: str) -> None:
    assert all(reason for mode, reason in findings.reasons[model].items() if model not in findings.results[mode])
