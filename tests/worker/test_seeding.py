"""Seeds that the user's code sets while it builds."""

from __future__ import annotations

import random

import numpy
import pytest
import pytorch_lightning as pl
import torch

from faultlab.worker import seeding


def _drawn() -> tuple[float, float, float]:
    pl.seed_everything(42, verbose=False)
    return random.random(), float(numpy.random.rand()), float(torch.rand(()))


def test_code_that_seeds_itself_is_another_run_with_every_seed_and_its_own_with_the_first() -> None:
    own = _drawn()
    with seeding.shifted(0):
        assert _drawn() == own
    with seeding.shifted(1):
        first, again = _drawn(), _drawn()
    with seeding.shifted(2):
        second = _drawn()
    assert first == again
    assert all(len({a, b, c}) == 3 for a, b, c in zip(own, first, second, strict=True))
    assert _drawn() == own


@pytest.mark.parametrize("given", [None, "words"])
def test_what_is_no_number_is_seeded_with_as_it_is(given: object) -> None:
    with seeding.shifted(3):
        random.seed(given)  # type: ignore[arg-type]
        shifted = random.random()
    random.seed(given)  # type: ignore[arg-type]
    assert given is None or random.random() == shifted
