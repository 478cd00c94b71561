"""What the doctor says of rates, updates, frozen weights and loaded ones, by what was seen; with quiet twins."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from faultlab.doctor import anatomy, switches, updates
from faultlab.doctor.ending import meaning
from faultlab.doctor.finding import ATTENTION, OK
from faultlab.doctor.idle import IDLE
from faultlab.doctor.loaded import LOADED
from faultlab.doctor.rates import RATES
from faultlab.doctor.sources import class_facts
from faultlab.doctor.still import WEIGHTS
from faultlab.frameworks.lightning import loaded_weights

_SCHEDULE = [{"name": "LambdaLR"}]


def _told(**seen: Any) -> list[str]:
    return [found.what for found in RATES.run({"trainer": {}, **seen})]


def test_groups_that_a_schedule_makes_alike_are_told_and_rates_for_each_are_not() -> None:
    def groups(bases: list[float]) -> list[str]:
        return _told(schedulers=_SCHEDULE, groups=[{"name": "SGD", "asked": [1e-3, 1e-2], "bases": bases}])

    assert ["the same learning rate, 0.01" in what for what in groups([1e-2, 1e-2])] == [True]
    assert groups([1e-3, 1e-2]) == []


def test_rates_of_groups_are_read_whether_they_are_tensors_or_not() -> None:
    optimizers = [torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=rate) for rate in (0.5, torch.tensor(0.5))]
    groups = updates.Updates({}).groups(SimpleNamespace(optimizers=optimizers))
    assert [group["bases"] for group in groups] == [[0.5], [0.5]]


def test_a_first_epoch_at_rate_0_is_told_and_a_first_step_is_not() -> None:
    def starting(step: int) -> list[str]:
        return _told(rates=[(0, 0.0), (step, 0.1)], epochs=[{"delivered": 16}], schedulers=_SCHEDULE)

    assert ["whole first epoch" in what for what in starting(16)] == [True]
    assert starting(1) == []


def test_max_steps_that_two_optimizers_use_up_is_told_and_one_optimizers_is_not() -> None:
    def counted(steps: int, batches: int) -> list[str]:
        seen = {"trainer": {"max_steps": 48}, "parameters": {"optimizers": ["SGD", "SGD"]}, "automatic": False}
        return _told(**seen, optimizer_steps=steps, batches=batches)

    assert ["ends after 24 batches" in what for what in counted(48, 24)] == [True]
    assert counted(48, 48) == []


@pytest.mark.parametrize(
    "otherwise",
    [
        {"scaled": True},
        {"used": 4},
        {"optimizers": ["AdamW"]},
    ],
    ids=["divided", "each batch", "any length is alike"],
)
def test_gradients_that_are_summed_up_by_hand_are_told_unless(otherwise: dict[str, Any]) -> None:
    def summed(scaled: bool = False, used: int = 128, optimizers: tuple[str, ...] = ("SGD",)) -> list[str]:
        did = {"backwards": used, "used": used, "steps": 4, "scaled": scaled}
        return _told(automatic=False, updates=did, batches=128, parameters={"optimizers": optimizers})

    assert ["of 32 batches" in what for what in summed()] == [True]
    assert summed(**otherwise) == []


def test_a_factor_is_seen_below_what_is_added_to_the_loss() -> None:
    weight = nn.Linear(2, 1)
    loss = weight(torch.ones(1, 2)).sum()
    seen: dict[str, Any] = {}
    watched = updates.Updates(seen)
    watched.hook("on_before_backward", (loss,))
    assert not seen["updates"]["scaled"]
    watched.hook("on_before_backward", (loss / 4 + weight.bias.sum(),))
    assert seen["updates"]["scaled"]


def test_weights_in_bfloat16_lose_short_steps_and_keep_long_ones() -> None:
    def lost(rate: float, precision: str | None) -> float | None:
        weight = nn.Parameter(torch.full((8,), 0.5))
        trainer = SimpleNamespace(optimizers=[torch.optim.AdamW([weight], lr=rate)])
        found = updates.rounded_away(trainer, precision)
        return found and found["share"]

    assert lost(1e-4, "bf16-true") == 1.0
    assert lost(1e-2, "bf16-true") == 0.0
    assert lost(1e-4, "bf16-mixed") is None


def test_a_switch_that_freezes_nothing_is_found_on_weights_and_layers() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    net[0].weight.no_weight_decay = False
    assert switches.unread(net) == []
    net[0].weight.require_grad = False
    net[1].requires_grad = False
    assert [(one["on"], one["name"], one["of"]) for one in switches.unread(net)] == [
        ("0.weight", "require_grad", "weight"),
        ("1", "requires_grad", "layer"),
    ]
    net.requires_grad_(False)
    assert switches.unread(net) == []


def test_weights_of_which_none_matches_are_told_with_the_prefix_and_a_missing_head_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loaded_weights, "found", [])
    net = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    body = {name: value for name, value in net.state_dict().items() if name.startswith("0.")}
    with loaded_weights.watched():
        net.load_state_dict(body, strict=False)
        assert LOADED.run({"weights_loaded": loaded_weights.found}) == []
        net.load_state_dict({f"model.{name}": value for name, value in body.items()}, strict=False)
    (found,) = LOADED.run({"weights_loaded": loaded_weights.found})
    assert "removeprefix('model.')" in found.remedy
    assert Path(__file__).name in found.evidence


def test_another_rate_in_the_checkpoint_is_told_and_the_same_is_not() -> None:
    seen = {"groups": [{"asked": [1e-3]}], "resumes": {"path": "last.ckpt", "rates": [1e-1]}}
    assert ["0.001, is not used" in found.what for found in LOADED.run(seen)] == [True]
    assert LOADED.run({**seen, "resumes": {"path": "last.ckpt", "rates": [1e-3]}}) == []


def test_averaging_that_takes_the_loss_up_again_is_told_and_one_that_does_not_is_let_be() -> None:
    def averaged(later: float, rate: float = 0.05) -> list[str]:
        given = {"averaging": [{"name": "SWA", "epoch": 2, "rate": rate}]}
        losses = [1.0] * 8 + [0.1] * 4 + [later] * 4
        return _told(attendants=given, plan={"batches": 4}, losses=losses, rates=[(0, 0.1), (4, 1e-4), (8, rate)])

    assert ["the loss rises" in what for what in averaged(9.0)] == [True]
    assert averaged(0.05) == []
    assert averaged(9.0, 2e-4) == []


_LOGS = """
class Net(LightningModule):
    def validation_step(self, batch):
        self.logger.log_metrics({"val_loss": 1.0})
        self.log("val_acc", 1.0)
