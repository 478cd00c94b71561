"""Over a healthy training no guard raises an alarm, warns or fails itself, and it is the same training to the bit."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from tests.healthy import TRAININGS, page
from tests.healthy.training import LEVELS

QUICK = {"accumulating loop", "closure loop", "combined max size", "ema", "finetuning in stages", "frozen backbone",
         "lbfgs", "loop in two parts", "masked graph", "own batch class", "policy gradient", "tiny loop"}  # fmt: skip
EVERY = pytest.mark.nightly(reason="every healthy training from ten seeds; the quick ring has twelve from one")
CASES = [
    pytest.param(name, seed, id=f"{name}-{seed}", marks=() if name in QUICK and seed == 0 else EVERY)
    for name in TRAININGS
    for seed in page.SEEDS
]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """More would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_guards_say_nothing_and_change_nothing_where_a_training_learns(name: str, seed: int) -> None:
    training = TRAININGS[name]
    if training.needs is not None:
        pytest.importorskip(training.needs)
    bare = training.run(seed)
    assert training.learned(bare), f"{training.goal} is not reached: {bare.metric}"
    for level in LEVELS:
        watched = training.run(seed, level)
        assert watched.said == [], f"with the {level} guards"
        assert watched.differences(bare) == [], f"with the {level} guards"
