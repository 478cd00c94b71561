"""Campaigns on targets that are hard to judge: what is known is judged, and what is not is said to be unknown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn

import faultlab
from faultlab.core.part_facts import Part
from faultlab.core.report import FaultResult, Harm, Report, Status, dump
from faultlab.core.target_profile import TargetProfile
from faultlab.frameworks.lightning import evaluation
from faultlab.frameworks.lightning.target import Built
from faultlab.frameworks.torch import replaced_parts
from faultlab.report.formats import summary
from faultlab.report.html import document
from faultlab.report.overview import cost, one_line, target_lines
from tests.published import violations_of
from tests.zoo import unsettled

MORE = pytest.mark.nightly(
    reason="a campaign of its own; the quick ring has what each of them is made of, and the gate on one"
)

ROOT = Path(__file__).parents[2]


pytestmark = pytest.mark.usefixtures("from_the_root")


def _run(folder: Path, factory: str, *select: str, more: str = "") -> Report:
    file = folder / "scenario.yaml"
    build = f"build: {{class_path: tests.zoo.unsettled.of_{factory}}}\n"
    trainer = "" if "trainer:" in more else "trainer: {max_epochs: 2}\n"
    file.write_text(f"schema: 1\nname: trial\n{build}{trainer}{more}")
    return faultlab.run(file, select=select, out=folder, advice=False)


def _faults(report: Report) -> dict[str, FaultResult]:
    return {fault.mode: fault for fault in report.faults}


def _harm(report: Report, mode: str) -> Harm:
    harm = _faults(report)[mode].harm
    assert harm is not None
    return harm


def _violations(report: Report) -> list[str]:
    schema = json.loads((ROOT / "docs/report.schema.json").read_text(encoding="utf-8"))
    return violations_of(schema, json.loads(dump(report.to_json())))


@MORE
def test_of_a_target_with_data_of_the_systems_entropy_forks_are_judged_to_the_bit(tmp_path: Path) -> None:
    report = _run(tmp_path, "entropy", "gradient.negated", "random.reseeded-each-step", "random.unseeded",
                  more="trainer: {max_epochs: 6}\n")  # fmt: skip
    faults = _faults(report)
    assert not report.baseline.deterministic
    assert (faults["gradient.negated"].status, faults["gradient.negated"].harmful) == (Status.SILENT, True)
    same = faults["random.reseeded-each-step"]
    assert (same.status, same.reason) == (Status.NO_EFFECT, "the run is the clean one, to the bit")
    # It is forked off nothing, so that its data are others than those of any clean run.
    assert "to the bit" not in faults["random.unseeded"].reason
    assert not any(reason.proves_nothing for reason in report.reasons)


@pytest.mark.nightly(reason="a campaign of its own for one line of a report")
def test_a_target_whose_weights_can_not_be_evaluated_by_themselves_is_named_in_report_and_page(tmp_path: Path) -> None:
    file = tmp_path / "scenario.yaml"
    build = "build: {class_path: tests.zoo.equipped.fit_only, init_args: {insists: true}}\n"
    file.write_text(f"schema: 1\nname: trial\n{build}trainer: {{max_epochs: 2}}\n")
    report = faultlab.run(file, select=["loss.zeroed"], out=tmp_path, advice=False)
    (found,) = report.baseline.findings
    assert found["kind"] == "unevaluated"
    assert "ValueError: no such stage" in found["what"]
    assert _violations(report) == []
    document.write_alone(report, tmp_path / "page.html")
    assert "which a fault may falsify" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_target_that_is_not_deterministic_is_named_first_with_the_cause_and_by_the_gate(tmp_path: Path) -> None:
    report = _run(tmp_path, "entropy", "loss.zeroed", more="gate: {coverage: 0.0}\n")
    (found,) = report.baseline.findings
    assert found["kind"] == "nondeterministic"
    assert "from the first training batch on" in found["what"]
    assert "unsettled.py:" in found["evidence"]
    assert "in _loaders" in found["evidence"]
    assert "seed" in found["remedy"]
    assert report.gate == "gate passed, by a target that is not deterministic"
    assert report.gate in one_line(report)
    (line,) = target_lines(report.baseline.findings)
    assert line.startswith("The target is not deterministic: two clean runs of one seed differ")
    assert _violations(report) == []
    page = document.write(report, tmp_path).read_text(encoding="utf-8")
    for text in (page, summary.render(report)):
        assert 0 < text.index("The target is not deterministic") < text.index(report.faults[0].id)


@MORE
def test_a_loss_that_the_broken_activation_computes_is_no_proof_of_no_harm(tmp_path: Path) -> None:
    report = _run(
        tmp_path, "log_likelihood", "layer.activation-changed", "layer.activation-removed", "gradient.negated"
    )
    for mode in ("layer.activation-changed", "layer.activation-removed"):
        harm = _harm(report, mode)
        assert (harm.harmful, harm.unknown) == (False, "val_loss is computed by what the fault has changed"), mode
        assert cost(_faults(report)[mode]).startswith("harm unknown: val_loss is computed by")
    assert _harm(report, "gradient.negated").harmful
    assert "the harm of 2 unknown" in one_line(report)
    assert _violations(report) == []


@MORE
def test_an_activation_inside_of_the_loss_is_put_back_before_the_weights_are_evaluated(tmp_path: Path) -> None:
    report = _run(tmp_path, "loss_module", "layer.activation-changed", more="trainer: {max_epochs: 20}\n")
    harm = _harm(report, "layer.activation-changed")
    assert harm.clean == pytest.approx(report.baseline.metrics["val_loss"])
    assert harm.clean is not None
    assert harm.faulty is not None
    # With the broken activation the loss of the same weights is half of the clean run's.
    assert (harm.faulty > harm.clean, harm.unknown) == (True, "")


def test_what_ends_the_network_is_put_back_and_what_lies_within_it_stays() -> None:
    module = unsettled.WithLossModule(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2), nn.Tanh()))
    called = ["net.0", "net.1", "net.2", "net.3", "criterion.squash"]
    profile = TargetProfile(parts={path: Part("linear" if path[-1] in "02" else "other", width=2 * (path[-1] in "02"))
                         for path in called})  # fmt: skip
    replaced: dict[str, nn.Module] = {path: module.get_submodule(path) for path in called if path[-1] not in "02"}
    found = replaced_parts.at_the_end(module, replaced, profile)
    assert list(found) == ["net.3", "criterion.squash"]
    module.net[3], module.criterion.squash = nn.Identity(), nn.Identity()
    assert replaced_parts.put_back(module, found)
    assert [type(module.get_submodule(path)).__name__ for path in found] == ["Tanh", "Sigmoid"]


def test_what_belongs_to_a_loss_is_known_by_the_names_above_it() -> None:
    module = unsettled.WithLossModule(nn.Sequential(nn.Linear(4, 2), nn.Tanh()))
    assert replaced_parts.inside_of_a_loss(module, "criterion.squash")
    module.glossary = nn.Sequential(nn.Tanh())
    assert not any(replaced_parts.inside_of_a_loss(module, path) for path in ("net.1", "glossary.0"))


def test_a_last_layer_whose_weights_were_not_trained_is_not_put_back() -> None:
    module = unsettled.Classifier(nn.Sequential(nn.Linear(4, 2)))
    last = module.net[0]
    parts = replaced_parts.at_the_end(module, {"net.0": last}, TargetProfile(parts={"net.0": Part("linear", width=2)}))
    module.net[0] = nn.Identity()
    assert list(parts) == ["net.0"]
    assert not replaced_parts.put_back(module, parts)
    assert isinstance(module.net[0], nn.Identity)


def test_a_metric_forgets_what_it_gathered_under_the_fault_and_nothing_else_is_reset(tmp_path: Path) -> None:
    class Normaliser(nn.Module):
        update = compute = lambda self: None

        def reset(self) -> None:
            raise AssertionError("it is none of torchmetrics' and keeps what it has learnt")

    module, (_, validation) = unsettled.of_score()
    module.normaliser = Normaliser()
    built = Built(module, pl.Trainer, {"default_root_dir": str(tmp_path)}, {"val_dataloaders": validation})
    alone = evaluation.evaluate(built, True, {})
    module.hits.update(torch.zeros(640, dtype=torch.long), torch.ones(640, dtype=torch.long))
    assert evaluation.evaluate(built, True, {}) == alone


def test_weights_are_carried_into_a_module_that_is_built_anew_where_they_fit() -> None:
    broken, fresh = nn.Linear(2, 1), nn.Linear(2, 1)
    assert replaced_parts.rebuilt(broken, lambda: fresh) is fresh
    assert torch.equal(broken.weight, fresh.weight)
    assert replaced_parts.rebuilt(broken, lambda: nn.Linear(3, 1)) is broken


def test_an_evaluation_that_fails_leaves_the_harm_unknown(tmp_path: Path) -> None:
    report = _run(tmp_path, "particular", "gradient.exploding@step=15")
    (fault,) = report.faults
    assert fault.status is Status.SILENT
    assert not fault.harmful
    assert "the weights could not be evaluated: ValueError: these weights can't be used" in fault.harm_unknown


def test_a_clean_seed_that_diverges_is_a_finding_and_hides_no_harm(tmp_path: Path) -> None:
    report = _run(tmp_path, "one_wild_seed", "gradient.negated")
    found, short = report.baseline.findings
    assert (found["kind"], short["kind"]) == ("outlier", "blind")
    assert "clean runs end with val_loss 0.5" in short["what"], "the spread is that of the others"
    assert "seed 2 ends with val_loss" in found["what"]
    assert _harm(report, "gradient.negated").harmful


@MORE
def test_without_a_seed_a_network_that_is_passed_in_has_other_weights(tmp_path: Path) -> None:
    (fault,) = _run(tmp_path, "passed_in", "random.unseeded").faults
    assert fault.status is Status.SILENT
    assert fault.harm is not None
    assert fault.harm.clean != fault.harm.faulty


@MORE
def test_torchmetrics_says_which_way_its_metric_gets_better(tmp_path: Path) -> None:
    report = _run(tmp_path, "score", "gradient.negated", more="trainer: {max_epochs: 12}\n")
    assert report.baseline.measure["metric"] == "val_x"
    assert report.baseline.measure["better"] == "higher"
    assert "BinaryAccuracy says max" in report.baseline.measure["why"]
    assert _harm(report, "gradient.negated").harmful


@MORE
def test_a_callback_that_is_told_the_contrary_makes_the_direction_unknown(tmp_path: Path) -> None:
    stopping = "{class_path: pytorch_lightning.callbacks.EarlyStopping, init_args: {monitor: val_x, patience: 9}}"
    report = _run(tmp_path, "score", "loss.zeroed", more=f"guards:\n  - {stopping}\n")
    assert report.baseline.measure["better"] == "unknown"
    assert [found["kind"] for found in report.baseline.findings] == ["direction"]
