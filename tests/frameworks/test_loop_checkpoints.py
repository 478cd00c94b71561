"""The checkpoints of training loops written by hand: what they save, and what is loaded of it."""

from __future__ import annotations

from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import torch

from faultlab import api
from faultlab.config import target_check
from faultlab.config.scenario import load
from faultlab.core.patching import Patches
from faultlab.core.report import Report, Status
from faultlab.errors import ScenarioError
from faultlab.frameworks.loops.advising import Advising
from faultlab.frameworks.loops.checkpoints import Checkpoints, optimizers_in, put, weights_in
from faultlab.injection.values import Restored
from faultlab.report.overview import cost
from tests.frameworks import hand_written


def campaign(tmp_path: Path, train: str, select: str, **keys: str) -> Report:
    given = {
        "train": f"{{class_path: tests.frameworks.hand_written.{train}}}",
        "evaluate": "{class_path: tests.frameworks.hand_written.evaluate}",
        "monitor": "{metric: val_loss, mode: min}",
        **keys,
    }
    lines = ["schema: 1", f"name: {train}", "framework: torch", *(f"{key}: {text}" for key, text in given.items())]
    (tmp_path / "loop.yaml").write_text("\n".join(lines))
    return api.run(load(tmp_path / "loop.yaml"), select=select.split(), out=tmp_path / "out", advice=False)


def test_a_training_that_continues_shows_what_is_wrong_with_its_checkpoints(tmp_path: Path) -> None:
    report = campaign(tmp_path, "continuing", "checkpoint.* process.disk-full", resume="{}")
    assert report.reasons == []
    found = {fault.mode.partition(".")[2]: fault for fault in report.faults}
    applied = {mode: fault.status.value for mode, fault in found.items() if fault.status is not Status.NOT_APPLICABLE}
    assert applied == {
        "bit-flip": "silent",
        "buffers-missing": "silent",
        "disk-full": "detected",
        "head-missing": "silent",
        "layer-missing": "silent",
        "non-strict": "silent",
        "not-saved": "detected",
        "optimizer-emptied": "silent",
        "optimizer-missing": "detected",
        "partial-write": "detected",
        "reinitialised-after-load": "silent",
        "resume-ignored": "silent",
        "scrambled": "detected",
        "stale": "silent",
        "truncated": "detected",
    }
    assert {mode for mode in ("bit-flip", "non-strict", "stale") if not found[mode].harm.harmful} == set()
    assert not Path("kept").exists()


@pytest.mark.nightly(reason="a campaign of its own; the quick ring has a training that continues")
def test_without_a_training_that_continues_the_last_weights_are_loaded_and_evaluated(tmp_path: Path) -> None:
    report = campaign(tmp_path, "keeping", "checkpoint.*")
    assert report.reasons == []
    found = {fault.mode.partition(".")[2]: fault for fault in report.faults}
    # The training never loads what it saves, so none of its parts has detected that.
    for mode in ("not-saved", "truncated", "scrambled", "partial-write"):
        assert (found[mode].status, found[mode].detected_by, found[mode].harmful) == (Status.SILENT, [], True), mode
    assert "the checkpoint can't be used: FileNotFoundError" in cost(found["not-saved"])
    assert found["disk-full"].status is Status.DETECTED
    assert (found["stale"].status, found["stale"].harm.harmful) == (Status.SILENT, True)
    assert (found["bit-flip"].status, found["bit-flip"].harm.harmful) == (Status.SILENT, True)
    assert found["optimizer-missing"].reason == "the training saves no state of an optimizer"
    assert found["non-strict"].reason == found["resume-ignored"].reason
    assert "does not name how the training continues" in found["resume-ignored"].reason


def test_a_loop_that_saves_nothing_has_no_checkpoints_to_break(tmp_path: Path) -> None:
    report = campaign(tmp_path, "main", "checkpoint.truncated loss.nan")
    found = {fault.mode: fault.reason for fault in report.faults}
    assert found["checkpoint.truncated"] == "the training saves no checkpoint with torch.save or safetensors"


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"resume": "{init_args: {resum: true}}"}, "unexpected keyword argument 'resum'"),
        ({"resume": "{class_path: a.b}"}, "class_path"),
    ],
)
def test_a_wrong_resume_is_refused(keys: dict[str, str], message: str, tmp_path: Path) -> None:
    lines = "schema: 1\nname: loop\nframework: torch\ntrain: {class_path: scenarios.digits.loop.train}\n"
    (tmp_path / "loop.yaml").write_text(lines + "".join(f"{key}: {text}\n" for key, text in keys.items()))
    try:
        found = [problem.message for problem in target_check.check(load(tmp_path / "loop.yaml"))]
    except ScenarioError as error:
        found = [problem.message for problem in error.problems]
    assert message in "".join(found)


