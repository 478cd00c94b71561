"""An alarm on one rank ends the training on all of them, and no rank waits for another."""

from __future__ import annotations

import os
import pickle
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist

from faultlab import guards
from faultlab.guards import Alarm, Guard, GuardSet
from faultlab.guards.support import consensus
from faultlab.guards.support.callback import HOOKS, overrides
from tests.guards.gang import Synced, fit, gang
from tests.guards.rig import Healthy
from tests.guards.rig import fit as fit_alone

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
GUARDS = guards.classes()
ELSEWHERE = ("teardown", "exception", "test", "predict", "sanity", "checkpoint")
LOOKS = [hook for hook in HOOKS if not any(word in hook for word in ELSEWHERE)]
ORDINARY = ("on_train_batch_end", "on_before_backward", "on_before_optimizer_step", "on_train_batch_start")
SHORT: dict[str, Any] = {"max_epochs": 1, "limit_train_batches": 3, "limit_val_batches": 1, "num_sanity_val_steps": 0}


def raising(cls: type[Guard], hook: str, **arguments: Any) -> Guard:
    """A guard that raises its first alarm on rank 1, at the second call of a hook of batches, or the first call."""
    check = next(iter(cls.checks))
    calls = []

    class Raising(cls):  # type: ignore[misc,valid-type]
        pass

    def raises(self: Any, trainer: Any, *args: Any, **kwargs: Any) -> Any:
        result = getattr(super(Raising, self), hook)(trainer, *args, **kwargs)
        calls.append(hook)
        last = 2 if hook in ORDINARY else 1
        if len(calls) == last and dist.get_rank() == 1:
            self.alarm(check, "something is wrong", "Look at it.")
        return result

    Raising.__name__ = cls.__name__
    setattr(Raising, hook, raises)
    return Raising(**cls.arguments("val_loss", "min"), **arguments)


def ended(callbacks: Any, module: Any = None, **trainer: Any) -> tuple[str, str, tuple[int, ...], int]:
    """What ended the training on this rank: the guard, the text, the ranks and the step."""
    module = module or Healthy()
    try:
        fit(callbacks, module, **{**SHORT, **trainer})
    except Alarm as alarm:
        return alarm.guard, str(alarm), alarm.ranks, module.trainer.global_step
    return "", "", (), module.trainer.global_step


def cases(every: bool) -> list[tuple[type[Guard], str]]:
    found = []
    for cls in GUARDS:
        guard = cls(**cls.arguments("val_loss", "min"))
        own = [hook for hook in LOOKS if overrides(guard, hook)]
        usual = [hook for hook in ORDINARY if hook in own] or own[-1:]
        found += [(cls, hook) for hook in (own if every else usual[:1])]
    return found


@pytest.mark.parametrize(
    "every",
    [
        False,
        pytest.param(
            True, marks=pytest.mark.nightly(reason="every hook of every guard; the quick ring has one of each")
        ),
    ],
)
def test_every_guard_that_raises_on_one_rank_ends_all_ranks_with_its_alarm_in_the_same_step(every: bool) -> None:
    def work() -> list[Any]:
        # Of metrics that each rank logs for itself, this guard raises an alarm of its own.
        modules = {guards.MetricsSynced: Synced}
        return [ended([raising(cls, hook)], modules.get(cls, Healthy)()) for cls, hook in cases(every)]

    one, other = gang(work, deadline=500)
    for (cls, hook), here, there in zip(cases(every), one, other, strict=True):
        assert here == there, (cls, hook)
        guard, text, ranks, step = here
        assert (guard, ranks) == (cls.__name__, (1,)), (hook, here)
        assert text.startswith(f"{cls.__name__} on rank 1: something is wrong. Look at it."), text
        if hook in ORDINARY:
            assert step == 2, (cls, hook)


def test_an_alarm_of_all_ranks_names_none_and_the_first_of_two_alarms_is_raised() -> None:
    class Everywhere(Guard):
        checks = {"a": "a", "b": "b"}

        def on_train_batch_end(self, *args: Any) -> None:
            self.alarm("a", "all of us", "Look.")

    class Apart(Everywhere):
        def on_train_batch_end(self, *args: Any) -> None:
            self.alarm("ab"[dist.get_rank()], f"of {dist.get_rank()}", "Look.")

    for result in gang(lambda: [ended([Everywhere()]), ended(GuardSet([Apart()]))]):
        assert result == [
            ("Everywhere", "Everywhere: all of us. Look.", (), 1),
            ("Apart", "Apart on rank 0: of 0. Look.", (0,), 1),
        ]


