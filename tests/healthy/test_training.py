"""The ring itself: it hears what guards say, sees what they change, and knows a training that learns nothing."""

from __future__ import annotations

import random
from typing import Any

import lightning.pytorch
import pytest
import pytorch_lightning
import torch

from faultlab import guards
from faultlab.guards import Guard, GuardSet
from tests import healthy
from tests.healthy import TRAININGS, data, page
from tests.healthy.classifier import Classifier
from tests.healthy.training import Fit, Goal, Training


def training(module: type[Any] = Classifier) -> Training:
    def body(fit: Fit) -> None:
        fit(module(4, 3, lr=1e-2), *data.loaders(data.table("iris"), 24), max_epochs=3)

    return Training("short", "A short one.", Goal("val_loss", "min", 0.9), body)


def watched_by(monkeypatch: pytest.MonkeyPatch, guard: type[Guard]) -> list[Any]:
    """The course of the short training under a guard alone, and the one without."""
    monkeypatch.setattr(guards, "all", lambda *args, **kwargs: GuardSet([guard()]))
    return [training().run(0, "cheap"), training().run(0)]


def test_a_run_from_the_same_seed_is_the_same_and_from_another_is_not() -> None:
    one, again, other = (training().run(seed) for seed in (0, 0, 1))
    assert one.differences(again) == []
    assert "net.0.weight" in one.differences(other)
    assert "the random state" in one.differences(other)


def test_a_training_that_learns_nothing_does_not_reach_its_goal() -> None:
    class Idle(Classifier):
        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.0)

    assert training().learned(training().run(0))
    assert not training().learned(training(Idle).run(0))


def test_a_goal_that_is_reached_at_the_start_shows_nothing() -> None:
    easy = Training("easy", "An easy one.", Goal("val_loss", "min", 100.0), training().body)
    assert not easy.learned(easy.run(0))


def test_an_alarm_is_heard() -> None:
    class Lost(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return super().training_step(batch, batch_idx) * float("nan")

    (said,) = training(Lost).run(0, "cheap").said
    assert said.startswith("LossContract: ")


def test_a_guard_that_fails_itself_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clumsy(Guard):
        def on_train_batch_end(self, *args: Any) -> None:
            raise KeyError("no such thing")

    watched, bare = watched_by(monkeypatch, Clumsy)
    assert ["Clumsy failed and is inactive" in said for said in watched.said] == [True]
    assert watched.differences(bare) == []


def test_an_error_that_is_there_only_with_guards_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    class Rude(Guard):
        def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
            trainer.strategy = None

    watched, _ = watched_by(monkeypatch, Rude)
    assert watched.said


@pytest.mark.parametrize(
    ("change", "seen"),
    [
        (lambda module: torch.rand(1), "the random state"),
        (lambda module: random.random(), "the random state"),
        (lambda module: module.net[3].bias.data.add_(1e-7), "net.3.bias"),
    ],
    ids=["torch", "python", "weights"],
)
def test_what_a_guard_changes_is_seen(change: Any, seen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Meddling(Guard):
        def on_fit_end(self, trainer: Any, pl_module: Any) -> None:
            change(pl_module)

    watched, bare = watched_by(monkeypatch, Meddling)
    assert watched.said == []
    assert watched.differences(bare) == [seen]


def test_a_row_counts_alarms_and_is_not_quiet_then(monkeypatch: pytest.MonkeyPatch) -> None:
    class Wolf(Guard):
        checks = {"wolf": "there is a wolf"}

        def on_fit_end(self, *args: Any) -> None:
            self.alarm("wolf", "a wolf came", "Close the gate.")

    monkeypatch.setitem(TRAININGS, "short", training())
    assert page.row(("short", [0])).quiet
    watched_by(monkeypatch, Wolf)
    row = page.row(("short", [0, 1]))
    assert (row.quiet, row.learned, row.equal, row.alarms) == (False, 2, 0, {"cheap": 2, "full": 2})
    assert "| 2 | 2 | 2 | 0 of 4 |" in page.written([row])
    assert "seed 1, full: Wolf: a wolf came. Close the gate." in page.told(row)


def test_lines_of_trainings_that_were_not_run_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("one", "other"):
        monkeypatch.setitem(TRAININGS, name, Training(name, "A short one.", training().goal, training().body))
    rows = [page.Row(name, steps=9, seeds=10) for name in ("one", "other")]
    before = page.written(rows)
    rows[1].steps = 12
    assert page.written(rows[1:], before) == page.written(rows)
    assert page.written(rows) != before


def test_both_packages_of_lightning_appear() -> None:
    defined = [value for part in vars(healthy).values() for value in getattr(part, "__dict__", {}).values()]
    modules = [value for value in defined if isinstance(value, type)]
    for package in (pytorch_lightning, lightning.pytorch):
        assert sum(issubclass(value, package.LightningModule) for value in modules) > 10


def test_the_page_lists_every_training() -> None:
    lines = page.PAGE.read_text(encoding="utf-8").splitlines()
    rows = [line for line in lines if line.startswith("| ") and not line.startswith(("| training", "| ---"))]
    listed = ["|".join(line.split("|")[:3]) + "|" for line in rows]
    assert listed == [page.described(one) for one in page.in_order()], "`python -m tests.healthy` renews it"
