"""watch: guards in any loop over any module."""

from __future__ import annotations

import contextlib
import copy
import io
import itertools
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from faultlab import guards
from faultlab.guards import Alarm, watch
from faultlab.guards.watching import Watching
from tests.frameworks import hand_written
from tests.guards.test_attached import ByHand, loop

FORMS = ["main", "with_closure", "accumulating", "without_loader", "one_function_for_both", "streaming"]


@contextlib.contextmanager
def followed(**options: Any) -> Iterator[list[Watching]]:
    """Watch every loop of `hand_written` from where it has made its optimizer until the end of the block."""
    found: list[Watching] = []
    modules: list[nn.Module] = []
    loaders: list[Any] = []
    construct, training = torch.optim.Optimizer.__init__, hand_written._training

    class Net(hand_written.Net):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            modules.append(self)

    def making(optimizer: Any, *args: Any, **kwargs: Any) -> None:
        construct(optimizer, *args, **kwargs)
        given = dict(options)
        if given.pop("with_loader", False) and loaders:
            given["loader"] = loaders[-1]
        found.append(watch(modules[-1], optimizer, **given))

    def loading(*args: Any) -> Any:
        loaders.append(training(*args))
        return loaders[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hand_written, "Net", Net)
        patch.setattr(hand_written, "_training", loading)
        patch.setattr(torch.optim.Optimizer, "__init__", making)
        try:
            yield found
        except BaseException as error:
            for one in found:
                one.__exit__(type(error), error, None)
            raise
        for one in found:
            one.detach()


def weights(form: str, seed: int, **options: Any) -> tuple[Any, list[Watching]]:
    """Return what a loop leaves: the weights of its modules, and the state of the random numbers."""
    made: list[nn.Module] = []
    with pytest.MonkeyPatch.context() as patch, contextlib.ExitStack() as stack:
        own = hand_written.Net.__init__
        patch.setattr(hand_written.Net, "__init__", lambda self, *args: (own(self, *args), made.append(self))[0])
        found = stack.enter_context(followed(**options)) if options else []
        torch.manual_seed(seed)
        getattr(hand_written, form)()
    state = [{**module.state_dict()} for module in made]
    return [torch.get_rng_state(), *(value for one in state for value in one.values())], found


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("with_loader", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_a_clean_loop_is_allowed_and_not_changed_by_a_bit(
    form: str, with_loader: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards.Guard, "own_errors", "raise")
    for seed in range(3):
        plain, _ = weights(form, seed)
        watched, (watching,) = weights(form, seed, level="full", with_loader=with_loader)
        assert len(plain) == len(watched)
        assert all(map(torch.equal, plain, watched))
        assert watching.trainer.global_step > 0


class _Unchecked:
    """Torch for a loop whose own check of the loss is switched off."""

    def __getattr__(self, name: str) -> Any:
        return (lambda *_: True) if name == "isfinite" else getattr(torch, name)


@pytest.mark.parametrize("with_loader", [False, True])
def test_a_loss_that_is_nan_is_detected_in_its_step(with_loader: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    own = hand_written.train_step

    def train_step(model: nn.Module, batch: Any) -> torch.Tensor:
        steps.append(len(steps))
        return own(model, batch) * (float("nan") if steps[-1] == 8 else 1.0)

    monkeypatch.setattr(hand_written, "torch", _Unchecked())
    monkeypatch.setattr(hand_written, "train_step", train_step)
    with pytest.raises(Alarm, match="LossContract: the loss is nan"), followed(with_loader=with_loader):
        hand_written.main()
    assert steps == [*range(9)]


def run(fault: str = "", **options: Any) -> Watching:
    """Train a loop with a fault under watch."""
    torch.manual_seed(0)
    model, loader = hand_written.Net(), hand_written._training()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    scaler = torch.amp.GradScaler("cpu", enabled=fault == "scaled")
    with watch(model, optimizer, loader=loader if options.pop("with_loader", True) else None, **options) as watching:
        for _ in range(3):
            model.train(fault != "eval")
            for number, (points, labels) in enumerate(loader):
                loss = F.cross_entropy(model(points), labels)
                if fault != "not-cleared":
                    optimizer.zero_grad()
                scaler.scale(loss).backward()
                if fault == "scaled" and number == 3:
                    model.head.weight.grad.fill_(torch.inf)
                if fault != "no-step" and not (fault == "skipped" and number == 7):
                    scaler.step(optimizer)
                    scaler.update()
                if fault == "twice":
                    optimizer.step()
            evaluation(model)
    return watching


def evaluation(model: nn.Module) -> None:
    """Evaluate as careless users do: with gradients, and in eval mode."""
    model.eval()
    for points, _ in hand_written._held_out():
        model(points)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("eval", "Modes: training starts with the module in eval mode"),
        ("not-cleared", "GradientsCleared: Adam is about to step on gradients that were not cleared"),
        ("no-step", "StepsTaken: batch .* ended without an optimizer step, as the 15 before it did"),
        ("skipped", "StepsTaken: batch 7 ended without an optimizer step"),
        ("twice", "StepsTaken: Adam took a second step"),
    ],
)
def test_faults_of_a_loop_are_detected(fault: str, message: str) -> None:
    with pytest.raises(Alarm, match=message):
        run(fault, guards=guards.all(leave_out=["Gradients"]))


