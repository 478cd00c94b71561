"""docs/report.schema.json says what report.json holds, and docs/scenario.schema.json what a scenario file may."""

from __future__ import annotations

import copy
import json
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import yaml

from faultlab import api, engines
from faultlab.campaign.campaign import Campaign, Options
from faultlab.config.scenario import Scenario, load
from faultlab.core import report
from faultlab.core.alert import Alert
from faultlab.core.detection import Detection, Prescribed
from faultlab.core.report import FaultResult, Report, Status, dump
from faultlab.errors import ScenarioError
from faultlab.report import fault_schema, schema
from tests import warm
from tests.cli.test_cli import ROOT, _faultlab
from tests.published import violations_of
from tests.report.test_published_schemas import REPORTS
from tests.support import Quiet, mutant, mutated

MORE = pytest.mark.nightly(
    reason="a campaign of its own; the quick ring has one that was run, and made-up reports of every kind"
)

REPORT = json.loads((ROOT / "docs/report.schema.json").read_text(encoding="utf-8"))
SCENARIO = json.loads((ROOT / "docs/scenario.schema.json").read_text(encoding="utf-8"))
SCENARIOS = sorted([*(ROOT / "scenarios").rglob("*.yaml"), *(ROOT / "benchmarks").rglob("scenario.yaml")])


def wrong_in(report: Report | Path) -> list[str]:
    text = dump(report.to_json()) if isinstance(report, Report) else report.read_text(encoding="utf-8")
    return violations_of(REPORT, json.loads(text))


def small(folder: Path, more: str = "") -> Scenario:
    file = folder / "scenario.yaml"
    head = "schema: 1\nname: trial\nbuild: {class_path: tests.zoo.models.classifier}\ntrainer: {max_epochs: 2}\n"
    file.write_text(head + more)
    return load(file)


@pytest.fixture(autouse=True)
def from_the_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def test_the_schemas_in_the_docs_are_fresh() -> None:
    done = _faultlab("dev", "schemas", "--check")
    assert (done.status, done.err) == (0, "")
    assert "2 schemas, all up to date" in done.out


def test_a_stale_schema_is_named_and_renewed(tmp_path: Path) -> None:
    (tmp_path / "report.schema.json").write_text("{}")
    done = _faultlab("dev", "schemas", "--check", "--into", tmp_path)
    assert done.status == 1
    assert "report.schema.json, scenario.schema.json" in done.err
    _faultlab("dev", "schemas", "--into", tmp_path)
    assert json.loads((tmp_path / "report.schema.json").read_text()) == REPORT


@pytest.mark.parametrize("found", [REPORT, SCENARIO], ids=["report", "scenario"])
def test_every_key_is_described_in_words(found: dict[str, Any]) -> None:
    objects = {name: one for name, one in {"": found, **found["$defs"]}.items() if "properties" in one}
    assert [name for name, one in objects.items() if not one.get("description")] == []
    bare = [
        f"{name}.{key}"
        for name, one in objects.items()
        for key, entry in one.get("properties", {}).items()
        # What it refers to is described, and a description that is the same is left out.
        if not entry.get("description") and "$ref" not in entry
    ]
    assert bare == []


@pytest.mark.parametrize(
    ("model", "written"),
    [
        (schema.Baseline, report.Baseline),
        (schema.Demands, report.Demands),
        (fault_schema.Fault, report.FaultResult),
        (fault_schema.Harm, report.Harm),
        (schema.Mutation, report.Mutation),
        (fault_schema.Prescription, Prescribed),
    ],
)
def test_the_schema_has_the_keys_that_a_report_is_written_with(model: Any, written: Any) -> None:
    assert list(model.model_fields) == [field.name for field in fields(written)]


def test_the_schema_has_what_is_written_of_who_detected_and_of_false_alarms() -> None:
    assert list(fault_schema.Detection.model_fields) == list(Detection("guard", "G", 1, 0, True, "said so").to_json())
    assert list(schema.FalseAlarm.model_fields) == list(Alert("guard", "G", 1, "said so").as_false_alarm())


def test_the_schema_counts_every_status() -> None:
    assert set(schema.Counts.model_fields) == {status.value for status in Status}


@pytest.mark.parametrize("made", REPORTS.values(), ids=REPORTS)
def test_made_up_reports_are_what_the_schema_says(made: Report) -> None:
    assert wrong_in(made) == []


def test_the_report_of_a_campaign_is_what_the_schema_says(tmp_path: Path) -> None:
    small(tmp_path, "guards: [{class_path: tests.zoo.guards.CriesWolf}]\ngate: {coverage: 1, false_alarms: 1}\n")
    select = ["--select=loss.nan", "--select=return.none", "--select=layer.batchnorm*", "--select=loss.negated"]
    done = _faultlab("run", tmp_path / "scenario.yaml", *select, "--out", tmp_path / "reports", "--quiet")
    assert done.status == 1
    file = tmp_path / "reports/trial/selected/report.json"
    assert wrong_in(file) == []
    report = json.loads(file.read_text())
    assert report["baseline"]["false_alarms"]
    assert {fault["status"] for fault in report["faults"]} >= {"silent", "warned"}