def net() -> hand_written.Net:
    return hand_written.Net()


def layouts() -> dict[str, Any]:
    module = net()
    optimizer = torch.optim.Adam(module.parameters()).state_dict()
    state = module.state_dict()
    return {
        "bare": state,
        "nested": {"model": state, "epoch": 1},
        "deep": {"states": {"net": state}, "optimizers": [optimizer, optimizer]},
        "wrapped": {"module": OrderedDict((f"module.{name}", value) for name, value in state.items())},
        "whole": module,
        "with whole": {"model": module, "optimizer": optimizer},
    }


@pytest.mark.parametrize(
    ("layout", "weights", "optimizers"),
    [
        ("bare", [()], []),
        ("nested", [("model",)], []),
        ("deep", [("states", "net")], [("optimizers", 0), ("optimizers", 1)]),
        ("wrapped", [("module",)], []),
        ("whole", [()], []),
        ("with whole", [("model",)], [("optimizer",)]),
    ],
)
def test_the_states_in_a_checkpoint_are_found_in_any_layout(layout: str, weights: Any, optimizers: Any) -> None:
    saved = layouts()[layout]
    assert [path for path, _ in weights_in(saved, [net()])] == weights
    assert [path for path, _ in optimizers_in(saved)] == optimizers


@pytest.mark.parametrize("layout", ["bare", "nested", "deep", "whole", "with whole"])
def test_weights_are_exchanged_without_a_change_of_what_was_to_be_saved(layout: str) -> None:
    saved = layouts()[layout]
    ((path, state),) = weights_in(saved, [net()])
    before = {name: value.clone() for name, value in state.items()}
    new = put(saved, path, {name: torch.zeros_like(value) for name, value in state.items()})
    ((_, after),) = weights_in(new, [net()])
    assert not any(value.any() for value in after.values())
    ((_, kept),) = weights_in(saved, [net()])
    assert all(torch.equal(kept[name], value) for name, value in before.items())


def test_something_else_with_tensors_is_not_a_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(lambda: [net()], lambda: 0)
    with Patches() as patches:
        checkpoints.attach(patches)
        torch.save({"predictions": torch.zeros(3)}, tmp_path / "predictions.pt")
    assert (list(checkpoints.files), checkpoints.kinds, checkpoints.saved_at) == ([], set(), set())


def test_weights_that_are_copied_between_modules_in_memory_are_not_loaded_from_a_checkpoint() -> None:
    online, target = net(), net()
    checkpoints = Checkpoints(lambda: [online], lambda: 0)
    seen: list[Restored] = []
    checkpoints.weight_maps.append(lambda restored: seen.append(restored) or restored)  # type: ignore[func-returns-value]
    with Patches() as patches:
        checkpoints.attach(patches)
        target.load_state_dict(online.state_dict())
        assert seen == []
        target.load_state_dict({name: value.clone() for name, value in online.state_dict().items()})
    assert len(seen) == 1


def test_of_several_files_the_one_with_the_first_modules_weights_is_loaded(tmp_path: Path) -> None:
    first, second = net(), torch.nn.Linear(3, 3)
    checkpoints = Checkpoints(lambda: [first, second], lambda: 0)
    wrapped = {f"module.{name}": value for name, value in first.state_dict().items()}
    with Patches() as patches:
        checkpoints.attach(patches)
        torch.save({"net": wrapped}, tmp_path / "first.pt")
        torch.save(second.state_dict(), tmp_path / "second.pt")
    assert Path(checkpoints.best()).name == "first.pt"
    fresh = net()
    checkpoints.load_into(fresh, checkpoints.best())
    assert all(torch.equal(one, other) for one, other in zip(fresh.parameters(), first.parameters()))


def test_the_best_checkpoint_is_known_by_its_name(tmp_path: Path) -> None:
    module = net()
    checkpoints = Checkpoints(lambda: [module], lambda: 3)
    with Patches() as patches:
        checkpoints.attach(patches)
        for name in ("best-model.pt", "last.pt"):
            torch.save(module.state_dict(), tmp_path / name)
    assert Path(checkpoints.best()).name == "best-model.pt"
    assert Path(list(checkpoints.files)[-1]).name == "last.pt"
    assert checkpoints.saved_at == {3}


def test_guards_beside_a_training_that_continues_know_what_it_has_behind_it() -> None:
    seen: list[tuple[int, int]] = []
    started = {"on_train_start": lambda loop, module: seen.append((loop.global_step, loop.current_epoch))}
    module = net()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    for behind in ((), (8, 1)):
        advising = Advising(started, batches=False)
        advising.begin([module], [optimizer], *behind)
        module(torch.randn(4, 4)).sum().backward()
        optimizer.step()
        advising.end(None)
    assert seen == [(0, 0), (8, 1)]