@pytest.mark.parametrize("with_loader", [False, True])
def test_steps_that_a_gradient_scaler_skips_are_allowed(with_loader: bool) -> None:
    watching = run("scaled", with_loader=with_loader)
    assert watching.trainer.is_scaled
    assert watching.trainer.global_step == 27


def test_guards_that_need_what_a_loop_does_not_show_report_it() -> None:
    told = run(with_loader=False).report()
    assert "Labels looked 0 times, and skipped looks: the training loader is not known" in told
    assert "LoggedMetrics looked 0 times, and skipped looks: the loop shows no metrics" in told
    assert "Labels" not in run().report()


def test_validation_is_judged_if_its_loader_is_given() -> None:
    model, loader = hand_written.Net(), hand_written._held_out()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def loop() -> None:
        with watch(model, optimizer, validation=loader):
            for points, labels in hand_written._training():
                F.cross_entropy(model(points), labels).backward()
                optimizer.step()
                optimizer.zero_grad()
            with torch.no_grad():
                for points, _ in loader:
                    model(points)

    with pytest.raises(Alarm, match="DropoutAlive: dropout in drop drops values in validation"):
        loop()


def test_batches_in_a_list_are_not_observed_and_its_guards_report_it() -> None:
    model, batches = hand_written.Net(), [*hand_written._training()]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer, loader=batches) as watching:
        for points, labels in batches:
            F.cross_entropy(model(points), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
    assert "BatchSchema looked 0 times, and skipped looks: the training loader is not known" in watching.report()


@pytest.mark.parametrize("ends", ["well", "by an exception", "by detach"])
def test_nothing_is_left_behind(ends: str) -> None:
    model, loader = hand_written.Net(), hand_written._training()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def state() -> Any:
        scaler = torch.amp.GradScaler
        places = (torch.autograd.backward, torch.Tensor.backward, type(loader).__iter__, scaler.step, scaler.scale)
        parts = [{name: copy.copy(value) for name, value in vars(part).items()} for part in model.modules()]
        hooks = (len(optimizer._optimizer_step_pre_hooks), len(optimizer._optimizer_step_post_hooks))
        return places, parts, hooks, dict(vars(loader))

    before = state()
    watching = watch(model, optimizer, loader=loader, level="full")
    assert state() != before
    with contextlib.suppress(KeyError), watching if ends != "by detach" else contextlib.nullcontext():
        for points, labels in loader:
            F.cross_entropy(model(points), labels).backward()
            torch.save(model, io.BytesIO())
            copy.deepcopy(model)(points)
            optimizer.step()
            optimizer.zero_grad()
            if ends == "by an exception":
                raise KeyError
    watching.detach()
    after = state()
    assert (after[0], after[2], after[3]) == (before[0], before[2], before[3])
    for part, own in zip(after[1], before[1]):
        assert {name for name in part if name.endswith("_hooks") and part[name]} == set()
        assert part.keys() == own.keys()


class Late(guards.Guard):
    """Raises an alarm at the end, before the guards that follow it are called."""

    checks: ClassVar = {"late": "the training has ended"}

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        self.alarm("late", "the training has ended", "Go on.")


def watched(late: list[Any]) -> None:
    model, loader = hand_written.Net(), hand_written._training()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer, guards=late, loader=loader):
        for points, labels in loader:
            F.cross_entropy(model(points), labels).backward()
            optimizer.step()


def attached(late: list[Any]) -> None:
    loop(ByHand(), late)


def transformers(late: list[Any]) -> None:
    pytest.importorskip("transformers")
    from tests.frameworks import hf_written

    hf_written.trainer([guards.hf(late)]).train()


