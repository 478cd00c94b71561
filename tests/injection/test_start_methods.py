"""Loader workers that are not forks of the training, as they are not by default since Python 3.14."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path

import pytest
from torch.utils.data import DataLoader, Dataset

from faultlab.core.patching import Patches
from faultlab.engines import Engine
from faultlab.frameworks.lightning.confinement import confine
from faultlab.sandbox.overlay import Overlay
from tests.lab import Lab, engine

# A worker that was killed is missed by the step that waits for its batch.
FAULTS = {"dataset.item-raises@step=3": 3, "loader.worker-raises@step=4": 4, "loader.worker-killed@step=2": 2}
NEVER = "dataset.item-raises@step=1000000000"
AGAIN = pytest.mark.nightly(reason="a zoo model more, for another way to name the start method")


@pytest.fixture(scope="module")
def working() -> Iterator[Engine]:
    with engine() as own:
        yield own


@pytest.mark.parametrize("named", [{"default": "forkserver"}, pytest.param({"context": "spawn"}, marks=AGAIN)])
def test_faults_in_the_workers_of_a_trainer_act_whatever_starts_the_workers(
    named: dict[str, str], working: Engine
) -> None:
    lab = Lab(working, "tests.zoo.equipped.crewed", **named)
    outcomes = lab.run([*FAULTS, NEVER])
    assert lab.is_clean(outcomes.pop(NEVER))
    judged = {id: lab.judge(outcome) for id, outcome in outcomes.items()}
    assert {id: (result.status.value, result.first_step) for id, result in judged.items()} == {
        id: ("detected", step) for id, step in FAULTS.items()
    }


class _Started(Dataset[bool]):
    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> bool:
        return type(multiprocessing.current_process()).__name__ == "ForkProcess"


def test_no_worker_of_a_run_begins_without_its_overlay(tmp_path: Path) -> None:
    loader = DataLoader(_Started(), num_workers=1, multiprocessing_context="spawn")
    with Patches() as patches:
        confine(patches, Overlay(lambda: str(tmp_path), [str(tmp_path)]), lambda: str(tmp_path), set())
        assert [batch.tolist() for batch in loader] == [[True]]
