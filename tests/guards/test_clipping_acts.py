"""ClippingActs: what it detects, and what it allows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch.nn import functional as F
from torch.nn.utils import clip_grad_norm_
from torch.nn.utils.clip_grad import _clip_grads_with_norm_
from torch.utils.data import DataLoader

from faultlab.guards import Alarm, ClippingActs, watch
from tests.guards.rig import Healthy, alarm_of, fit, points

Clip = Callable[[Any], None]
LIMIT = 0.05


def nothing(model: Any) -> None:
    pass


def to_norm(model: Any) -> None:
    clip_grad_norm_(model.parameters(), LIMIT)


def to_value(model: Any) -> None:
    torch.nn.utils.clip_grad_value_(model.parameters(), 0.01)


def of_nothing(model: Any) -> None:
    used = model.parameters()
    list(used)
    torch.nn.utils.clip_grad_norm_(used, LIMIT)


def doubled(model: Any) -> None:
    to_norm(model)
    for parameter in model.parameters():
        parameter.grad.mul_(2)


def to_largest(model: Any) -> None:
    torch.nn.utils.clip_grad_norm_(model.parameters(), LIMIT, norm_type=float("inf"))


def loosely(model: Any) -> None:
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1e6)


def of_the_head(model: Any) -> None:
    torch.nn.utils.clip_grad_norm_(model.head.parameters(), LIMIT)


def check_of(before: Clip = nothing, after: Clip = nothing, divided: int = 1) -> str:
    """Train in a loop that clips before the backward passes or after them; return the check that fails, if any."""
    torch.manual_seed(0)
    model, loader = Healthy(), DataLoader(points(), batch_size=16)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    try:
        with watch(model, optimizer, guards=ClippingActs(), loader=loader, accumulate_grad_batches=divided):
            for number, (inputs, labels) in enumerate(loader, start=1):
                if divided == 1:
                    optimizer.zero_grad()
                before(model)
                (F.cross_entropy(model(inputs), labels) / divided).backward()
                after(model)
                if number % divided == 0:
                    optimizer.step()
                    optimizer.zero_grad()
    except Alarm as alarm:
        return alarm.check
    return ""


@pytest.mark.filterwarnings("ignore:`parameters` is an empty generator")
@pytest.mark.parametrize(
    ("check", "clips"),
    [
        ("before-backward", {"before": to_norm}),
        ("of-nothing", {"after": of_nothing}),
        ("undone", {"after": doubled}),
    ],
)
def test_clipping_without_effect_is_detected(check: str, clips: dict[str, Clip]) -> None:
    assert check_of(**clips) == check


@pytest.mark.parametrize("clip", [nothing, to_norm, to_value, to_largest, loosely, of_the_head])
def test_clipping_that_acts_is_allowed(clip: Clip) -> None:
    assert check_of(after=clip) == ""
    assert check_of(after=clip, divided=2) == ""


def test_clipping_in_a_training_step_of_lightning_is_detected_and_in_its_hook_allowed() -> None:
    class Early(Healthy):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            to_norm(self)
            return super().training_step(batch, batch_idx)

    class Timely(Healthy):
        def configure_gradient_clipping(self, *args: Any, **kwargs: Any) -> None:
            to_norm(self)

    alarm = alarm_of(ClippingActs(), Early())
    assert alarm is not None
    assert alarm.check == "before-backward"
    fit(guard := ClippingActs(), Timely())
    assert guard.looked
    fit(guard, gradient_clip_val=LIMIT)
    assert guard.looked


def test_everything_that_was_replaced_is_restored() -> None:
    before = torch.nn.utils.clip_grad_value_, torch.nn.utils.clip_grad._clip_grads_with_norm_
    module = Healthy()
    fit(ClippingActs(), module)
    assert (torch.nn.utils.clip_grad_value_, torch.nn.utils.clip_grad._clip_grads_with_norm_) == before
    assert torch.nn.utils.clip_grad._clip_grads_with_norm_ is _clip_grads_with_norm_
    assert not module.trainer.optimizers[0]._optimizer_step_post_hooks


def with_the_optimizer(**settings: Any) -> ClippingActs:
    torch.manual_seed(0)
    model, loader = Healthy(), DataLoader(points(), batch_size=16)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, **settings)
    with watch(model, optimizer, guards=(guard := ClippingActs()), loader=loader):
        for inputs, labels in loader:
            optimizer.zero_grad()
            F.cross_entropy(model(inputs), labels).backward()
            to_norm(model)
            optimizer.step()
    return guard


def test_nesterov_momentum_that_is_added_to_the_gradients_is_allowed() -> None:
    assert with_the_optimizer(nesterov=True, foreach=False).looked
    guard = with_the_optimizer(nesterov=True, foreach=True)
    assert not guard.looked
    assert guard.skipped == {"the optimizer adds its momentum to the gradients": 1}
    assert with_the_optimizer(foreach=True).looked


def test_a_group_of_parameters_that_is_empty_has_no_limit() -> None:
    def by_group(model: Any) -> None:
        clip_grad_norm_(model.parameters(), 1.0)
        clip_grad_norm_([p for name, p in model.named_parameters() if "norm" in name], 0.001)

    assert check_of(after=by_group) == ""


@pytest.mark.parametrize("shared", [True, False])
def test_what_is_clipped_for_the_step_of_one_optimizer_does_not_limit_that_of_another(shared: bool) -> None:
    body, first, second = torch.nn.Linear(4, 8), torch.nn.Linear(8, 2), torch.nn.Linear(8, 2)
    one = torch.optim.Adam([*body.parameters(), *first.parameters()])
    another = torch.optim.Adam([*(body.parameters() if shared else ()), *second.parameters()])
    clipped = [*body.parameters(), *([] if shared else [*first.parameters(), *second.parameters()])]
    loader = DataLoader(points(), batch_size=16)
    with watch([body, first, second], [one, another], guards=(guard := ClippingActs()), loader=loader):
        for inputs, labels in loader:
            for optimizer, head in ((one, first), (another, second)):
                one.zero_grad()
                another.zero_grad()
                F.cross_entropy(head(body(inputs)), labels).backward()
                if optimizer is one:
                    clip_grad_norm_(clipped, 0.001)
                optimizer.step()
    assert guard.looked
