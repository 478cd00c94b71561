"""watch: guards in any loop over any module."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from faultlab import guards
from faultlab.guards import watch
from faultlab.guards.watching import Watching
from tests.frameworks import hand_written

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