def test_an_alarm_reaches_a_rank_that_fails_because_another_did() -> None:
    class Doomed(Guard):
        checks = {"gone": "gone"}

        def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
            if trainer.global_step == 2 and dist.get_rank() == 1:
                self.alarm("gone", "the step will fail", "Look at the step.")

    class Failing(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            if batch_idx == 2 and dist.get_rank() == 1:
                raise KeyError("no such thing")
            return super().training_step(batch, batch_idx)

    def work() -> Any:
        try:
            fit([Doomed()], Failing(), max_epochs=1)
        except Alarm as alarm:
            return str(alarm), type(alarm.__cause__).__name__
        return None

    one, other = gang(work)
    assert other == ("Doomed on rank 1: the step will fail. Look at the step.", "KeyError")
    assert one == (other[0], "RuntimeError")


def test_the_process_that_saves_saves_for_an_alarm_of_another_rank(tmp_path: Path) -> None:
    def work() -> Any:
        return ended([raising(guards.StepsTaken, "on_train_batch_end", action="save")], default_root_dir=tmp_path)

    one, other = gang(work)
    assert one == other
    (file,) = tmp_path.glob("*.ckpt")
    assert f"is saved in {file}" in one[1]


def test_a_guard_that_only_warns_holds_nothing() -> None:
    one, other = gang(lambda: ended([raising(guards.StepsTaken, "on_train_batch_end", action="warn")]))
    assert one == other == ("", "", (), 3)


def test_a_training_of_one_process_has_no_consensus_and_raises_at_once() -> None:
    seen = []

    class Wolf(Guard):
        checks = {"wolf": "wolf"}

        def on_before_backward(self, trainer: Any, *args: Any) -> None:
            seen.append([type(one).__name__ for one in trainer.callbacks])
            self.alarm("wolf", "a wolf", "Run.")

    module = Healthy()
    with pytest.raises(Alarm, match=r"^Wolf: a wolf\. Run\.$"):
        fit_alone([Wolf()], module)
    assert module.trainer.global_step == 0
    assert "Consensus" not in seen[0]


def test_nothing_of_it_is_left_and_the_training_is_the_same_to_the_bit() -> None:
    def work() -> Any:
        found = []
        for callbacks in ([], [guards.StepsTaken()], guards.all("full", action="raise")):
            torch.manual_seed(0)
            module = Synced()
            trainer = fit(callbacks, module)
            names = [type(one).__name__ for one in trainer.callbacks]
            assert "Consensus" not in names
            assert not consensus._meetings
            state = {name: value.numpy().tobytes() for name, value in module.state_dict().items()}
            metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
            found.append((state, metrics, torch.get_rng_state().numpy().tobytes(), trainer.global_step))
        return found

    for bare, one, every in gang(work):
        assert bare == one == every


def test_a_guard_that_fails_itself_on_one_rank_lets_no_rank_wait() -> None:
    class Clumsy(guards.RanksAgree):
        own_errors = "warn"

        def on_train_batch_start(self, trainer: Any, *args: Any) -> None:
            if trainer.global_step == 1 and dist.get_rank() == 1:
                raise LookupError("my own mistake")

    def work() -> Any:
        guard = Clumsy()
        begun = time.monotonic()
        result = ended([guard])
        return result, guard.looked, guard.report(), time.monotonic() - begun

    one, other = gang(work)
    assert one[:2] == other[:2] == (("", "", (), 3), 1)
    assert "it failed on rank 1" in one[2]
    assert "LookupError: my own mistake" in other[2]
    assert one[3] < 15


def test_an_alarm_can_be_pickled_with_its_ranks() -> None:
    alarm = Alarm("Wolf", "wolf", "a wolf", "Run.", causes="wolf").on_ranks((1, 2))
    again = pickle.loads(pickle.dumps(alarm))
    assert str(again) == str(alarm) == "Wolf on the ranks 1, 2: a wolf. Run."
    assert again.ranks == (1, 2)
