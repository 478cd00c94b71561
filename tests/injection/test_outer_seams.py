"""The seams outside the step: what a training is built with, what loads its data, what it reports and leaves behind."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset, get_worker_info

from faultlab.catalogue.failure_mode import declare
from faultlab.catalogue.injection_points import (
    CallbackHook,
    Checkpoint,
    InjectionPoint,
    LoaderArguments,
    LoggerCall,
    Logging,
    MetricReset,
    ModuleArguments,
    Process,
    RandomState,
    Sample,
    TrainerArguments,
)
from faultlab.catalogue.requirements import REQUIREMENTS
from faultlab.core.fault import Fault, Trigger
from faultlab.core.part_facts import LoaderFacts
from faultlab.core.patching import Patches
from faultlab.core.target_profile import TargetProfile
from faultlab.frameworks.lightning.clock import LightningClock
from faultlab.frameworks.lightning.probe import Probe
from faultlab.injection import hooks, registry
from faultlab.injection.activation_counter import Tally
from faultlab.injection.armed_fault import Armed
from faultlab.injection.hooks import Site, attach
from faultlab.injection.registry import Registered
from faultlab.injection.values import Logged, Stream
from tests.injection.test_detach import TRAINER
from tests.zoo import equipped, models

BOTH = ["pytorch_lightning", "lightning.pytorch"]
EVERY = ("train", "validate", "test", "predict")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def _train(
    seam: InjectionPoint,
    injector: Callable[..., Any],
    build: Callable[[], tuple[Any, Any]],
    trigger: str = "always",
    namespace: str = BOTH[0],
    profile: TargetProfile | None = None,
    then: Callable[[Any, Any], None] = lambda trainer, module: None,
    made: list[Armed] | None = None,
    **arguments: Any,
) -> SimpleNamespace:
    """Builds and trains with an injector in place, and then does something with the Trainer while it still is."""
    package = importlib.import_module(namespace)
    declared = declare(id="trial.mode", docstring="A trial.", no_evidence="a test", point=seam, severity="minor",
                       effect="silent", cause=("x",), stages=EVERY)  # fmt: skip
    registered = Registered(declared, injector)
    clock = LightningClock()
    profile = profile or TargetProfile(steps=4, epochs=1, loading=LoaderFacts(samples=48, batch_size=8, batches=6))
    armed = Armed(Fault("trial.mode", trigger=Trigger.parse(trigger)), registered, clock, profile)
    if made is not None:
        made.append(armed)
    torch.manual_seed(0)
    with Patches() as patches:
        clock.attach(patches)
        early = seam.attach_at == "construct"
        if early:
            hooks.install(armed, patches, Site(type(None)))
        module, data = build()
        trainer = package.Trainer(**{**TRAINER, **arguments})
        armed.ctx.module = module
        if not early:
            hooks.install(armed, patches, Site(type(module), module))
        trainer.fit(module, *data)
        then(trainer, module)
    return SimpleNamespace(armed=armed, trainer=trainer, module=module, activations=armed.activations)


def _classifier(namespace: str = BOTH[0], **more: Any) -> Callable[[], tuple[Any, Any]]:
    return lambda: models.classifier(namespace, **more)


@pytest.mark.parametrize("namespace", BOTH)
def test_the_trainers_arguments_are_mapped_and_its_callbacks_are_a_list_in_them(namespace: str) -> None:
    def changed(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
        assert arguments["callbacks"] == []
        return {**arguments, "max_epochs": 3}

    done = _train(TrainerArguments(), changed, _classifier(namespace), namespace=namespace)
    assert (done.activations, done.trainer.current_epoch) == (1, 3)


def test_a_single_callback_is_handed_over_as_a_list_too() -> None:
    seen = []

    def looking(arguments: dict[str, Any], ctx: Any) -> dict[str, Any]:
        seen.extend(arguments["callbacks"])
        return arguments

    watcher = equipped.Watcher()
    done = _train(TrainerArguments(), looking, _classifier(), callbacks=watcher)
    assert seen == [watcher]
    assert done.activations == 0


def _configured() -> tuple[Any, Any]:
    data = TensorDataset(*models._points())
    return equipped.Configured(learning_rate=0.01), (DataLoader(data, batch_size=8), DataLoader(data, batch_size=24))


def test_the_modules_arguments_are_mapped_with_their_defaults_and_kept_as_hyperparameters() -> None:
    profile = TargetProfile(module="tests.zoo.equipped.Configured", arguments={"hidden": 16})
    done = _train(ModuleArguments(), lambda a, ctx: {**a, "hidden": a["hidden"] // 8}, _configured, profile=profile)
    assert done.activations == 1
    assert done.module.net[0].out_features == 2
    assert dict(done.module.hparams) == {"hidden": 2, "learning_rate": 0.01}


def test_a_class_that_was_made_inside_a_function_has_no_arguments_to_break() -> None:
    assert "by its name" in ModuleArguments().inapplicable(
        TargetProfile(module="tests.zoo.models.classifier.<locals>.C")
    )


def test_a_loaders_arguments_are_changed_without_changing_the_users_loader() -> None:
    module, (train, validation) = models.classifier()
    dataset = train.dataset

    def halved(loading: Any, ctx: Any) -> Any:
        return (
            replace(loading, dataset=Subset(loading.dataset, range(16)), batch_size=4) if loading.shuffled else loading
        )

    done = _train(LoaderArguments(), halved, lambda: (module, (train, validation)))
    assert done.activations == 1
    assert done.trainer.num_training_batches == 4
    assert (train.dataset, train.batch_size, len(train)) == (dataset, 8, 6)


def test_a_loader_can_be_told_not_to_batch() -> None:
    shapes = []

    class Looking(models.importlib.import_module(BOTH[0]).LightningModule):  # type: ignore[misc]
        def training_step(self, batch: Any, batch_idx: int) -> None:
            shapes.append(tuple(batch[0].shape))

        def configure_optimizers(self) -> None:
            return None

    data = TensorDataset(*models._points())
    build = lambda: (Looking(), (DataLoader(data, batch_size=8),))  # noqa: E731
    _train(LoaderArguments(), lambda loading, ctx: replace(loading, batch_size=None), build)
    assert set(shapes) == {(6,)}


def test_a_loaders_injector_can_see_the_training_data_from_the_validation_loader() -> None:
    seen = []

    def looking(loading: Any, ctx: Any) -> Any:
        seen.append((ctx.stage, len(loading.training().dataset)))
        return loading

    module, (train, _) = models.classifier()
    small = DataLoader(TensorDataset(*models._points(8)), batch_size=4)
    _train(LoaderArguments(), looking, lambda: (module, (train, small)), num_sanity_val_steps=2)
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

    done = _train(Sample(), marked, _classifier(workers=workers), then=then, limit_train_batches=4)
    assert done.activations >= 4 * 8
    assert done.armed.first_step == 0
    assert float(batches[0].abs().sum()) == 0.0


def test_the_items_of_a_stream_are_samples_too() -> None:
    done = _train(Sample(), lambda item, ctx: (item[0] + 1, item[1]), models.streaming)
    assert done.activations >= 4 * 8


def test_a_samples_step_is_the_first_that_is_fetched_from_then_on_and_only_that_one() -> None:
    done = _train(Sample(), lambda item, ctx: (item[0] + 1, item[1]), _classifier(workers=1), trigger="step=2")
    assert (done.activations, done.armed.first_step) == (1, 2)


def test_an_injector_that_fails_in_a_worker_is_told_from_a_worker_that_fails() -> None:
    def buggy(item: Any, ctx: Any) -> Any:
        raise KeyError("bug")

    armed: list[Armed] = []

    with pytest.raises(RuntimeError, match="worker"):
        _train(Sample(), buggy, _classifier(workers=1), trigger="always,stage=train", made=armed)
    assert armed[0].broken == "KeyError: 'bug'"


def test_a_worker_can_be_struck_down_and_the_blow_is_counted_before_it_falls() -> None:
    armed: list[Armed] = []

    def exits(_: Any, ctx: Any) -> None:
        os._exit(3)

    with pytest.raises(RuntimeError, match="exited unexpectedly"):
        _train(Process(worker=True), exits, _classifier(workers=1), made=armed)
    assert armed[0].activations == 1


def test_a_fault_of_the_process_is_counted_though_it_changes_no_value() -> None:
    done = _train(Process(), lambda _, ctx: None, _classifier(), trigger="step=3")
    assert (done.activations, done.armed.first_step) == (1, 3)


def test_random_numbers_can_be_seeded_before_the_module_is_built() -> None:
    def reseeded(_: Any, ctx: Any) -> None:
        torch.manual_seed(99)

    torch.manual_seed(99)
    expected, _ = models.classifier()
    done = _train(RandomState("construction"), reseeded, _classifier(), limit_train_batches=0)
    assert done.activations == 1
    assert torch.equal(done.module.net[0].weight, expected.net[0].weight)


@pytest.mark.parametrize("namespace", BOTH)
def test_what_is_logged_is_mapped_or_dropped(namespace: str) -> None:
    def changed(logged: Logged, ctx: Any) -> Logged | None:
        if logged.name == "train_loss":
            return None
        return replace(logged, value=logged.value * 0 + 7)

    done = _train(Logging(), changed, _classifier(namespace), namespace=namespace)
    assert {name: float(value) for name, value in done.trainer.callback_metrics.items()} == {"val_loss": 7.0}
    assert done.activations == 4 + 2 + 2  # training steps, sanity check, validation


def test_a_metric_that_is_not_reset_remembers_the_epochs_before() -> None:
    kept = _train(MetricReset(), lambda call, ctx: None, _classifier(), max_epochs=3)
    reset = _train(MetricReset(), lambda call, ctx: call(), _classifier(), max_epochs=3)
    assert (kept.activations > 0, reset.activations) == (True, 0)
    assert float(kept.trainer.callback_metrics["val_loss"]) > float(reset.trainer.callback_metrics["val_loss"])


def test_what_the_loggers_get_can_be_withheld(tmp_path: Path) -> None:
    logger = importlib.import_module(BOTH[0]).loggers.CSVLogger(tmp_path)
    done = _train(LoggerCall(), lambda call, ctx: None, _classifier(), logger=logger, log_every_n_steps=1)
    assert done.activations > 4
    assert not list(tmp_path.rglob("metrics.csv"))


def test_a_callbacks_hooks_are_called_around_and_the_others_are_left_alone() -> None:
    first, second = equipped.Watcher(), equipped.Watcher()
    done = _train(CallbackHook(), lambda call, ctx: None, _classifier(), callbacks=[first, second])
    assert (first.seen, second.seen > 4, done.activations) == (0, True, second.seen)
    assert "on_train_batch_end" not in vars(first)


def test_a_callbacks_injector_may_stop_the_training() -> None:
    def stopping(call: Any, ctx: Any) -> None:
        call()
        ctx.trainer.should_stop = True

    done = _train(CallbackHook("on_train_batch_end"), stopping, _classifier(), "step=1", callbacks=equipped.Watcher())
    assert (done.activations, done.trainer.global_step) == (1, 2)


@pytest.mark.parametrize("namespace", BOTH)
def test_a_checkpoints_parts_are_mapped_on_their_way(namespace: str, tmp_path: Path) -> None:
    file = tmp_path / "one.ckpt"

    def save(trainer: Any, module: Any) -> None:
        trainer.save_checkpoint(file)

    def train(part: str, injector: Callable[..., Any]) -> int:
        file.unlink(missing_ok=True)
        done = _train(Checkpoint(part), injector, _classifier(namespace), namespace=namespace, then=save)
        return int(done.activations)

    assert train("state", lambda state, ctx: {**state, "optimizer_states": []}) == 1
    assert torch.load(file, weights_only=False)["optimizer_states"] == []
    assert train("file", lambda content, ctx: content[:100]) == 1
    assert len(file.read_bytes()) == 100
    assert train("save", lambda call, ctx: None) == 1
    assert not file.exists()


def test_what_a_module_loads_can_be_changed_and_strictness_taken_off(tmp_path: Path) -> None:
    def load(trainer: Any, module: Any) -> None:
        module.load_state_dict({name: tensor * 0 for name, tensor in module.state_dict().items()})

    def renamed(restored: Any, ctx: Any) -> Any:
        return replace(restored, state={f"old.{name}": t for name, t in restored.state.items()}, strict=False)

    done = _train(Checkpoint("weights"), renamed, _classifier(), then=load)
    assert done.activations == 1
    assert float(done.module.net[0].weight.abs().sum()) > 0


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


def test_attaching_an_outer_seam_leaves_nothing_behind() -> None:
    from pytorch_lightning.trainer import call

    trainer = importlib.import_module(BOTH[0]).Trainer
    before = (trainer.__init__, call._call_callback_hooks, equipped.Configured.__init__)
    profile = TargetProfile(module="tests.zoo.equipped.Configured")
    for seam in (TrainerArguments(), CallbackHook(), ModuleArguments()):
        declared = declare(id="trial.mode", docstring="A.", no_evidence="a test", point=seam, severity="minor",
                           effect="silent", cause=("x",))  # fmt: skip
        armed = Armed(Fault("trial.mode"), Registered(declared, lambda value, ctx: value), LightningClock(), profile)
        with attach(armed, Site(type(None))):
            pass
    assert (trainer.__init__, call._call_callback_hooks, equipped.Configured.__init__) == before


def test_a_warning_that_names_the_runs_own_folder_is_the_same_warning_in_every_run() -> None:
    from faultlab.detectors.warnings_shown import Warnings

    one, other = Warnings(LightningClock(), "/tmp/lab/one"), Warnings(LightningClock(), "/tmp/lab/other")
    for warnings, folder in ((one, "/tmp/lab/one"), (other, "/tmp/lab/other")):
        warnings.note(f"UserWarning: {folder}/checkpoints is not empty")
    assert set(one.seen) == set(other.seen) == {"UserWarning: <run>/checkpoints is not empty"}


def test_hooks_that_were_set_on_a_callback_are_called_around_too() -> None:
    seen: list[int] = []
    callback = importlib.import_module(BOTH[0]).callbacks.LambdaCallback(on_train_batch_end=lambda *_: seen.append(1))
    done = _train(CallbackHook(), lambda call, ctx: None, _classifier(), callbacks=callback)
    assert (seen, done.activations) == ([], done.trainer.global_step)


def _probed(module: Any, data: tuple[Any, Any], **arguments: Any) -> TargetProfile:
    clock = LightningClock()
    trainer = importlib.import_module(BOTH[0]).Trainer(**{**TRAINER, **arguments})
    probe = Probe(Site(type(module), module), clock)
    with Patches() as patches:
        clock.attach(patches)
        with probe.watching():
            trainer.fit(module, *data)
    return probe.profile(trainer, 4, 2)


def test_callbacks_that_the_module_brings_are_out_of_reach_of_the_trainers_arguments(tmp_path: Path) -> None:
    callbacks = importlib.import_module(BOTH[0]).callbacks

    class Bringing(equipped.Configured):
        def configure_callbacks(self) -> Any:
            return [callbacks.EarlyStopping("val_loss"), callbacks.ModelCheckpoint(monitor="val_loss")]

    _, data = _configured()
    found = _probed(Bringing(), data, enable_checkpointing=True, default_root_dir=tmp_path)
    assert found.callbacks == ("EarlyStopping", "ModelCheckpoint")
    assert (found.patience, found.ranking, found.monitors) == ({}, (), {})
    for name in ("early-stopping", "patient-callback", "ranking-callback", "best-checkpoint"):
        assert "passed to the Trainer" in REQUIREMENTS[name](found)
    given = _probed(*_configured(), callbacks=[callbacks.EarlyStopping("val_loss", patience=2)])
    assert (given.patience, given.ranking) == ({"EarlyStopping": 2}, ("EarlyStopping",))


def test_a_logger_that_is_never_handed_anything_has_nothing_to_lose(tmp_path: Path) -> None:
    logger = importlib.import_module(BOTH[0]).loggers.CSVLogger(tmp_path)
    often = _probed(*_configured(), logger=logger, log_every_n_steps=1)
    assert (often.last_logged, LoggerCall().inapplicable(often)) == (3, "")
    seldom = _probed(*_configured(), logger=logger, log_every_n_steps=100, limit_val_batches=0)
    assert seldom.last_logged is None
    assert "reaches the logger" in LoggerCall().inapplicable(seldom)


def test_without_an_optimizer_checkpoints_hold_no_state_of_one_and_the_same_weights() -> None:
    class Untrained(equipped.Configured):
        def configure_optimizers(self) -> Any:
            return None

    _, data = _configured()
    found = _probed(Untrained(), data)
    for name in ("optimizer", "later-save"):
        assert "there is no optimizer" in REQUIREMENTS[name](found)
