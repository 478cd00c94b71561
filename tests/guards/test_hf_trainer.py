"""hf: guards as a callback of the Trainer of transformers."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from faultlab import guards
from faultlab.guards import Alarm
from faultlab.guards.support import backward_calls
from tests import warm

# Collected without it too: the page of the nightly ring is the same everywhere.
INSTALLED = importlib.util.find_spec("transformers") is not None
pytestmark = pytest.mark.skipif(not INSTALLED, reason="the extra `hf` is not installed")
if INSTALLED:
    from tests.frameworks import hf_written


def trained(callbacks: Any = (), spoilt: int = -1, **options: Any) -> Any:
    """Return the Trainer after its training, in which one call of compute_loss gives NaN."""
    torch.manual_seed(0)
    made = hf_written.trainer(callbacks, **options)
    compute, calls = made.compute_loss, iter(range(1000))

    def computing(model: Any, *args: Any, **kwargs: Any) -> Any:
        loss = compute(model, *args, **kwargs)
        return loss * torch.nan if model.training and next(calls) == spoilt else loss

    made.compute_loss = computing
    made.train()
    return made


def weights(made: Any) -> torch.Tensor:
    return torch.cat([parameter.flatten() for parameter in made.model.parameters()])


@pytest.mark.parametrize("accumulated", [1, 4])
def test_a_loss_that_is_nan_is_detected_in_its_step_although_the_trainer_hides_it(accumulated: int) -> None:
    with pytest.raises(Alarm, match="LossContract: the loss is nan, which is not finite, at step") as caught:
        trained([guards.hf()], spoilt=5, gradient_accumulation_steps=accumulated)
    assert f"at step {5 // accumulated}." in str(caught.value)
    assert backward_calls.CALLS.observers == []


@pytest.mark.filterwarnings("error::faultlab.guards.guard.GuardWarning")
@pytest.mark.parametrize("options", [{}, {"gradient_accumulation_steps": 4, "eval_strategy": "no"}])
def test_a_clean_training_is_allowed_and_not_changed_by_a_bit(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards.Guard, "own_errors", "raise")
    watching = guards.hf(level="full")
    assert torch.equal(weights(trained([watching], **options)), weights(trained(**options)))
    assert backward_calls.CALLS.observers == []
    assert "LoggedMetrics looked 0 times" in watching.report()
    looked = {type(guard).__name__ for guard in watching.guards if guard.looked}
    assert {"BackwardFaithful", "Gradients", "ParametersMove", "WeightsIntact"} <= looked


def test_a_guard_may_be_given_alone_and_only_warn() -> None:
    with pytest.warns(guards.guard.GuardWarning, match="LossContract: the loss is nan"):
        made = trained([guards.hf(guards.LossContract(action="warn"))], spoilt=2)
    assert made.state.global_step == 16


def test_a_callback_may_stop_the_training_within_an_epoch() -> None:
    from transformers import TrainerCallback

    class Enough(TrainerCallback):  # type: ignore[misc]
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            control.should_training_stop = state.global_step == 11

    made = trained([guards.hf(), Enough()], max_steps=16)
    assert made.state.global_step == 11


def test_a_training_that_is_repeated_is_watched_again() -> None:
    made = trained([guards.hf()], spoilt=20)
    assert made.state.global_step == 16
    with pytest.raises(Alarm, match="the loss is nan, which is not finite, at step 4"):
        made.train()
    assert backward_calls.CALLS.observers == []


@pytest.mark.filterwarnings("error::faultlab.guards.guard.GuardWarning")
def test_a_training_that_resumes_has_fewer_epochs_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    trained(save_strategy="epoch", num_train_epochs=1)
    torch.manual_seed(0)
    watching = guards.hf()
    made = hf_written.trainer([watching], save_strategy="epoch", num_train_epochs=3)
    made.train(resume_from_checkpoint=True)
    assert made.state.global_step == 24
    assert any(guard.looked for guard in watching.guards)


@pytest.mark.nightly(reason="a fresh interpreter; the quick ring reads what the source imports")
def test_guards_are_imported_without_transformers() -> None:
    code = """
import sys
import pytorch_lightning  # whose metrics import transformers, if they find it
sys.modules["transformers"] = None
from faultlab import guards
try:
    guards.hf()
except ModuleNotFoundError as error:
    print(error.name)
"""
    with warm.FRESH([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        assert process.communicate()[0].strip() == "transformers"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system can't fork")
def test_an_alarm_on_one_of_several_ranks_ends_all_and_those_of_ranks_look() -> None:
    import torch.distributed as dist

    from tests.guards.gang import gang

    def work(spoilt: int) -> tuple[list[str], int]:
        chosen = [guards.LossContract(), guards.RanksAgree()]
        try:
            trained([guards.hf(chosen)], spoilt=spoilt if dist.get_rank() else -1)
        except Alarm as alarm:
            return [alarm.guard, *map(str, alarm.ranks)], chosen[1].looked
        return [], chosen[1].looked

    for said, looked in gang(lambda: work(-1)):
        assert said == []
        assert looked > 3
    for said, looked in gang(lambda: work(3)):
        assert said == ["LossContract", "1"]
        assert looked >= 3
