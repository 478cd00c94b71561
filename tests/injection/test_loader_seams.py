"""The seams of what loads a training's data, in whatever process it is fetched."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from torch.utils.data import DataLoader, Subset, TensorDataset, get_worker_info

from faultlab.catalogue.injection_points import LoaderArguments, Process, Sample
from faultlab.core.part_facts import LoaderFacts
from faultlab.core.target_profile import TargetProfile
from faultlab.injection import registry
from faultlab.injection.activation_counter import Tally
from faultlab.injection.armed_fault import Armed
from faultlab.injection.values import Stream
from tests.injection import outer
from tests.zoo import models

pytestmark = pytest.mark.usefixtures("one_thread")


def test_a_loaders_arguments_are_changed_without_changing_the_users_loader() -> None:
    module, (train, validation) = models.classifier()
    dataset = train.dataset

    def halved(loading: Any, ctx: Any) -> Any:
        return (
            replace(loading, dataset=Subset(loading.dataset, range(16)), batch_size=4) if loading.shuffled else loading
        )

    done = outer.train(LoaderArguments(), halved, lambda: (module, (train, validation)))
    assert done.activations == 1
    assert done.trainer.num_training_batches == 4
    assert (train.dataset, train.batch_size, len(train)) == (dataset, 8, 6)


def test_a_loader_can_be_told_not_to_batch() -> None:
    shapes = []

    class Looking(models.importlib.import_module(outer.BOTH[0]).LightningModule):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> None:
            shapes.append(tuple(batch[0].shape))

        def configure_optimizers(self) -> None:
            return None

    data = TensorDataset(*models._points())
    build = lambda: (Looking(), (DataLoader(data, batch_size=8),))  # noqa: E731
    outer.train(LoaderArguments(), lambda loading, ctx: replace(loading, batch_size=None), build)
    assert set(shapes) == {(6,)}


def test_a_loaders_injector_can_see_the_training_data_from_the_validation_loader() -> None:
    seen = []

    def looking(loading: Any, ctx: Any) -> Any:
        seen.append((ctx.stage, len(loading.training().dataset)))
        return loading

    module, (train, _) = models.classifier()
    small = DataLoader(TensorDataset(*models._points(8)), batch_size=4)
    outer.train(LoaderArguments(), looking, lambda: (module, (train, small)), num_sanity_val_steps=2)
    assert ("validate", 48) in seen


def test_a_slow_loader_waits_by_the_step_however_many_steps_there_are() -> None:
    slow = registry.load()["loader.slow"].injector
    ctx: Any = SimpleNamespace(dose=SimpleNamespace(factor=3.0))
    seconds = []
    for steps, step in ((500, 0.0), (5, 0.02)):
        begun = time.perf_counter()
        for _ in slow(Stream(iter(range(steps)), steps), ctx).iterator:
            time.sleep(step)
        seconds.append(time.perf_counter() - begun)
    assert seconds[0] < 1
    assert seconds[1] > 0.4


@pytest.mark.parametrize("workers", [0, 2])
def test_samples_are_mapped_and_counted_in_whatever_process_fetches_them(workers: int) -> None:
    def marked(item: Any, ctx: Any) -> Any:
        assert (get_worker_info() is not None) == bool(workers) or ctx.stage == "validate"
        return item[0] * 0, item[1]

    batches = []

    def then(trainer: Any, module: Any) -> None:
        batches.append(next(iter(trainer.train_dataloader))[0])

    done = outer.train(Sample(), marked, outer.classifier(workers=workers), then=then, limit_train_batches=4)
    assert done.activations >= 4 * 8
    assert done.armed.first_step == 0
    assert float(batches[0].abs().sum()) == 0.0


def test_the_items_of_a_stream_are_samples_too() -> None:
    done = outer.train(Sample(), lambda item, ctx: (item[0] + 1, item[1]), models.streaming)
    assert done.activations >= 4 * 8


def test_a_samples_step_is_the_first_that_is_fetched_from_then_on_and_only_that_one() -> None:
    done = outer.train(
        Sample(), lambda item, ctx: (item[0] + 1, item[1]), outer.classifier(workers=1), trigger="step=2"
    )
    assert (done.activations, done.armed.first_step) == (1, 2)


def test_an_injector_that_fails_in_a_worker_is_told_from_a_worker_that_fails() -> None:
    def buggy(item: Any, ctx: Any) -> Any:
        raise KeyError("bug")

    armed: list[Armed] = []

    with pytest.raises(RuntimeError, match="worker"):
        outer.train(Sample(), buggy, outer.classifier(workers=1), trigger="always,stage=train", made=armed)
    assert armed[0].broken == "KeyError: 'bug'"


def test_a_worker_can_be_struck_down_and_the_blow_is_counted_before_it_falls() -> None:
    armed: list[Armed] = []

    def exits(_: Any, ctx: Any) -> None:
        os._exit(3)

    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        outer.train(Process(worker=True), exits, outer.classifier(workers=1), made=armed)
    assert armed[0].activations == 1


def test_a_fault_of_the_process_is_counted_though_it_changes_no_value() -> None:
    done = outer.train(Process(), lambda _, ctx: None, outer.classifier(), trigger="step=3")
    assert (done.activations, done.armed.first_step) == (1, 3)


def test_the_tally_counts_over_processes_and_knows_the_first_step_of_all() -> None:
    tally = Tally()
    tally.step = 5
    tally.acted(4)
    child = os.fork()
    if child == 0:
        tally.acted(2)
        tally.acted(9)
        tally.broken = "KeyError: x"
        os._exit(0 if tally.step == 5 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (tally.activations, tally.first_step, tally.broken) == (3, 2, "KeyError: x")


def test_after_more_processes_than_it_has_entries_the_tally_still_counts() -> None:
    tally = Tally()
    for _ in range(70):
        child = os.fork()
        if child == 0:
            tally.acted(1)
            os._exit(0)
        os.waitpid(child, 0)
    assert (tally.activations, tally.first_step) == (70, 1)


def test_a_loader_is_uneven_if_its_last_batch_is_smaller() -> None:
    assert LoaderFacts(samples=10, batch_size=4).uneven
    assert not LoaderFacts(samples=12, batch_size=4).uneven
    assert not LoaderFacts(samples=10, batch_size=4, drop_last=True).uneven
    assert not LoaderFacts(samples=None, batch_size=4).uneven


@pytest.mark.parametrize(
    ("steps", "epochs", "batches", "whole"),
    [(18, 3, 6, 6), (9, 2, 6, 6), (12, 2, 6, 6), (18, 3, 12, 6), (3, 0, 6, 3), (8, 2, None, 4), (8, 2, 0, 4)],
)
def test_an_epoch_that_is_cut_short_by_a_number_of_steps_makes_no_other_shorter(
    steps: int, epochs: int, batches: int | None, whole: int
) -> None:
    assert TargetProfile(steps=steps, epochs=epochs, loading=LoaderFacts(batches=batches)).steps_per_epoch == whole
