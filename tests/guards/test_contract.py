"""The contract of every ready-made guard."""

from __future__ import annotations

import inspect
import pickle
import random
import re
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy
import pytest
import pytorch_lightning as pl
import torch

from faultlab import guards
from faultlab.guards import Alarm, Guard, GuardSet, GuardWarning
from faultlab.guards.known_profile import combine
from faultlab.guards.known_sensor import Sensor
from faultlab.guards.support import trials
from faultlab.guards.support.callback import HOOKS, overrides
from tests import warm
from tests.guards.rig import QUIET, Healthy, fit, loaders
from tests.zoo import models

GUARDS = guards.classes()
TARGETS = {
    "classifier": models.classifier,
    "regressor": models.regressor,
    "language": models.language,
    "adversarial": models.adversarial,
}
EVERY = pytest.mark.nightly(reason="every guard on every target; the quick ring has one target a guard")
ALONE = pytest.mark.nightly(reason="each guard alone; the quick ring has all of them together")
FRESH = pytest.mark.nightly(reason="begins with nothing imported; the quick ring has the other package")
# The guards take the targets in turn, so that none depends on its place in the list of another.
LOOKING = [
    pytest.param(cls, target, id=f"{cls.__name__}-{target}", marks=() if number % len(TARGETS) == place else EVERY)
    for number, cls in enumerate(GUARDS)
    for place, target in enumerate(TARGETS)
]


