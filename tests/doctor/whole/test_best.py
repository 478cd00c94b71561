"""Best values that are compared and never updated, in the text of a script."""

from __future__ import annotations

import ast

import pytest

from faultlab.doctor.whole import best

_LOOP = """
{BEGIN}
for epoch in range(3):
    if {TEST}:
        {KEEP}
        {UPDATE}
"""
_ILL = [
    ("lowest = math.inf", "loss < lowest", "kept = copy.deepcopy(net.state_dict())", "at = epoch"),
    ("top, at = float('-inf'), 0", "score > top", "torch.save(net.state_dict(), path)", "at = epoch"),
    ("best_acc = 0.0", "acc > best_acc", "torch.save(net.state_dict(), path)", "pass"),
    ("self.low = float('inf')", "self.low >= loss", "trainer.save_model(path)", "pass"),
    ("state = {'low': np.inf}", "loss < state['low']", "torch.save(net.state_dict(), path)", "pass"),
]
_HEALTHY = [
    ("lowest = math.inf", "loss < lowest", "kept = copy.deepcopy(net.state_dict())", "lowest = loss"),
    ("lowest, at = math.inf, 0", "loss < lowest", "torch.save(net, path)", "lowest, at = loss, epoch"),
    ("limit = 0.9", "acc > limit", "torch.save(net.state_dict(), path)", "pass"),
    ("limit = 0", "acc > limit", "torch.save(net.state_dict(), path)", "pass"),
    ("LIMIT = math.inf", "loss < LIMIT", "torch.save(net.state_dict(), path)", "pass"),
    ("self.low = float('inf')", "loss < self.low", "torch.save(net.state_dict(), path)", "tracker.low = loss"),
    ("self.low = float('inf')", "loss < self.low", "torch.save(net, path)", "setattr(self, 'low', loss)"),
    ("state = {'low': np.inf}", "loss < state['low']", "torch.save(net, path)", "state.update(low=loss)"),
    ("lowest = math.inf", "loss < lowest", "print(loss)", "pass"),
    ("lowest = math.inf", "loss > lowest", "torch.save(net, path)", "pass"),
]


def _found(parts: tuple[str, str, str, str]) -> list[str]:
    text = _LOOP
    for name, part in zip(("BEGIN", "TEST", "KEEP", "UPDATE"), parts, strict=True):
        text = text.replace("{" + name + "}", part)
    return [one["text"] for one in best.facts(ast.parse(text))]


@pytest.mark.parametrize("parts", _ILL, ids=[one[1] for one in _ILL])
def test_a_best_value_that_is_never_updated_is_found(parts: tuple[str, str, str, str]) -> None:
    assert _found(parts) == [parts[1]]


@pytest.mark.parametrize("parts", _HEALTHY, ids=[f"{one[1]}, {one[3]}" for one in _HEALTHY])
def test_a_best_value_that_is_updated_or_meant_as_a_limit_is_not(parts: tuple[str, str, str, str]) -> None:
    assert _found(parts) == []