"""


@pytest.mark.parametrize(("key", "past"), [("val_loss", True), ("val_acc", False)])
def test_a_metric_that_only_the_logger_gets_is_told_from_one_that_nobody_logs(key: str, past: bool) -> None:
    seen = {"facts": class_facts(_LOGS, "Net", ["validation_step"])}
    message = f"RuntimeError: Early stopping conditioned on metric `{key}` which is not available. Pass in: ``"
    found = meaning(seen, {"message": message})
    assert ("self.logger.log_metrics" in found.cause) is past


def _idle(**attendants: Any) -> list[str]:
    plan = {"batches": 16, "val_every": 2, "epochs": 5}
    return [found.what for found in IDLE.run({"plan": plan, "attendants": attendants, "real_validation_batches": 1})]


@pytest.mark.parametrize(
    ("key", "mode", "told"),
    [
        ("val_accuracy", "min", True),
        ("val_accuracy", "max", False),
        ("val/loss", "max", True),
        ("val/loss", "min", False),
        ("val_reward", "min", False),
        ("f1_loss", "min", False),
    ],
)
def test_a_monitor_that_looks_the_wrong_way_is_told_and_names_that_say_nothing_are_let_be(
    key: str, mode: str, told: bool
) -> None:
    said = _idle(monitors=[{"name": "EarlyStopping", "key": key, "mode": mode}])
    assert any("as better" in what for what in said) is told


@pytest.mark.parametrize(("checks", "told"), [(3, True), (8, False)])
def test_patience_that_ends_within_an_epoch_is_told(checks: int, told: bool) -> None:
    said = _idle(patience=[{"name": "EarlyStopping", "checks": checks}])
    assert any("within an epoch" in what for what in said) is told


@pytest.mark.parametrize(("logged", "told"), [([], True), (["val_loss"], False)])
def test_a_callback_that_waits_for_what_nobody_logs_is_told(logged: list[str], told: bool) -> None:
    monitors = [{"name": "EarlyStopping", "key": "val_loss", "mode": "min"}]
    seen = {"attendants": {"monitors": monitors}, "monitored": logged, "real_validation_batches": 1}
    assert any("which no step logs" in found.what for found in IDLE.run(seen)) is told


class _Part(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), nn.Dropout())


class _Kept(_Part):
    def train(self, mode: bool = True) -> _Kept:
        return super().train(False)


def test_layers_that_train_in_evaluation_mode_are_found_unless_they_are_frozen_or_kept_there() -> None:
    def resting(part: nn.Module) -> list[str]:
        return anatomy.resting_layers(nn.ModuleDict({"encoder": part}))

    assert resting(_Part().eval()) == ["encoder.layers.1", "encoder.layers.2"]
    assert resting(_Part()) == []
    assert resting(_Part().eval().requires_grad_(False)) == []
    assert resting(_Kept().eval()) == []


def test_weights_that_stand_still_for_several_reasons_are_told_apart() -> None:
    found = {"changed": ["a"], "still": ["b", "c", "d"], "frozen": ["b"], "left_out": ["c"], "optimizers": ["SGD"]}
    seen = {"parameters": {**found, "resting": [], "largest_rate": 0.1}, "step": {"place": ""}}
    said = [one.what for one in WEIGHTS.run(seen)]
    assert ["requires_grad is False" in what for what in said] == [True, False, False]
    assert ["no optimizer has them" in what for what in said] == [False, True, False]


def test_a_frozen_part_in_eval_mode_is_meant_to_stay_as_it_is() -> None:
    module = nn.ModuleDict({"teacher": nn.Linear(1, 1).eval().requires_grad_(False), "student": nn.Linear(1, 1)})
    before = {name: value.detach().clone() for name, value in module.named_parameters()}
    nn.init.zeros_(module["student"].weight)
    nn.init.ones_(module["student"].bias)

    def verdicts() -> list[str]:
        return [one.verdict for one in WEIGHTS.run({"parameters": anatomy.parameters(module, before, _Idle())})]

    assert verdicts() == [OK]
    module["teacher"].train()
    assert verdicts() == [ATTENTION], "it may be frozen by mistake"


class _Idle:
    optimizers = (torch.optim.SGD([torch.zeros(1)], lr=0.1),)


def test_weights_that_no_graph_leads_to_are_told_with_what_cuts_them_off() -> None:
    def why(unreached: list[str]) -> str:
        found = {"changed": ["head"], "still": ["body"], "frozen": [], "left_out": [], "optimizers": ["SGD"]}
        files = {"cuts": [{"what": "no_grad", "line": 7}]}
        parameters = {**found, "resting": [], "largest_rate": 0.1}
        seen = {"parameters": parameters, "step": {"place": ""}, "files": files}
        (said,) = WEIGHTS.run(
            {**seen, "graph": [{"strangers": [], "loose": 0, "reached": 1, "made": False, "unreached": unreached}]}
        )
        return said.what

    assert "no graph leads from the loss to them (no_grad in line 7)" in why(["body"])
    assert "no graph" not in why([])
