"""Fine-tunings with TRL, sentence-transformers and PEFT, as they are: nothing fails, and what applies acts."""

from __future__ import annotations

from pathlib import Path

import pytest

from faultlab import api, engines
from faultlab.config.scenario import Scenario, load
from faultlab.core.orders import Order, Train
from faultlab.core.report import Status

pytestmark = pytest.mark.nightly(reason="campaigns with models of transformers, which need the extra `test-hf`")
INCONCLUSIVE = {Status.ERROR, Status.NOT_ACTIVATED, Status.TIMEOUT}
SELECTED = ("batch.none", "dataset.*", "forward.*", "gradient.*", "input.*", "label.*", "layer.*", "loader.*", "loss.*",
            "metric.*", "mode.*", "optimizer.*", "scheduler.*", "step.raises", "weights.*")  # fmt: skip
FORMS = [
    ("trl", "instructed", "eval_loss", {"input_ids"}, {"labels"}),
    ("sentence_transformers", "embedded", "eval_loss", None, set()),
    # A mask of ones alone is left out by the model.
    ("peft", "adapted", "accuracy", {"input_ids"}, {"labels"}),
]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)


def scenario_of(train: str, monitor: str) -> Scenario:
    mode = "max" if monitor == "accuracy" else "min"
    Path("tuned.yaml").write_text(
        f"schema: 1\nname: tuned\nframework: torch\ntrain: {{class_path: tests.frameworks.fine_tuned.{train}}}\n"
        f"monitor: {{metric: {monitor}, mode: {mode}}}\n"
    )
    return load(Path("tuned.yaml"))


@pytest.mark.parametrize(("package", "train", "monitor", "inputs", "labels"), FORMS, ids=[one[0] for one in FORMS])
def test_what_applies_to_a_fine_tuning_acts_and_its_roles_are_right(
    package: str, train: str, monitor: str, inputs: set[str] | None, labels: set[str]
) -> None:
    pytest.importorskip(package)
    scenario = scenario_of(train, monitor)
    report = api.run(scenario, select=list(SELECTED), out=Path("out"), advice=False)
    assert report.baseline.deterministic
    applied = [fault for fault in report.faults if fault.status is not Status.NOT_APPLICABLE]
    acted = [fault for fault in applied if fault.activations]
    assert not [fault.id for fault in applied if fault.status is Status.ERROR]
    assert len(acted) >= 0.95 * len(applied), [fault.id for fault in applied if fault.status in INCONCLUSIVE]
    engine = engines.create(engines.default(), 1)
    try:
        engine.open(scenario.name, scenario.for_victims())
        (outcome,) = engine.run([Order("probe", Train(1, probe=True), root=str(Path(engine.root) / "p"), deadline=300)])
    finally:
        engine.close()
    assert outcome.run is not None
    profile = outcome.run.profile
    assert profile is not None
    assert set(profile.labels) == labels
    if inputs is not None:
        assert inputs <= set(profile.inputs)
