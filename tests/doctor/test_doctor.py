"""The doctor on modules with one thing wrong each: every cause is diagnosed by its name, and nothing else is."""

from __future__ import annotations

from pathlib import Path

import pytest

from faultlab.doctor.examination import examine
from faultlab.doctor.finding import OK, WRONG
from faultlab.doctor.step_not_executed import CAUSES
from faultlab.engines import Engine
from tests.doctor import ill_modules

# Of each cause the first is quick.
_FIRST = {ill.check: ill.name for ill in reversed(ill_modules.ILL)}
_MORE = pytest.mark.nightly(reason="more trainings that are ill of a cause; the quick ring has one of each cause")
_ALL = [pytest.param(ill, id=ill.name, marks=() if _FIRST[ill.check] == ill.name else _MORE) for ill in ill_modules.ILL]


@pytest.mark.parametrize("ill", _ALL)
def test_every_cause_is_diagnosed_by_its_name(ill: ill_modules.Ill, tmp_path: Path, engine: Engine) -> None:
    found = ill_modules.findings(tmp_path, engine, ill.name, ill.source, ill.trainer)
    told = [one for one in found if one.check == ill.check and one.verdict == ill.verdict and ill.said in one.what]
    assert told, [one for one in found if one.verdict != OK]
    assert told[0].remedy
    assert told[0].evidence
    causes = {check.name for check in CAUSES.known}
    assert {one.check for one in found if one.verdict == WRONG and one.check in causes} <= {ill.check}, "and no other"


def test_a_healthy_module_has_no_findings(tmp_path: Path, engine: Engine) -> None:
    found = ill_modules.findings(tmp_path, engine, "healthy", ill_modules.lit("pass"), "max_epochs: 2")
    assert [one for one in found if one.verdict != OK] == []
    said = {one.check: one.what for one in found}
    assert "called 8 times for 8 batches" in said["executed"]
    assert "it is deterministic" in said["clean run"]


def test_a_validation_that_takes_the_training_step_is_no_training_without_gradients(
    tmp_path: Path, engine: Engine
) -> None:
    source = """
class Lit(Trained):
    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.training_step(batch, batch_idx))
    def val_dataloader(self):
        return DataLoader(points(8), batch_size=4)
"""
    found = ill_modules.findings(tmp_path, engine, "shared-step", source, "max_epochs: 2")
    assert [one for one in found if one.verdict != OK] == []
    assert "called 8 times for 8 batches" in {one.check: one.what for one in found}["executed"]


def test_remedies_are_of_what_was_seen(tmp_path: Path, engine: Engine) -> None:
    told = {ill.name: ill for ill in ill_modules.ILL}
    for name, said in {
        "keys-for-parts": "batch['x'], batch['y']",
        "gradients-lost": "Check your on_after_backward",
        "swallows-in-a-sampler": "IndexError is raised in line",
    }.items():
        ill = told[name]
        found = ill_modules.findings(tmp_path, engine, ill.name, ill.source, ill.trainer)
        assert any(said in one.remedy for one in found if one.check == ill.check), name


def test_what_draws_by_itself_is_named_with_its_line(tmp_path: Path, engine: Engine) -> None:
    evidence = {}
    for ill in [one for one in ill_modules.ILL if one.check == "deterministic"]:
        found = ill_modules.findings(tmp_path, engine, ill.name, ill.source, ill.trainer)
        (told,) = [one for one in found if one.check == "deterministic"]
        evidence[ill.name] = told.evidence
    assert "a generator of numpy.random without a seed, drawn at" in evidence["unseeded"]
    assert "ill_unseeded.py:" in evidence["unseeded"]
    assert "in training_step" in evidence["unseeded"]
    assert "torch.Generator.seed(), drawn at" in evidence["own-generator"]
    assert "torch.manual_seed(" in evidence["clocked"]
    assert "in the next run" in evidence["clocked"]


def test_lightnings_own_example_has_no_findings(engine: Engine) -> None:
    found = list(examine("pytorch_lightning.demos.boring_classes.BoringModel", 60.0, engine=engine))
    assert [one for one in found if one.verdict != OK] == []


def test_the_place_of_a_hang_is_named(tmp_path: Path, engine: Engine) -> None:
    (ill,) = [one for one in ill_modules.ILL if one.name == "hangs"]
    found = ill_modules.findings(tmp_path, engine, ill.name, ill.source, ill.trainer)
    (told,) = [one for one in found if one.verdict == WRONG]
    assert "ill_hangs.py:" in told.evidence
    assert "in training_step" in told.evidence
