"""The tiny training of faultlab's own that warms a process, and what it leaves as it was."""

from __future__ import annotations

import logging
import random
import warnings
from typing import Any

import numpy
import pytest
import pytorch_lightning
import torch

from faultlab.frameworks.lightning import warm_up


def test_no_random_number_no_warning_and_no_log_is_spent(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder, capfd: pytest.CaptureFixture[str]
) -> None:
    caches = [(cache, set(cache)) for cache in warm_up._warning_caches()]
    before = random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()
    filters, disabled = list(warnings.filters), logging.root.manager.disable
    warm_up.warm_up("pytorch_lightning")
    assert (random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist()) == before
    assert list(warnings.filters) == filters
    assert logging.root.manager.disable == disabled
    assert [(cache, set(cache)) for cache in warm_up._warning_caches()] == caches
    assert not caplog.records
    assert not recwarn.list
    assert capfd.readouterr() == ("", "")


def test_warnings_that_lightning_shows_once_are_known_to_be_remembered_by_it() -> None:
    """Were they remembered elsewhere, a warm process would keep them from the user."""
    assert warm_up._warning_caches()


def test_it_trains_and_validates(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    for stage in ("training", "validation"):
        own = getattr(pytorch_lightning.LightningModule, f"on_{stage if stage != 'training' else 'train'}_start")

        def noted(module: Any, stage: str = stage, own: Any = own) -> None:
            seen.append(stage)
            own(module)

        hook = "on_train_start" if stage == "training" else "on_validation_start"
        monkeypatch.setattr(pytorch_lightning.LightningModule, hook, noted)
    warm_up.warm_up("pytorch_lightning")
    assert {"training", "validation"} <= set(seen)


def test_a_training_that_fails_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(package: Any) -> None:
        raise OSError("no Trainer here")

    monkeypatch.setattr(warm_up, "_fit", broken)
    warm_up.warm_up("pytorch_lightning")


def test_a_package_that_is_not_imported_stays_so() -> None:
    warm_up.warm_up("a_package_that_nobody_has")
