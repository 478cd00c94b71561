"""Trainings after public examples, and packages that train by themselves: `init`, then the whole catalogue."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest

from faultlab import api, engines
from faultlab.config.scenario import load
from faultlab.core.orders import Order, Train
from faultlab.core.report import Status
from faultlab.core.target_profile import TargetProfile
from faultlab.discovery import loops

pytestmark = pytest.mark.nightly(reason="the whole catalogue on each of seven trainings")
FOLDER = Path(__file__).parents[1] / "newcomers" / "published"


@dataclass(frozen=True)
class Published:
    """A training, the module that trains, its steps, and the roles of its batches (empty if there are no batches)."""

    name: str
    root: str
    steps: int
    inputs: set[str]
    labels: set[str]
    needs: str = "torch"


PUBLISHED = (
    Published("siamese", "Twin", 30, {"0", "1"}, {"2"}),
    Published("super_resolution", "Enlarger", 40, {"0"}, {"1"}),
    Published("sine_waves", "Forecaster", 8, set(), set()),
    Published("ignite_resumed", "Sequential", 30, {"0"}, {"1"}, "ignite"),
    Published("skorch_digits", "Classifier", 27, {"0"}, {"1"}, "skorch"),
    Published("tabnet_fitted", "TabNet", 24, {"0"}, {"1"}, "pytorch_tabnet"),
    Published("ctgan_fitted", "Discriminator", 48, set(), set(), "ctgan"),
)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("published", PUBLISHED, ids=lambda one: one.name)
def test_the_whole_catalogue_acts_on_what_nobody_wrote_for_it(
    published: Published, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec(published.needs) is None:
        pytest.skip(f"{published.needs} is not installed")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    shutil.copy(FOLDER / f"{published.name}.py", tmp_path)
    loop = loops.find(f"{published.name}.py", ())
    assert loop is not None
    tried = loops.tried(loop, 280)
    assert (tried["root"].rpartition(".")[2], tried["steps"]) == (published.root, published.steps)
    Path("mine.yaml").write_text(loops.render(loop, tried, "faultlab init"))
    report = api.run(Path("mine.yaml"), out=Path("out"), advice=False)
    assert report.baseline.deterministic
    assert report.baseline.false_alarms == []
    applied = [fault for fault in report.faults if fault.status is not Status.NOT_APPLICABLE]
    assert [fault.id for fault in applied if fault.status is Status.ERROR] == []
    idle = [f"{fault.id}: {fault.status.value}, {fault.reason}" for fault in applied if not fault.activations]
    assert len(idle) <= 0.05 * len(applied), idle
    assert len(applied) >= 60
    profile = _profile(Path("mine.yaml"))
    assert (set(profile.inputs), set(profile.labels)) == (published.inputs, published.labels)


def _profile(file: Path) -> TargetProfile:
    scenario = load(file)
    engine = engines.create(engines.default(), 1)
    try:
        engine.open(scenario.name, scenario.for_victims())
        (outcome,) = engine.run([Order("probe", Train(1, probe=True), root=str(Path(engine.root) / "p"), deadline=300)])
    finally:
        engine.close()
    assert outcome.run is not None
    assert outcome.run.profile is not None
    return outcome.run.profile