@pytest.mark.parametrize("train", [watched, attached, transformers])
def test_an_alarm_at_the_end_leaves_nothing_behind(train: Callable[[list[Any]], None]) -> None:
    def places() -> Any:
        return torch.nn.utils.clip_grad_value_, torch.nn.utils.clip_grad._clip_grads_with_norm_

    before = places()
    with pytest.raises(Alarm, match="the training has ended"):
        train([Late(), seen := guards.ClippingActs()])
    assert not seen._undo
    assert places() == before


def test_two_watches_at_once_do_not_disturb_each_other() -> None:
    original = torch.autograd.backward
    with torch.random.fork_rng():
        one, other = run(), run()
    assert one.trainer.global_step == other.trainer.global_step == 30
    models = [hand_written.Net(), hand_written.Net()]
    optimizers = [torch.optim.SGD(model.parameters(), lr=0.1) for model in models]
    loader = hand_written._training()
    first, second = (watch(model, optimizer, loader=loader) for model, optimizer in zip(models, optimizers))
    for points, labels in loader:
        for model, optimizer in zip(models, optimizers):
            optimizer.zero_grad()
            F.cross_entropy(model(points), labels).backward()
            optimizer.step()
    first.detach()
    assert torch.autograd.backward is not original
    second.detach()
    assert torch.autograd.backward is original
    assert (first.trainer.global_step, second.trainer.global_step) == (10, 10)


def test_what_is_not_a_module_or_an_optimizer_is_refused() -> None:
    model = hand_written.Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(TypeError, match="invalid model of type function: expected"):
        watch(lambda points: points, optimizer)
    with pytest.raises(TypeError, match="invalid optimizer of type Tensor: expected"):
        watch(model, [torch.zeros(1)])  # type: ignore[list-item]


def test_a_loader_that_is_named_for_validation_too_is_taken_for_the_training() -> None:
    model, loader = hand_written.Net(), hand_written._training()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with watch(model, optimizer, loader=loader, validation=loader):
        for points, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(points), labels).backward()
            optimizer.step()


def _counting(loader: Any, steps: int) -> None:
    """Train until the steps are taken, whatever is left of the last epoch."""
    model = hand_written.Net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    taken = 0
    with watch(model, optimizer, loader=loader):
        while taken < steps:
            for points, labels in loader:
                optimizer.zero_grad()
                F.cross_entropy(model(points), labels).backward()
                optimizer.step()
                taken += 1
                if taken == steps:
                    break


def test_a_loop_that_leaves_its_last_epoch_when_it_has_its_steps_is_allowed() -> None:
    _counting(hand_written._training(), 23)


@pytest.mark.parametrize(("ahead", "expected"), [(1, [0, 1, 2, 3]), (3, [2, 3])], ids=["none", "in groups"])
def test_the_last_batches_that_were_fetched_ahead_are_trained_on_after_the_loader_has_ended(
    ahead: int, expected: list[int]
) -> None:
    seen: list[int] = []

    class Seen(guards.Guard):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            seen.append(batch_idx)

    whole = hand_written._training()
    loader = torch.utils.data.DataLoader(torch.utils.data.Subset(whole.dataset, range(64)), 16, shuffle=True)
    model = hand_written.Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    with watch(model, optimizer, loader=loader, guards=[Seen(), *guards.all("full")]):
        for _ in range(12):
            batches = iter(loader)
            while group := list(itertools.islice(batches, ahead)):
                optimizer.zero_grad()
                for points, labels in group:
                    (F.cross_entropy(model(points), labels) / len(group)).backward()
                optimizer.step()
    assert seen == expected * 12


class _Failing(torch.utils.data.DataLoader[Any]):
    """A loader that ends early from its third epoch on."""

    epochs = 0

    def __iter__(self) -> Any:
        self.epochs += 1
        batches = super().__iter__()
        return batches if self.epochs < 3 else (batch for batch, _ in zip(batches, range(3)))


def test_a_loader_that_ends_early_is_detected_all_the_same() -> None:
    whole = hand_written._training()
    with pytest.raises(Alarm, match="LoaderDelivers: epoch 2 had 3"):
        _counting(_Failing(whole.dataset, 16, shuffle=True), 40)


def test_modes_are_those_of_the_batch_although_the_validation_has_begun() -> None:
    seen: list[tuple[bool, bool]] = []

    class Seen(guards.Guard):
        def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
            seen.append((pl_module.training, pl_module.drop.training))

    model, loader = hand_written.Net(), hand_written._training()
    model.drop.eval()
    optimizer = torch.optim.Adam(model.parameters())
    with watch(model, optimizer, loader=loader, guards=Seen()):
        for points, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(points), labels).backward()
            optimizer.step()
            model.eval()
            model.train()
            model.drop.eval()
        model.eval()
    assert set(seen) == {(True, False)}
    assert not model.training