@MORE
def test_the_report_of_tests_and_mutants_is_what_the_schema_says(tmp_path: Path) -> None:
    project = Path(shutil.copytree(ROOT / "tests/mutated", tmp_path / "project"))
    file = project / "scenario.yaml"
    file.write_text(file.read_text().replace("paths: [slopes]", "paths: [slopes/model.py]\n  functions: ['*.forward']"))
    select = ["--select=loss.nan", "--select=return.none"]
    # From its own folder, where its `tests` are.
    done = warm.run(["-m", "faultlab", "run", "scenario.yaml", *select, "--quiet"], cwd=project)
    assert done.returncode in (0, 1), done.stderr
    written = project / "reports/slopes/selected/report.json"
    assert wrong_in(written) == []
    report = json.loads(written.read_text())
    assert report["mutants"]["judges"] == ["tests", "training"]
    assert report["mutants"]["methods"]


@MORE
def test_the_report_of_an_interrupted_campaign_is_what_the_schema_says(tmp_path: Path) -> None:
    class Impatient(Quiet):
        def judged(self, result: FaultResult) -> None:
            raise KeyboardInterrupt

    engine = engines.create("fork", 1)
    try:
        options = Options(select=("loss.nan", "loss.zeroed"), out=tmp_path)
        campaign = Campaign(small(tmp_path), engine, options, Impatient())
        report = campaign.run()
    finally:
        engine.close()
    assert campaign.interrupted
    assert not report.passed
    assert wrong_in(tmp_path / "trial/selected/report.json") == []


@MORE
def test_the_report_of_a_campaign_that_proved_nothing_is_what_the_schema_says(tmp_path: Path) -> None:
    report = api.run(small(tmp_path), select=["callback.disabled"], out=tmp_path)
    assert report.ratio is None
    assert not report.passed
    assert wrong_in(tmp_path / "trial/selected/report.json") == []


def test_what_is_not_finite_is_null_and_still_what_the_schema_says() -> None:
    made = Report("trial", faults=[FaultResult("loss.nan@always", "loss.nan", "loss", "major", Status.SILENT,
                                               harm=report.Harm("val_loss", 1.0, float("nan"), True))])  # fmt: skip
    made.baseline.metrics = {"val_loss": float("inf")}
    assert wrong_in(made) == []
    assert '"val_loss": null' in dump(made.to_json())


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("scenaro",), "a typing error"),
        (("schema",), 2),
        (("digest",), None),
        (("faults", 0, "status"), "quiet"),
        (("faults", 0, "severity"), "grave"),
        (("faults", 0, "seconds"), None),
        (("faults", 0, "activations"), "3"),
        (("faults", 0, "detected"), []),
        (("faults", 0, "mutant", "line"), 0),
        (("faults", 0, "mutant", "tests", "outcome"), "died"),
        (("coverage", "ratio"), 1.5),
        (("coverage", "modes", "lucky"), 1),
        (("baseline", "steps"), 1.5),
        (("target", "file"), None),
        (("gate", "passed"), "yes"),
        (("timing", "total"), "long"),
    ],
)
def test_a_key_that_is_misspelt_or_of_another_type_is_found_out(where: tuple[str | int, ...], value: object) -> None:
    report = mutated(mutant("silent", 3))
    report.target = {"file": "pkg/model.py"}
    document = json.loads(dump(report.to_json()))
    assert violations_of(REPORT, document) == []
    holder = document
    for key in where[:-1]:
        holder = holder[key]
    holder[where[-1]] = value
    assert len(violations_of(REPORT, document)) == 1


def test_a_key_that_is_missing_is_found_out() -> None:
    whole = json.loads(dump(mutated(mutant("silent", 3)).to_json()))
    optional = {"mutants", "target", "shard"}
    for key in whole.keys() - optional:
        document = copy.deepcopy(whole)
        del document[key]
        assert len(violations_of(REPORT, document)) == 1, key


@pytest.mark.parametrize("file", SCENARIOS, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_scenario_that_loads_is_what_its_schema_says(file: Path) -> None:
    # As editors see it: JSON has no dates.
    document = json.loads(json.dumps(yaml.safe_load(file.read_text(encoding="utf-8")), default=str))
    assert violations_of(SCENARIO, document) == []


@pytest.mark.parametrize(
    "wrong",
    ["guardz: []", "gate: {coverage: 2}", "gate: {silent: {grave: 0}}", "faults: {ignore: [{mode: loss.nan}]}",
     "module: {class_path: Lit}", "batch: {inputs: 0}", "name: ../up"],
)  # fmt: skip
def test_what_an_editor_underlines_does_not_load_either(wrong: str, tmp_path: Path) -> None:
    text = f"schema: 1\nname: trial\n{wrong}\n"
    file = tmp_path / "scenario.yaml"
    file.write_text(text if not wrong.startswith("name") else f"schema: 1\n{wrong}\n")
    assert violations_of(SCENARIO, yaml.safe_load(file.read_text())) != []
    with pytest.raises(ScenarioError):
        load(file)
