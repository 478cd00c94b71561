"""Alarms sent to the Trainer's loggers: a count to all of them, the text to those that accept text."""

from __future__ import annotations

import logging
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from faultlab.guards.support.draws import undrawn
from faultlab.guards.support.training_view import TrainingView

COUNT = "faultlab/alarms"
"""The metric that counts the alarms of a training."""

_LONGEST = 4000
_log = logging.getLogger("faultlab.guards")
_SAID: weakref.WeakKeyDictionary[Any, set[tuple[str, str]]] = weakref.WeakKeyDictionary()


def announce(trainer: TrainingView, guard: str, check: str, text: str) -> None:
    """Send an alarm to the loggers: `COUNT` as a metric, and the text, once for each check of a training.

    It never raises, and changes no metric that callbacks see.

    Args:
        trainer: The training whose loggers are used, on rank zero only.
        guard: The name of the guard's class.
        check: The name of the check that failed.
        text: The text of the alarm.
    """
    loggers = trainer.loggers
    if not loggers or not trainer.is_global_zero:
        return
    said = _SAID.setdefault(trainer, set())
    if (guard, check) in said:
        return
    said.add((guard, check))
    record(trainer, {COUNT: float(len(said))})
    place = f"{guard}/{check}"
    text = f"{text} (epoch {trainer.current_epoch}, step {trainer.global_step})"
    for logger in loggers:
        for say in _ways(logger):
            _safely(say, logger, place, text, trainer.logged_step)


def forget(trainer: TrainingView) -> None:
    """Reset the count, for another training of the same Trainer."""
    _SAID.pop(trainer, None)


def record(trainer: TrainingView, metrics: Mapping[str, float]) -> None:
    """Log numbers through every logger of the Trainer, at its current step, and nowhere else. It never raises."""
    for logger in trainer.loggers:
        _safely(_log_metrics, logger, dict(metrics), trainer.logged_step)


def _safely(say: Callable[..., None], logger: Any, *what: Any) -> None:
    try:
        with undrawn():  # some draw the names of what they write
            say(logger, *what)
    except Exception:  # a failing logger must not end the training
        _log.debug("%s failed", type(logger).__name__, exc_info=True)


def _log_metrics(logger: Any, metrics: dict[str, float], step: int) -> None:
    logger.log_metrics(metrics, step=step)
    logger.save()


def _ways(logger: Any) -> list[Callable[..., None]]:
    """Return the functions that send text to a logger, by the names of its class and bases.

    Importing the loggers to compare classes would take seconds.
    """
    names = {cls.__name__ for cls in type(logger).__mro__}
    return [way for name, ways in _WORDS.items() if name in names for way in ways]


def _tensorboard(logger: Any, place: str, text: str, step: int) -> None:
    logger.experiment.add_text(f"faultlab/{place}", text, step)
    logger.experiment.flush()


def _wandb_alert(logger: Any, place: str, text: str, step: int) -> None:
    logger.experiment.alert(title=f"faultlab: {place}", text=text)


def _wandb_summary(logger: Any, place: str, text: str, step: int) -> None:
    logger.experiment.summary[f"faultlab/{place}"] = text


def _mlflow(logger: Any, place: str, text: str, step: int) -> None:
    logger.experiment.set_tag(logger.run_id, f"faultlab/{place}", text[:_LONGEST])


_WORDS: dict[str, tuple[Callable[..., None], ...]] = {
    "TensorBoardLogger": (_tensorboard,),
    # Two functions, since the alert is sent only if the run is online.
    "WandbLogger": (_wandb_summary, _wandb_alert),
    "MLFlowLogger": (_mlflow,),
}
