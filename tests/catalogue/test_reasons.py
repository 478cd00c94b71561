"""The reasons why failure modes do not apply, in the words of the framework that trains."""

from __future__ import annotations

import re

import pytest

from faultlab.catalogue import index
from faultlab.catalogue.requirements import inapplicable
from faultlab.core.target_profile import TargetProfile
from faultlab.injection.hooks import offered

LIGHTNINGS = re.compile(
    r"Trainer|LightningModule|training_step|validation_step|configure_optimizers|_dataloader|on_train|`framework:"
    r"|the module (logs|optimizes|steps)|is never called"
)
ONLY = ("only Lightning", "only modules of Lightning")


def loop(**known: object) -> TargetProfile:
    return TargetProfile(framework="torch", seams=offered("torch"), saved=(), **known)  # type: ignore[arg-type]


KNOWN = {
    "nothing": loop(),
    "a step": loop(steps=16, epochs=2, losses=16, forward="", hooks=("training_step", "Optimizer.step"), updates=16),
    "a step that calls backward": loop(automatic=False, schedulers=("StepLR",), optimizers=("SGD",), losses=1),
}


@pytest.mark.parametrize("known", KNOWN)
def test_of_a_loop_they_have_no_word_of_lightnings_without_saying_so(known: str) -> None:
    reasons = {id: inapplicable(mode, KNOWN[known]) for id, mode in index.modes().items()}
    assert {id: one for id, one in reasons.items() if LIGHTNINGS.search(one) and not one.startswith(ONLY)} == {}
    assert reasons["setting.epochs-zero"] == "only Lightning has a Trainer with these arguments"
    assert reasons["step.skips-epoch"] == "only modules of Lightning have the hook on_train_batch_start"
    assert reasons["callback.raises"] == "the training calls no callback of yours"


def test_of_a_module_they_name_what_it_lacks() -> None:
    profile = TargetProfile(framework="lightning", seams=offered("lightning"))
    reasons = {id: inapplicable(mode, profile) for id, mode in index.modes().items()}
    assert reasons["step.skips-epoch"] == "on_train_batch_start is never called in the clean run"
    assert reasons["optimizer.none"] == "configure_optimizers returns no optimizer"


def test_a_reason_tells_what_to_do_or_run_instead_where_there_is_something() -> None:
    modes = index.modes()
    assert inapplicable(modes["setting.clip-tiny"], KNOWN["a step"]) == (
        "only Lightning has a Trainer with these arguments; gradient.clip-crushing does the same to a loop"
    )
    assert not inapplicable(modes["gradient.clip-crushing"], KNOWN["a step"])
    reason = inapplicable(modes["logger.silent"], TargetProfile(framework="lightning", seams=offered("lightning")))
    assert "`keep: [logger]` under `init_args` of `build`" in reason
