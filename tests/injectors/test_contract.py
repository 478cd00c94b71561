"""What every failure mode owes: it applies and acts somewhere, does what it says, repeats itself, waits its turn."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from faultlab.catalogue import index, measured
from faultlab.core.report import INCONCLUSIVE
from tests.findings import MODES, ZOOS, Findings, effect, whole

# The first test to ask for the findings makes hundreds of runs, in the nightly ring some three thousand.
pytestmark = pytest.mark.timeout(1200)

ROOT = Path(__file__).parents[2]
RENEW = "`python -m tests.measure lightning torch` renews faultlab/catalogue/measured.json"
EVERY = pytest.mark.nightly(reason="some three thousand runs; the quick ring has each mode once, on its first model")
AGAIN = pytest.mark.parametrize("findings", [pytest.param("every model", marks=EVERY)], indirect=True)


@pytest.fixture(scope="module", params=["first model", pytest.param("every model", marks=EVERY)])
def findings(request: pytest.FixtureRequest) -> Findings:
    return Findings(first_alone=request.param == "first model")


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
    declared = index.modes()[mode].effect.on("lightning", findings.versions["lightning"])
    assert as_declared(effect(result)) == declared, (model, result)


def as_declared(found: str) -> str:
    """The word of a declaration for a measured effect."""
    return "silent" if found == "no effect" else found


HANGING = [mode for mode in MODES if mode.startswith("distributed.") and index.modes()[mode].hangs]


@pytest.mark.parametrize("mode", HANGING)
def test_a_hang_of_ranks_names_them_their_collective_and_the_step(findings: Findings, mode: str) -> None:
    detections = findings.results[mode]["ranked"].detected_by
    hangs = [one.message for one in detections if one.name == "deadline"]
    # Where sizes differ too, gloo may abort a rank at once.
    assert hangs or "exit" in [one.name for one in detections]
    for hang in hangs:
        assert re.search(r"ranks? (\d|are) .*in [a-z_]+ \(its \d+(st|nd|rd|th) collective, in step \d+\)", hang), hang


@pytest.mark.parametrize("framework", ZOOS)
def test_each_declaration_says_what_was_measured_on_the_first_model(framework: str) -> None:
    table = measured.table(framework)
    version = table.versions[framework]
    found = {mode: as_declared(next(iter(effects.values()))) for mode, effects in table.modes.items() if effects}
    assert found == {mode: index.modes()[mode].effect.on(framework, version) for mode in found}, RENEW


@pytest.fixture(scope="module")
def loops() -> Findings:
    return Findings("torch")


@EVERY
@pytest.mark.parametrize("mode", MODES)
def test_loops_without_lightning_do_what_the_published_table_says(loops: Findings, mode: str) -> None:
    table = measured.table("torch")
    if loops.versions != table.versions:
        pytest.skip(f"the table is of {table.versions}, and this is {loops.versions}")
    assert loops.table().modes[mode] == table.modes[mode], RENEW
    if mode in loops.untouched:
        assert loops.untouched[mode], "a trigger that is never met changed the run"


@pytest.mark.parametrize("mode", MODES)
def test_stock_lightning_does_what_the_published_table_says(findings: Findings, mode: str) -> None:
    table = measured.table()
    if findings.versions != table.versions:
        pytest.skip(f"the table is of {table.versions}, and this is {findings.versions}")
    assert mode in table.modes, f"{mode} was never measured; {RENEW}"
    known = list(table.modes[mode].items())
    assert findings.table().modes[mode] == dict(known[:1] if findings.first_alone else known), RENEW


@pytest.mark.parametrize("framework", ZOOS)
def test_the_published_table_is_of_these_modes_and_models_and_of_the_versions_that_are_pinned(framework: str) -> None:
    table = measured.table(framework)
    assert sorted(table.modes) == MODES, RENEW
    assert table.models == whole(framework), RENEW
    pinned = (ROOT / "constraints.txt").read_text()
    for name, version in table.versions.items():
        assert re.search(rf"^{name}=={re.escape(version)}$", pinned, re.MULTILINE), RENEW
    assert measured.to_text(measured.tables()) == measured.FILE.read_text(encoding="utf-8"), RENEW


@AGAIN
@pytest.mark.parametrize("mode", MODES)
def test_the_same_seed_has_the_same_effect(findings: Findings, mode: str) -> None:
    first, again = next(iter(findings.results[mode].values())), findings.again[mode]
    assert (first.status, first.activations, first.first_step) == (again.status, again.activations, again.first_step)
    assert first.harm == again.harm


@AGAIN
@pytest.mark.parametrize("mode", MODES)
def test_a_trigger_that_is_never_met_leaves_the_clean_run_to_the_bit(findings: Findings, mode: str) -> None:
    assert findings.untouched[mode]


@AGAIN
@pytest.mark.parametrize("model", ZOOS["lightning"])
def test_a_reason_is_given_for_each_mode_that_does_not_apply(findings: Findings, model: str) -> None:
    assert all(reason for mode, reason in findings.reasons[model].items() if model not in findings.results[mode])
