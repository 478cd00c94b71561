"""`faultlab prescribe` for training loops without a Trainer."""

from __future__ import annotations

import json
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional as F

from faultlab import guards
from faultlab.campaign.guard_advice import Advice
from faultlab.campaign.prescribing import Chosen, Prescription
from faultlab.cli import prescribe_command
from faultlab.config.scenario import load
from faultlab.config.variations import VARIATIONS, NotVariedError, varied
from faultlab.core.report import Report
from faultlab.errors import ScenarioError, TargetError
from faultlab.frameworks.loops.target import LoopTarget
from tests import warm
from tests.frameworks import hand_written

ROOT = Path(__file__).parents[2]
LOOP = "schema: 1\nname: loop\nframework: torch\n"
MAIN = {"class_path": "tests.frameworks.hand_written.main"}
TRAIN = f"train: {{class_path: {MAIN['class_path']}}}\n"


class NoCallback:
    """Nothing that could watch a training."""


def test_guards_of_a_loop_are_proven_written_and_printed_as_lines_to_paste(tmp_path: Path) -> None:
    file = tmp_path / "loop.yaml"
    file.write_text(LOOP + TRAIN)
    select = ["--select", "optimizer.no-zero-grad@always", "--select", "layer.unregistered@always"]
    run = ["-m", "faultlab", "prescribe", file, "--seeds", "3", "--out", tmp_path / "out", "--write", "-q", *select]
    done = warm.run(run, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 guards; added to" in done.stdout
    assert "without these guards: coverage 0.00" in done.stdout
    assert "with these guards: coverage 1.00" in done.stdout
    assert "; 0 false alarms in 6 clean runs with different seeds and in others with changed settings" in done.stdout
    printed = done.stdout[done.stdout.index("  from faultlab.guards import") :].splitlines()
    code = "\n".join(line[2:] for line in takewhile(lambda line: not line or line.startswith("  "), printed))
    assert "with watch(model, optimizer, loader=loader, validation=validation, guards=[" in code
    assert _pasted(code) == "", "every guard looks at the loop that it is pasted around"
    with pytest.raises(guards.Alarm, match="GradientsCleared"):
        _pasted(code, clears=False)
    assert [guard.class_path for guard in load(file).guards] == [
        "faultlab.guards.GradientsCleared",
        "faultlab.guards.OptimizerCoverage",
    ]
    after = json.loads((tmp_path / "out" / "loop-prescribed" / "selected" / "report.json").read_text())
    found = {fault["mode"]: (fault["status"], fault["detected_by"][0]["kind"]) for fault in after["faults"]}
    assert set(found.values()) == {("detected", "guard")}
    assert after["baseline"]["false_alarms"] == []


def _pasted(code: str, clears: bool = True) -> str:
    """Run the printed code around a loop, and return what its guards could not look at."""
    model, loader, validation = hand_written.Net(), hand_written._training(), hand_written._held_out()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def train() -> None:
        for points, labels in loader:
            if clears:
                optimizer.zero_grad()
            F.cross_entropy(model(points), labels).backward()
            optimizer.step()

    printed = code.replace("...  # the training loop", "train()")
    assert printed != code
    names: dict[str, Any] = {"model": model, "optimizer": optimizer, "loader": loader, "validation": validation}
    exec(printed, names | {"train": train, "print": lambda said: names.update(said=said)})
    return str(names["said"])


def test_the_lines_for_the_scenario_of_a_loop_name_no_metric_as_those_for_python_do_not(tmp_path: Path) -> None:
    file = tmp_path / "loop.yaml"
    file.write_text(LOOP + TRAIN)
    before = Report("loop", target={"framework": "torch"})
    falls = Chosen("LossFalls", {"metric": "val_loss", "mode": "min", "epochs": 3}, 0.01, [])
    (line,) = prescribe_command._guards(Prescription(before, Advice(), [falls]), load(file))
    assert line == {"class_path": "faultlab.guards.LossFalls", "init_args": {"epochs": 3}}
    before.versions["transformers"] = "5.24.0"
    (line,) = prescribe_command._guards(Prescription(before, Advice(), [falls]), load(file))
    assert line["init_args"]["metric"] == "val_loss", "the Trainer of transformers shows its metrics"


def test_a_guard_of_a_loop_is_built_by_its_name_and_arguments() -> None:
    guard = {"class_path": "faultlab.guards.LossContract", "init_args": {"action": "warn"}}
    built = LoopTarget({"train": MAIN, "guards": [guard, {**guard, "name": "mine"}, guard]}).build("")
    assert list(built.guards) == ["LossContract", "mine", "LossContract-2"]
    assert {one.action for one in built.guards.values()} == {"warn"}


def test_what_is_not_a_callback_can_not_guard_a_loop() -> None:
    target = LoopTarget({"train": MAIN, "guards": [{"class_path": f"{__name__}.NoCallback"}]})
    with pytest.raises(TargetError, match="'NoCallback' is not a Callback") as caught:
        target.build("")
    assert caught.value.where == ("guards", 0, "class_path")


def test_a_loop_has_no_trainer_to_set_a_flag_of(tmp_path: Path) -> None:
    file = tmp_path / "loop.yaml"
    file.write_text(LOOP + TRAIN + "guards: [{trainer_flag: {detect_anomaly: true}}]\n")
    with pytest.raises(ScenarioError, match="a training loop has no Trainer"):
        load(file)


def test_a_loop_is_varied_by_the_arguments_of_its_function() -> None:
    scenario = {"train": {**MAIN, "init_args": {"epochs": 3}}}
    assert varied(scenario, VARIATIONS["twice as long"])["train"]["init_args"]["epochs"] == 6
    with pytest.raises(NotVariedError, match="learning_rate or lr"):
        varied(scenario, VARIATIONS["half the learning rate"])
    with pytest.raises(NotVariedError, match="no Trainer"):
        varied(scenario, VARIATIONS["mixed precision"])
    assert scenario["train"]["init_args"] == {"epochs": 3}
