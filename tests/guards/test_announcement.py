"""Alarms are sent to the Trainer's loggers, and nothing else changes."""

from __future__ import annotations

import csv
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from pytorch_lightning.loggers import CSVLogger, Logger

from faultlab import guards
from faultlab.guards import Alarm, Guard, GuardSet, LoggedShares
from faultlab.guards.support import announcement
from tests.guards.rig import Healthy, fit, loaders


class Wolf(Guard):
    """Raises two alarms."""

    checks = {"wolf": "there is a wolf", "bear": "there is a bear"}

    def on_train_batch_end(self, trainer: Any, *args: Any) -> None:
        if trainer.global_step in (3, 4):
            self.alarm("wolf", "a wolf came", "Close the gate.")
        if trainer.global_step == 6:
            self.alarm("bear", "a bear came", "Close the door.")


class Experiment:
    """Has the methods of TensorBoard's writer, a W&B run and MLflow's client."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}
        self.alerts: list[tuple[str, str]] = []
        self.summary: dict[str, str] = {}
        self.tags: dict[tuple[str, str], str] = {}

    def add_text(self, tag: str, text_string: str, global_step: int | None = None) -> None:
        self.texts[tag] = text_string

    def flush(self) -> None:
        pass

    def alert(self, title: str, text: str) -> None:
        self.alerts.append((title, text))

    def set_tag(self, run_id: str, key: str, value: Any) -> None:
        self.tags[run_id, key] = value


class Kept(Logger):
    """Keeps the metrics and texts that it receives."""

    name = "kept"
    version = 0

    def __init__(self) -> None:
        super().__init__()
        self.experiment = Experiment()
        self.logged: list[tuple[int | None, dict[str, float]]] = []
        self.run_id = "one"

    def log_hyperparams(self, params: Any) -> None:
        pass

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.logged.append((step, metrics))

    def of(self, name: str) -> list[tuple[int | None, float]]:
        return [(step, metrics[name]) for step, metrics in self.logged if name in metrics]


def called(name: str) -> Kept:
    """Return a logger class with the name of one of Lightning's."""
    made: Kept = type(name, (Kept,), {})()
    return made


class Broken(Kept):
    """Fails at everything."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        random.random(), torch.rand(1)
        if any(name.startswith("faultlab/") for name in metrics):
            raise OSError("no space")


def test_alarms_are_counted_and_their_text_is_sent_to_loggers_that_accept_text() -> None:
    loggers = [called(name) for name in ("TensorBoardLogger", "WandbLogger", "MLFlowLogger", "Unheard")]
    with pytest.warns(guards.GuardWarning):
        fit(GuardSet([Wolf(action="warn")]), logger=loggers, log_every_n_steps=1)
    for logger in loggers:
        assert [value for _, value in logger.of("faultlab/alarms")] == [1.0, 2.0]
        assert [step for step, _ in logger.of("faultlab/alarms")] == [2, 5]
    board, wandb, mlflow, unheard = (logger.experiment for logger in loggers)
    assert list(board.texts) == ["faultlab/Wolf/wolf", "faultlab/Wolf/bear"]
    assert "a wolf came. Close the gate. (epoch 0, step 3)" in board.texts["faultlab/Wolf/wolf"]
    assert [title for title, _ in wandb.alerts] == ["faultlab: Wolf/wolf", "faultlab: Wolf/bear"]
    assert "a bear came" in wandb.summary["faultlab/Wolf/bear"]
    assert "a bear came" in mlflow.tags["one", "faultlab/Wolf/bear"]
    assert vars(unheard) == vars(Experiment())


def test_an_alarm_that_ends_the_training_is_logged_before() -> None:
    logger = called("WandbLogger")
    with pytest.raises(Alarm, match="a wolf came"):
        fit(Wolf(), logger=logger)
    assert logger.of("faultlab/alarms") == [(2, 1.0)]
    assert len(logger.experiment.alerts) == 1


def test_a_file_of_metrics_has_the_count(tmp_path: Path) -> None:
    with pytest.raises(Alarm):
        fit(Wolf(), logger=CSVLogger(tmp_path), log_every_n_steps=1)
    [file] = tmp_path.rglob("metrics.csv")
    rows = list(csv.DictReader(file.open()))
    assert [row["faultlab/alarms"] for row in rows if row["faultlab/alarms"]] == ["1.0"]


@pytest.mark.parametrize("logger", [Broken(), called("TensorBoardLogger")], ids=["broken", "able"])
def test_whatever_a_logger_does_the_training_stays_what_it_was(logger: Kept) -> None:
    def course(callbacks: Any) -> Any:
        torch.manual_seed(0), random.seed(0)
        trainer = fit(callbacks, module := Healthy(), logger=logger)
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        logged = {name: float(value) for name, value in trainer.logged_metrics.items()}
        return [metrics, logged, *(p.tolist() for p in module.parameters()), random.getstate()]

    alone = course([])
    with pytest.warns(guards.GuardWarning, match="a wolf came"):
        assert course([Wolf(action="warn"), LoggedShares()]) == alone


def test_a_guard_that_announces_nothing_logs_nothing() -> None:

    logger = Kept()
    quiet = Wolf(action="warn")
    quiet.announces = False
    with pytest.warns(guards.GuardWarning):
        fit(quiet, logger=logger)
    assert not logger.of("faultlab/alarms")


def test_shares_of_bad_losses_and_of_supervised_labels_are_logged_at_the_interval() -> None:
    class Tokens(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            loss = super().training_step((batch["x"], batch["labels"][:, 0].clamp(0)), batch_idx)
            return loss * float("nan") if self.global_step == 1 else loss

        def backward(self, loss: Any) -> None:
            if loss.isfinite():
                loss.backward()

    def collate(pairs: Any) -> Any:
        x = torch.stack([x for x, _ in pairs])
        labels = torch.stack([y for _, y in pairs])
        return {"x": x, "labels": torch.stack([labels, torch.full_like(labels, -100)], dim=1)}

    train = torch.utils.data.DataLoader(loaders()[0].dataset, batch_size=16, collate_fn=collate)
    logger = Kept()
    trainer = fit([LoggedShares()], Tokens(), train, logger=logger, log_every_n_steps=4, limit_val_batches=0)
    assert logger.of("faultlab/nonfinite_loss_share") == [(3, 0.25), (7, 0.0), (11, 0.0), (15, 0.0)]
    assert logger.of("faultlab/supervised_share") == [(step, 0.5) for step in (3, 7, 11, 15)]
    assert not any("faultlab" in name for name in {**trainer.callback_metrics, **trainer.logged_metrics})


def test_labels_that_are_one_a_sample_have_no_share() -> None:
    logger = Kept()
    fit([LoggedShares()], logger=logger, log_every_n_steps=4)
    assert len(logger.of("faultlab/nonfinite_loss_share")) == 4
    assert not logger.of("faultlab/supervised_share")


def test_other_ranks_log_nothing() -> None:
    logger = Kept()

    class Trainer:
        is_global_zero = False
        loggers = (logger,)

    announcement.announce(Trainer(), "Wolf", "wolf", "a wolf came")
    assert not logger.logged