def course(target: Any, callbacks: Any, epochs: int = 2) -> dict[str, Any]:
    """Return everything that a guard must not change: parameters, metrics, modes and random states after a training."""
    torch.manual_seed(0), random.seed(0), numpy.random.seed(0)  # type: ignore[func-returns-value]
    module, data = target()
    trainer = fit(callbacks, module, *data if isinstance(data, tuple) else (data,), max_epochs=epochs)
    return {
        "state": {name: value.clone() for name, value in module.state_dict().items()},
        "gradients": [None if p.grad is None else p.grad.clone() for p in module.parameters()],
        "modes": [part.training for part in module.modules()],
        "hooks": [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in module.modules()],
        "metrics": {name: float(value) for name, value in trainer.callback_metrics.items()},
        "random": [torch.get_rng_state(), random.getstate(), str(numpy.random.get_state())],
        "steps": trainer.global_step,
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def made(cls: type[Guard], **arguments: Any) -> Guard:
    return cls(**cls.arguments("val_loss", "min"), **arguments)


@pytest.fixture(scope="module")
def bare() -> dict[str, dict[str, Any]]:
    """Return the course of each target without guards, after a first one for what happens once in a process."""
    for target in TARGETS.values():
        course(target, [])
    return {name: course(target, []) for name, target in TARGETS.items()}


def test_every_guard_in_the_package_is_offered() -> None:
    folder = Path(guards.__file__).parent
    defined = {
        name for file in folder.glob("*.py") for name in re.findall(r"^class (\w+)\(Guard\)", file.read_text(), re.M)
    }
    assert defined == {cls.__name__ for cls in GUARDS}


@pytest.mark.parametrize("cls", GUARDS, ids=lambda cls: cls.__name__)
def test_a_guard_declares_its_purpose_its_checks_and_its_cost(cls: type[Guard]) -> None:
    assert cls.__doc__
    assert cls.checks
    assert cls.level in guards.LEVELS
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", check) for check in cls.checks)
    assert any(overrides(made(cls), hook) for hook in HOOKS if hook != "setup")


@pytest.mark.parametrize("name", sorted({*guards.__all__} - {"GuardWarning"}))
def test_what_the_package_offers_documents_its_arguments(name: str) -> None:
    offered = getattr(guards, name)
    section = (inspect.getdoc(offered) or "").partition("\n\nArgs:\n")[2].partition("\n\n")[0]
    assert re.findall(r"^    (\w+): ", section, re.M) == list(inspect.signature(offered).parameters)


@pytest.mark.parametrize(("cls", "target"), LOOKING)
def test_a_guard_only_looks(cls: type[Guard], target: str, bare: dict[str, dict[str, Any]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        watched = course(TARGETS[target], [made(cls, action="warn")])
    unlike = [part for part, value in bare[target].items() if not same(value, watched[part])]
    assert not unlike


@pytest.mark.parametrize("target", TARGETS)
def test_all_guards_together_only_look(target: str, bare: dict[str, dict[str, Any]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        watched = course(TARGETS[target], guards.all("full", action="warn"))
    unlike = [part for part, value in bare[target].items() if not same(value, watched[part])]
    assert not unlike


@pytest.mark.parametrize("cls", GUARDS, ids=lambda cls: cls.__name__)
def test_a_guard_is_quiet_on_a_healthy_training(cls: type[Guard]) -> None:
    fit(made(cls))


@pytest.mark.parametrize(
    "cls", [*[pytest.param(cls, id=cls.__name__, marks=ALONE) for cls in GUARDS], pytest.param(None, id="all")]
)
def test_a_guard_can_be_pickled_for_other_processes(cls: type[Guard] | None) -> None:
    asked = guards.all("full", monitor="val_loss", mode="min") if cls is None else GuardSet([made(cls)])
    again = pickle.loads(pickle.dumps(asked))
    fit(again)


@pytest.mark.parametrize("cls", GUARDS, ids=lambda cls: cls.__name__)
def test_a_guard_serves_a_second_training(cls: type[Guard]) -> None:
    guard = made(cls)
    fit(guard)
    fit(guard)


@pytest.mark.parametrize("cls", GUARDS, ids=lambda cls: cls.__name__)
def test_a_guard_lets_every_entry_of_the_trainer_pass(cls: type[Guard]) -> None:
    class Whole(Healthy):
        def test_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("test_loss", self(batch[0]).mean())

        def predict_step(self, batch: Any, batch_idx: int) -> Any:
            return self(batch[0])

    trainer = fit(made(cls), module := Whole(), max_epochs=1)
    for entry in (trainer.validate, trainer.test, trainer.predict):
        entry(module, loaders()[1])


def test_an_alarm_is_an_exception_unless_a_warning_was_asked_for() -> None:
    class Wolf(Guard):
        checks = {"wolf": "there is a wolf"}

        def on_train_batch_end(self, *args: Any) -> None:
            self.alarm("wolf", "a wolf came", "Close the gate.")

    with pytest.raises(Alarm, match=r"^Wolf: a wolf came\. Close the gate\.$") as caught:
        fit(Wolf())
    assert (caught.value.guard, caught.value.check) == ("Wolf", "wolf")
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    with pytest.warns(GuardWarning, match="a wolf came") as warned:
        fit(Wolf(action="warn"))
    assert len([entry for entry in warned if entry.category is GuardWarning]) == 1


def test_a_guard_that_fails_warns_once_and_lets_the_training_continue(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clumsy(Guard):
        checks = {"none": "nothing"}
        looks = 0

        def on_train_batch_end(self, *args: Any) -> None:
            self.looks += 1
            raise KeyError("no such thing")

    with pytest.raises(KeyError):
        fit(Clumsy())
    monkeypatch.setattr(Guard, "own_errors", "warn")
    with pytest.warns(GuardWarning, match="Clumsy failed and is inactive for the rest of this training: KeyError"):
        trainer = fit(clumsy := Clumsy())
    assert (trainer.global_step, clumsy.looks) == (16, 1)


class Uncopied(Healthy):
    """Holds something that can't be copied, such as a lock or an open file."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


@pytest.mark.parametrize("cls", [guards.SamplesIndependent, guards.OverfitsBatch, guards.MetricsRecomputed])
def test_a_guard_that_could_never_look_reports_why_when_training_ends(
    cls: Any, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    together = GuardSet([made(cls), made(guards.StepsTaken)])
    fit(together, Uncopied())
    told = [entry.message for entry in caplog.records if "looked 0 times" in entry.message]
    assert told == [together.report()]
    assert told[0].startswith(f"{cls.__name__} looked 0 times, and skipped looks: the module can't be copied: TypeErr")
    caplog.clear()
    fit(together)
    assert not together.report()
    assert not any("looked" in entry.message for entry in caplog.records)


def test_a_copy_that_fails_is_counted() -> None:
    class Alone(Healthy):
        """Can't be called by a guard."""

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            if trials.trying():
                raise LookupError("nothing for you")
            return super().forward(inputs)

    together = GuardSet(
        [made(cls) for cls in (guards.SamplesIndependent, guards.OverfitsBatch, guards.MetricsRecomputed)]
    )
    fit(together, Alone())
    lines = together.report().splitlines()
    assert len(lines) == 3
    assert all("looked 0 times" in line and "LookupError: nothing for you" in line for line in lines)


def test_what_known_good_runs_could_not_be_compared_with_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise LookupError("no weights")

    fit([recorder := guards.KnownGoodRecorder()])
    assert recorder.looked
    assert not recorder.skipped
    guard = guards.KnownGood(combine([recorder.summary] * 3), action="warn")
    monkeypatch.setattr(Sensor, "on_train_start", broken)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit([recorder, guard])
    assert recorder.skipped == guard.skipped == {"on_train_start: LookupError: no weights": 1}
    assert "on_train_start: LookupError: no weights (1x)" in guard.report()


def test_every_guard_of_a_set_leaves_the_module_though_another_raises_then() -> None:
    class Raising(Guard):
        checks = {"end": "the training failed"}

        def on_exception(self, *_: Any) -> None:
            self.alarm("end", "the training failed", "Look why.")

    class Failing(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            super().training_step(batch, batch_idx)
            raise KeyError

    module = Failing()
    with pytest.raises(Alarm, match="the training failed"):
        fit(GuardSet([Raising(), guards.OutputsVary(), guards.DropoutAlive()]), module)
    assert not any(part._forward_hooks for part in module.modules())


def test_guards_import_nothing_else_of_faultlab() -> None:
    code = (
        "import sys\nfor name in [m for m in sys.modules if m.startswith('faultlab')]: del sys.modules[name]\n"
        "import faultlab.guards\nprint(*[m for m in sys.modules if m.startswith('faultlab')])"
    )
    done = warm.run(["-c", code])
    assert done.returncode == 0, done.stderr
    assert [m for m in done.stdout.split() if m != "faultlab" and not m.startswith("faultlab.guards")] == []


@pytest.mark.parametrize("package", ["pytorch_lightning", pytest.param("lightning.pytorch", marks=FRESH)])
def test_guards_are_callbacks_of_the_package_that_is_used(package: str) -> None:
    code = (
        f"import sys, {package} as L; from faultlab import guards; from tests.zoo.models import classifier\n"
        f"other = {{'pytorch_lightning', 'lightning.pytorch'}} - {{'{package}'}}\n"
        f"assert isinstance(guards.all(), L.Callback) and not other & set(sys.modules)\n"
        f"module, data = classifier('{package}')\n"
        f"quiet = dict(accelerator='cpu', logger=False, enable_checkpointing=False)\n"
        f"L.Trainer(max_epochs=1, callbacks=guards.all(), **quiet).fit(module, *data)"
    )
    done = warm.run(["-c", code], imports="torch" if package == "pytorch_lightning" else "command")
    assert done.returncode == 0, done.stderr


def test_a_set_leaves_out_the_named_guards() -> None:
    names = [type(guard).__name__ for guard in guards.all("full", leave_out=["StepsTaken"])]
    assert "StepsTaken" not in names
    with pytest.raises(ValueError, match="unknown guard: Nobody"):
        guards.all(leave_out=["Nobody"])


def test_a_set_keeps_and_returns_the_state_of_its_guards(tmp_path: Path) -> None:
    class Counting(Guard):
        checks = {"none": "nothing"}
        count = 0

        def on_train_batch_end(self, *args: Any) -> None:
            self.count += 1

        def state_dict(self) -> dict[str, Any]:
            return {"count": self.count}

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self.count = state_dict["count"]

    trainer = fit(GuardSet([Counting()]), max_epochs=1)
    trainer.save_checkpoint(tmp_path / "kept.ckpt")
    counting = Counting()
    torch.manual_seed(0)
    again = pl.Trainer(**QUIET, max_epochs=1, callbacks=GuardSet([counting]))
    # Lightning 2.6 loads weights alone unless it is told; earlier ones don't take the argument.
    trusted = {"weights_only": False} if "weights_only" in inspect.signature(pl.Trainer.fit).parameters else {}
    again.fit(Healthy(), *loaders(), ckpt_path=tmp_path / "kept.ckpt", **trusted)
    assert counting.count == 8
