"""Replays: the verdict is the campaign's, what the user prints is seen, and the debugger stops where it says."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from faultlab.campaign.campaign import Campaign, Options
from faultlab.campaign.replaying import Replay, fault_of, thinned
from faultlab.config.scenario import Scenario, load
from faultlab.core.report import Report, Status
from faultlab.engines import Engine, create
from faultlab.errors import UsageError
from tests import warm

ROOT = Path(__file__).parents[2]
FAULTS = ("return.none", "loss.nan@step=3", "init.zero", "loader.worker-raises",
          "process.hangs@step=2", "label.shuffled",
          "optimizer.partial-parameters")  # fmt: skip
QUICK = ("init.zero",)

MORE = pytest.mark.nightly(
    reason="more faults; the quick ring replays one of construction, and one that warns by the command"
)
_TALKATIVE = """
import pytorch_lightning as pl
from tests.broken import healthy


class Model(healthy.Model):
    def training_step(self, batch, batch_idx):
        print(f"step {self.trainer.global_step} begins")
        loss = super().training_step(batch, batch_idx)
        if loss != loss:
            raise ValueError("the loss is nan")
        return loss
"""


class _Silent:
    def __getattr__(self, name: str) -> object:
        return lambda *arguments: None


@pytest.fixture(scope="module")
def scenario(tmp_path_factory: pytest.TempPathFactory) -> Scenario:
    file = tmp_path_factory.mktemp("replayed") / "points.yaml"
    lines = [
        "schema: 1",
        "name: points",
        "build: {class_path: tests.zoo.models.classifier, init_args: {workers: 1}}",
        "trainer: {max_epochs: 2}",
        "guards: [{class_path: faultlab.guards.LossContract}]",
    ]
    file.write_text("\n".join(lines) + "\n")
    return load(file)


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    working = create("fork", 2)
    yield working
    working.close()


@pytest.fixture(scope="module")
def campaign(
    request: pytest.FixtureRequest, scenario: Scenario, engine: Engine, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Report, Path]:
    """A campaign of the faults that this session replays."""
    asked = {item.callspec.params.get("fault") for item in request.session.items if hasattr(item, "callspec")}
    select = tuple(fault for fault in FAULTS if fault in asked)
    out = tmp_path_factory.mktemp("reports")
    return Campaign(scenario, engine, Options(select=select, out=out), _Silent()).run(), out  # type: ignore[arg-type]


@pytest.mark.parametrize("fault", [pytest.param(fault, marks=() if fault in QUICK else MORE) for fault in FAULTS])
def test_a_replay_comes_to_the_campaigns_verdict(
    fault: str, scenario: Scenario, engine: Engine, campaign: tuple[Report, Path]
) -> None:
    report, out = campaign
    (judged,) = [result for result in report.faults if result.id.startswith(fault)]
    kept = (out / "points" / "selected" / "report.json").read_bytes()
    replay = Replay(scenario, engine, Options(out=out), _Silent(), fault_of(fault, scenario), echo=0)  # type: ignore[arg-type]
    replayed = replay.run()
    result = replayed.result
    assert result is not None
    assert (result.id, result.status) == (judged.id, judged.status)
    assert (result.activations, result.first_step) == (judged.activations, judged.first_step)
    assert result.detected_by[:1] == judged.detected_by[:1] or judged.detected_by[0].kind == "process"
    assert result.harm == judged.harm
    assert (out / "points" / "selected" / "report.json").read_bytes() == kept
    assert replay.folder.is_relative_to(out / "points" / "replays")
    if fault.startswith("process.hangs"):
        assert "still running at its deadline" in replayed.ended
    else:
        assert thinned(replayed)[0][1] is not None


@pytest.mark.nightly(reason="a replay of its own; the quick ring has that of a target that repeats itself")
def test_where_clean_runs_differ_the_replayed_run_is_forked_off_the_clean_one_shown_beside_it(
    tmp_path: Path, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    file = tmp_path / "strays.yaml"
    build = "build: {class_path: tests.zoo.unsettled.of_entropy}\ntrainer: {max_epochs: 2}\n"
    file.write_text(f"schema: 1\nname: strays\n{build}")
    strays = load(file)
    fault = fault_of("random.reseeded-each-step", strays)
    replay = Replay(strays, engine, Options(out=tmp_path), _Silent(), fault, echo=0)  # type: ignore[arg-type]
    replayed = replay.run()
    assert replayed.result is not None
    assert (replayed.result.status, replayed.result.reason) == (
        Status.NO_EFFECT,
        "the run is the clean one, to the bit",
    )
    assert replayed.faulted is not None
    assert replayed.clean.losses == replayed.faulted.losses


def test_the_words_for_a_fault_may_be_an_id_a_fault_or_a_glob_of_one(scenario: Scenario) -> None:
    assert str(fault_of("return.none", scenario)) == "return.none"
    assert str(fault_of("loss.nan@step=3", scenario)) == "loss.nan@step=3"
    assert fault_of("return.non*", scenario).mode == "return.none"
    with pytest.raises(UsageError, match=r"'loss\.\*' matches \d+ failure modes and a replay runs one; name one of"):
        fault_of("loss.*", scenario)
    with pytest.raises(UsageError, match=r"'return\.none'"):
        fault_of("return.nane", scenario)
    with pytest.raises(UsageError, match="faultlab mutate"):
        fault_of("pkg.model.x\u01c1Lit\u01c1forward__mutmut_3", scenario)


def test_a_failure_mode_alone_is_triggered_as_the_scenario_says(scenario: Scenario) -> None:
    faults = scenario.faults.model_copy(update={"when": {"loss.*": ["@step=5"]}})
    assert str(fault_of("loss.nan", scenario.model_copy(update={"faults": faults}))) == "loss.nan@step=5"


def _replay(folder: Path, *arguments: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    (folder / "talkative.py").write_text(_TALKATIVE)
    lines = ["schema: 1", "name: talkative", "module: {class_path: talkative.Model}",
             "data: {class_path: tests.broken.healthy.loader}", "trainer: {max_epochs: 2}"]  # fmt: skip
    (folder / "talkative.yaml").write_text("\n".join(lines) + "\n")
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    command = ["-m", "faultlab", "replay", "--scenario", "talkative.yaml", *arguments]
    return warm.run(command, cwd=folder, env=env, input=typed)


def _trained(printed: str) -> int:
    """The steps of the training itself that were heard of."""
    return printed.partition("faultlab: training finished")[0].count("begins")


def test_the_users_output_is_shown_clean_and_faulted_and_the_findings_in_words(tmp_path: Path) -> None:
    done = _replay(tmp_path, "return.none@step=3")
    assert done.returncode == 0, done.stderr
    clean, faulted = done.stdout.partition("---- with return.none@step=3")[::2]
    assert _trained(clean) == _trained(faulted) == 8, "the fault acts after the user's own check"
    assert all("faultlab: the final weights, evaluated separately: " in each for each in (clean, faulted))
    assert "< the fault acts" in faulted
    for title in (
        "It acted",
        "It ended",
        "Detected by",
        "Verdict",
        "Why it goes undetected",
        "What would have detected it",
    ):
        assert f"\n{title}\n" in faulted
    assert "1 time, first in step 3" in faulted
    assert ", in step 3, for " in faulted.partition("What would have detected it")[2]
    assert (tmp_path / "reports" / "talkative" / "replays" / "return.none@step=3" / "replay.json").is_file()
    assert not (tmp_path / "reports" / "talkative" / "report.json").exists()


def test_a_loop_whose_weights_are_not_evaluated_separately_is_not_said_to_evaluate_them(tmp_path: Path) -> None:
    train = "train: {class_path: tests.frameworks.hand_written.main}"
    (tmp_path / "loop.yaml").write_text(f"schema: 1\nname: loop\nframework: torch\n{train}\n")
    done = warm.run(["-m", "faultlab", "replay", "optimizer.no-zero-grad", "--scenario", tmp_path / "loop.yaml",
                     "--out", tmp_path / "reports"], cwd=ROOT)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "warning: The final weights are not evaluated separately" in done.stdout
    assert done.stdout.count("faultlab: training finished") == 2
    assert "faultlab: the final weights, evaluated" not in done.stdout


def test_json_is_one_document_and_the_users_output_goes_elsewhere(tmp_path: Path) -> None:
    done = _replay(tmp_path, "weights.nan@step=3", "--json")
    told = json.loads(done.stdout)
    assert told["result"]["status"] == Status.DETECTED.value
    assert told["ended"].startswith("it raised ValueError: the loss is nan after ")
    assert "step 0 begins" in done.stderr
    assert {"clean", "faulted", "signals", "advised"} <= set(told)


def test_a_fault_that_does_not_act_ends_with_status_4_and_says_why(tmp_path: Path) -> None:
    late = _replay(tmp_path, "loss.nan@step=500")
    assert late.returncode == 4
    assert "the clean run has only 8 steps" in late.stdout


def test_the_debugger_stops_in_the_step_and_after_the_fault_has_acted(tmp_path: Path) -> None:
    done = _replay(tmp_path, "return.none@step=3", "--debug", typed="p 'in', batch_idx\nc\nw\nc\n")
    assert done.returncode == 0, done.stderr
    debugged = done.stdout.partition("---- in the debugger")[2]
    first, after = debugged.partition("the fault acted for the first time, at step 3")[::2]
    assert "stopped in training_step at step 3, in which return.none@step=3 acts" in first
    assert "talkative.py(8)training_step()" in first
    assert "('in', 3)" in first
    assert "optimizer_step()" in after, "the stack leads from the Trainer to the fault"
    assert "step 7 begins" in after, "training went on"


@pytest.mark.nightly(reason="one more session in the debugger; the quick ring has one that goes on to the end")
def test_the_debugger_ends_in_the_users_frame_where_an_exception_ends_the_run(tmp_path: Path) -> None:
    done = _replay(tmp_path, "weights.nan@step=2", "--debug", typed="c\nc\np 'lost', float(loss)\nq\n")
    assert done.returncode == 0, done.stderr
    debugged = done.stdout.partition("---- in the debugger")[2]
    assert "an exception ended the run" in debugged
    assert "('lost', nan)" in debugged


@pytest.mark.nightly(reason="one more session in the debugger; the quick ring has one that goes on to the end")
def test_quitting_the_debugger_and_debugging_without_the_fault(tmp_path: Path) -> None:
    done = _replay(tmp_path, "loss.nan@step=3", "--debug", "--without-fault", typed="q\n")
    assert done.returncode == 0, done.stderr
    assert "in which the fault would act" in done.stdout
    assert "quit: the verdict above stands" in done.stdout
    assert "step 4 begins" not in done.stdout.partition("---- in the debugger")[2]


def test_without_the_fault_the_clean_run_alone_is_shown(tmp_path: Path) -> None:
    done = _replay(tmp_path, "loss.nan@step=3", "--without-fault")
    assert done.returncode == 0, done.stderr
    assert _trained(done.stdout) == 8
    assert "---- with" not in done.stdout
    assert "Verdict" not in done.stdout
