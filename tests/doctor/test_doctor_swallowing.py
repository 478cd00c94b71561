"""Exceptions that a training swallows are told from those that it handles, and from the doctor's own."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import torch

from faultlab.core.user_code import UserCode
from faultlab.doctor.course import Course
from faultlab.doctor.finding import ATTENTION, OK, WRONG
from faultlab.doctor.step_executed import LEARNING
from faultlab.doctor.swallowing import Swallowing
from faultlab.doctor.told import TOLD
from faultlab.engines import Engine
from tests.doctor import ill_modules


def test_a_handler_that_asks_by_an_exception_is_left_alone(tmp_path: Path, engine: Engine) -> None:
    source = ill_modules.lit(
        "def training_step(self, batch, batch_idx):\n    try:\n        scale = {}['scale']\n    except KeyError:\n"
        "        scale = 1.0\n    return scale * self.step(batch)",
        "Healthy",
    )
    found = ill_modules.findings(tmp_path, engine, "asks", source, "max_epochs: 1")
    assert [one for one in found if one.verdict != OK] == []


_SWALLOWS_BY_HAND = """
class Lit(Healthy):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False
    def training_step(self, batch, batch_idx):
        try:
            opt = self.optimizers()
            loss = self.step(batch{})
            opt.zero_grad()
            self.manual_backward(loss)
            opt.step()
            self.lr_schedulers().step()
        except (RuntimeError, ValueError):
            return None
    def configure_optimizers(self):
        opt = torch.optim.SGD(self.parameters(), 0.1)
        return [opt], [torch.optim.lr_scheduler.StepLR(opt, 2)]
"""


def test_exceptions_in_a_copy_that_the_doctor_runs_are_not_called_swallowed(tmp_path: Path, engine: Engine) -> None:
    found = ill_modules.findings(tmp_path, engine, "by-hand", _SWALLOWS_BY_HAND.format(""), "max_epochs: 2")
    assert [one for one in found if one.verdict != OK] == []


def test_a_consequence_of_a_swallowed_exception_is_called_one(tmp_path: Path, engine: Engine) -> None:
    found = ill_modules.findings(tmp_path, engine, "loses", _SWALLOWS_BY_HAND.format("[:1]"), "max_epochs: 2")
    (cause,) = [one for one in found if one.check == "swallowed exceptions"]
    assert cause.verdict == WRONG
    (schedule,) = [one for one in found if one.check == "learning rate schedule"]
    assert schedule.verdict == ATTENTION
    assert "probably a consequence of the ValueError that is swallowed in line" in schedule.what
    assert "Fix the swallowed exception first" in schedule.remedy


def test_an_exception_of_copies_and_inspections_is_not_traced(tmp_path: Path) -> None:
    (tmp_path / "asks.py").write_text(
        "def asks():\n    try:\n        raise RuntimeError('x.')\n    except Exception:\n        pass\n"
    )
    code: dict[str, Any] = {}
    file = str(tmp_path / "asks.py")
    exec(compile(Path(file).read_text(), file, "exec"), code)
    for tried, times in ((True, 0), (False, 1)):
        watch = Swallowing(UserCode(folders=(str(tmp_path),)), lambda tried=tried: tried)  # type: ignore[misc]
        with watch.watching():
            code["asks"]()
        watch.settle("training_step", 0, None)
        assert len(watch.found) == times


def test_contexts_that_let_exceptions_through_are_not_blamed(tmp_path: Path, engine: Engine) -> None:
    source = "import threading\nlock = threading.Lock()\n" + ill_modules.lit(
        "def scale(self):\n    with lock, torch.no_grad():\n        return {}['scale']\n"
        "def training_step(self, batch, batch_idx):\n    try:\n        scale = self.scale()\n"
        "    except KeyError:\n        scale = 1.0\n    return scale * self.step(batch)",
        "Healthy",
    )
    found = ill_modules.findings(tmp_path, engine, "lets-through", source, "max_epochs: 1")
    assert [one for one in found if one.verdict != OK] == []


def test_what_a_thread_hands_back_is_not_lost(tmp_path: Path, engine: Engine) -> None:
    source = "from concurrent.futures import ThreadPoolExecutor\n" + ill_modules.lit(
        "def scale(self):\n    raise KeyError('scale')\n"
        "def training_step(self, batch, batch_idx):\n    with ThreadPoolExecutor(1) as pool:\n"
        "        asked = pool.submit(self.scale)\n    try:\n        scale = asked.result()\n"
        "    except KeyError:\n        scale = 1.0\n    return scale * self.step(batch)",
        "Healthy",
    )
    found = ill_modules.findings(tmp_path, engine, "hands-back", source, "max_epochs: 1")
    assert [one for one in found if one.verdict != OK] == []


def test_what_the_doctor_fails_at_itself_is_told_as_that_and_ends_nothing() -> None:
    class Hostile(dict[str, object]):
        def __len__(self) -> int:
            raise KeyError("named_parameters")

    seen: dict[str, object] = {}
    course = Course(seen, UserCode(), contextlib.nullcontext)
    with course.step((Hostile(),)) as told:
        told(torch.nn.Linear(1, 1), torch.ones(1, requires_grad=True) * 2)
    (found,) = [one for one in TOLD.run(seen) if one.check == "skipped checks"]
    assert (found.verdict, found.what) == (
        ATTENTION,
        "the doctor could not inspect the batch, and skipped the checks that need it",
    )
    assert "KeyError" in found.evidence


def test_a_frame_of_faultlabs_own_is_never_called_the_trainings_failure() -> None:
    error = {"message": "KeyError: 'to'", "own": "train.py:3", "raised": "", "ours": True, "during": "training_step"}
    (found,) = [one for one in LEARNING.run(_seen(error=error)) if one.check == "end of the run"]
    assert found.verdict == ATTENTION
    assert "not your code" in found.what


def _seen(**more: object) -> dict[str, object]:
    step = {"kind": "method", "owner": "Lit", "place": "train.py:1", "replaced": ""}
    return {"calls": {"training_step": 1}, "outputs": {}, "step": step, "facts": {}, "batches": 1, **more}
