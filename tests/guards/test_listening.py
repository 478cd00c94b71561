"""Guards remove their hooks from the module, however the end of a training is disturbed."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn
from torch.utils.hooks import RemovableHandle

from faultlab.guards.support.listening import Ears


def _hears_nothing(*heard: Any) -> None:
    raise AssertionError("nobody calls the parts here")


def test_an_end_that_a_signal_interrupts_is_carried_through_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = [nn.Linear(1, 1) for _ in range(3)]
    ears = Ears(_hears_nothing)
    for part in parts:
        ears.after(part, _hears_nothing)
    remove, calls = RemovableHandle.remove, []

    def interrupted(handle: RemovableHandle) -> None:
        calls.append(handle)
        if len(calls) == 2:
            raise KeyboardInterrupt
        remove(handle)

    monkeypatch.setattr(RemovableHandle, "remove", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ears.off()
    assert any(part._forward_hooks for part in parts)
    ears.rest()
    ears.off()
    assert not ears
    assert not any(part._forward_hooks for part in parts)


def test_a_part_is_heard_again_though_its_hash_depends_on_its_state() -> None:
    class Changing(nn.Module):
        """Compares and hashes by its state, as metrics do."""

        count = 0

        def forward(self) -> None:
            self.count += 1

        def __hash__(self) -> int:
            return hash(self.count)

        def __eq__(self, other: object) -> bool:
            return True

    part = Changing()
    heard: list[str] = []
    one, other = Ears(_hears_nothing), Ears(_hears_nothing)
    one.after(part, lambda *_: heard.append("one"))
    part()
    one.off()
    part.count = 0
    other.after(part, lambda *_: heard.append("other"))
    part()
    other.off()
    assert heard == ["one", "other"]
    assert not part._forward_hooks


def test_a_hook_that_is_added_by_another_hears_the_same_call() -> None:
    part, heard, ears = nn.Identity(), [], Ears(_hears_nothing)
    ears.before(part, lambda *_: ears.before(part, lambda _, args, __: heard.append(args)))
    part(1)
    ears.off()
    assert heard == [(1,)]
