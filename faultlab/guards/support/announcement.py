"""What guards found, told to the Trainer's loggers: numbers to all, words to those that have a place for them."""

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
    """Tell the loggers of an alarm: `COUNT` as a metric and the text, once for each check of a training.

    It never raises, and touches no metric that callbacks see.

    Args:
        trainer: Whose loggers are told; on ranks other than zero nobody is.
        guard: The name of the guard's class.
        check: Which of its checks it was.
        text: The alarm in words.
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
    """Begin to count anew, for another training of the Trainer's."""
    _SAID.pop(trainer, None)


def record(trainer: TrainingView, metrics: Mapping[str, float]) -> None:
    """Log numbers through every logger of the Trainer's, at its step, and nowhere else. It never raises."""
    for logger in trainer.loggers:
        _safely(_log_metrics, logger, dict(metrics), trainer.logged_step)


def _safely(say: Callable[..., None], logger: Any, *what: Any) -> None:
    try:
        with undrawn():  # some draw the names of what they write
            say(logger, *what)
    except Exception:  # what a logger can't do is no failure of the training
        _log.debug("%s could not be told", type(logger).__name__, exc_info=True)


def _log_metrics(logger: Any, metrics: dict[str, float], step: int) -> None:
    logger.log_metrics(metrics, step=step)
    logger.save()


def _ways(logger: Any) -> list[Callable[..., None]]:
    """How a logger takes words, by its class's name or that of a base: importing it would take seconds."""
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
    # Each by itself: an alert goes out only where the run is online.
    "WandbLogger": (_wandb_summary, _wandb_alert),
    "MLFlowLogger": (_mlflow,),
}
