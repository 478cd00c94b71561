"""The doctor on training loops without a Trainer: the cause of an ill one is named first, healthy ones are well."""

from __future__ import annotations

from pathlib import Path

import pytest

from faultlab.doctor.examination import examine
from faultlab.doctor.finding import OK, Finding
from faultlab.engines import Engine
from tests.patients import healthy_loops, loop_scripts
from tests.patients.loop_scripts import Ill
from tests.patients.loops import ILL

_QUICK = ("no-zero-grad", "no-step", "exception-swallowed", "schedule-per-batch", "target-broadcast")
_FORMS = {name: getattr(loop_scripts, name) for name in ("CLASSIFIER", "PLAIN", "REGRESSION", "BINARY", "IMAGES")}
_HEALTHY = {**_FORMS, **healthy_loops.HEALTHY}
_NIGHTLY = pytest.mark.nightly(reason="some of them run quick; each takes a training or several")


def _cases(names: list[str], quick: tuple[str, ...]) -> list[object]:
    return [pytest.param(name, marks=[] if name in quick else [_NIGHTLY]) for name in names]


def examined(folder: Path, text: str, engine: Engine, function: str = "") -> list[Finding]:
    script = folder / "train.py"
    script.write_text(text)
    return list(examine(f"{script}{function}", 60, engine=engine))


@pytest.mark.parametrize("name", _cases([one.name for one in ILL], _QUICK))
def test_the_cause_of_an_ill_loop_is_named_first_with_its_remedy(name: str, tmp_path: Path, engine: Engine) -> None:
    ill: Ill = next(one for one in ILL if one.name == name)
    found = examined(tmp_path, ill.text(), engine)
    assert ill.named_first(found), [one for one in found if one.verdict != OK]


@pytest.mark.parametrize("name", _cases([*_HEALTHY], ("CLASSIFIER", "accumulation", "gan")))
def test_a_healthy_loop_is_well(name: str, tmp_path: Path, engine: Engine) -> None:
    assert [one for one in examined(tmp_path, _HEALTHY[name], engine) if one.verdict != OK] == []


def test_the_loop_of_a_scenario_or_a_function_is_examined_too(tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "loop.yaml").write_text(
        "schema: 1\nname: loop\nframework: torch\ntrain: {class_path: tests.frameworks.hand_written.main}\n"
        "evaluate: {class_path: tests.frameworks.hand_written.evaluate}\n"
    )
    found = list(examine(str(tmp_path / "loop.yaml"), 60, engine=engine))
    assert [one for one in found if one.verdict != OK] == []
    assert any("20 backward passes" in one.what for one in found)


def test_a_function_of_a_script_is_examined(tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ill = next(one for one in ILL if one.name == "labels-shifted")
    (tmp_path / "train.py").write_text(ill.text())
    found = list(examine("train.py:main", 60, engine=engine))
    assert ill.named_first(found)


def test_a_training_longer_than_half_of_the_time_limit_is_judged_by_what_it_has_shown(
    tmp_path: Path, engine: Engine
) -> None:
    endless = loop_scripts.CLASSIFIER.replace("range(4)", "range(10**9)").replace("    scheduler.step()\n", "")
    script = tmp_path / "train.py"
    script.write_text(endless.replace("        optimizer.zero_grad()\n", ""))
    found = list(examine(str(script), 8, engine=engine))
    (run,) = (one for one in found if one.check == "clean run")
    assert "the doctor stopped there" in run.what
    assert any("never cleared" in one.what for one in found)


@pytest.mark.parametrize(
    ("healthy", "ill", "cause"),
    [
        ("nn.Linear(32, 3)", "nn.Linear(32, 2)", "the labels are 0, 1 and 2, but the last layer has 2 outputs"),
        ("for x, y in loader", "for x, y, z in loader", "unpacks three parts"),
        ("        loss.backward()", "        raise ValueError('mine')", "the exception is ValueError: mine"),
    ],
)
def test_an_exception_is_explained_by_what_the_loop_got(
    healthy: str, ill: str, cause: str, tmp_path: Path, engine: Engine
) -> None:
    found = examined(tmp_path, loop_scripts.CLASSIFIER.replace(healthy, ill, 1), engine)
    (first, *_) = (one for one in found if one.verdict != OK)
    assert cause in first.what
    assert "train.py:" in first.evidence


def test_a_script_that_trains_nothing_is_reported(tmp_path: Path, engine: Engine) -> None:
    found = examined(tmp_path, "import torch\nloss = 1\nif loss == 2:\n    loss.backward()\n", engine)
    assert "nothing is trained" in next(one.what for one in found if one.verdict != OK)
