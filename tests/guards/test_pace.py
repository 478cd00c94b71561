"""The steps that cheap guards look at, and how often they ask the Trainer for its step."""

from __future__ import annotations

from typing import Any

from faultlab import guards
from faultlab.guards import Guard, GuardSet
from faultlab.guards.support import pace


class Counting:
    """A trainer that counts how often it was asked for its step."""

    def __init__(self, step: int) -> None:
        self.step = step
        self.asked = 0
        self.loggers: list[Any] = []

    @property
    def global_step(self) -> int:
        self.asked += 1
        return self.step


class Due(Guard):
    """Keeps what it receives."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[bool] = []

    def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
        self.told.append(pace.due(trainer))


def test_values_are_looked_at_in_the_first_steps_and_then_ever_more_rarely_twice_in_a_row() -> None:
    looked = [step for step in range(2000) if pace.due(Counting(step))]
    assert looked[: pace.FIRST] == list(range(pace.FIRST))
    for begin, end, interval in ((pace.FIRST, 256, 16), (256, 512, 32), (512, 2000, 128)):
        some = [step for step in looked if begin <= step < end]
        assert some == [step for step in range(begin, end) if step % interval in (0, 1)]


def test_the_guards_of_a_set_ask_for_the_step_once_a_hook() -> None:
    members = [Due(), Due(), Due()]
    trainer = Counting(3)
    together = GuardSet(members)
    together.on_train_batch_start(trainer, None, None, 0)
    assert trainer.asked == 1
    trainer.step = 70
    together.on_train_batch_start(trainer, None, None, 1)
    assert [guard.told for guard in members] == [[True, False]] * 3
    members[0].on_train_batch_start(trainer, None, None, 2)
    assert trainer.asked == 3, "what was told is told within the hook alone"


def test_an_alarm_ends_what_is_shared_with_its_hook() -> None:
    class Alarming(Due):
        checks = {"always": "it is called"}

        def on_train_batch_start(self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int) -> None:
            pace.due(trainer)
            self.alarm("always", "called", "Do not call it.")

    trainer = Counting(3)
    try:
        GuardSet([Alarming()]).on_train_batch_start(trainer, None, None, 0)
    except guards.Alarm:
        trainer.step = 70
    assert not pace.due(trainer)
