"""The fingerprints by which ranks compare themselves. Gangs that disagree are in tests/engines/test_gangs.py."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from faultlab.guards import RanksAgree
from faultlab.guards.support import fingerprints
from tests.guards.rig import Healthy, fit, loaders

KINDS = (torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.uint8, torch.bool, torch.complex64)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fingerprint_sees_the_smallest_change(kind: torch.dtype) -> None:
    tensors = [torch.arange(12).reshape(3, 4).to(kind), torch.ones(2)]
    changed = [tensors[0].clone(), tensors[1]]
    changed[0][2, 3] = changed[0][0, 0]
    assert fingerprints.of_tensors(tensors) == fingerprints.of_tensors([one.clone() for one in tensors])
    assert fingerprints.of_tensors(tensors) != fingerprints.of_tensors(changed)


def test_a_fingerprint_sees_the_sign_of_zero_an_order_and_a_nan() -> None:
    one, other = torch.tensor([1.0, 2.0]), torch.tensor([3.0])
    assert fingerprints.of_tensors([one, other]) != fingerprints.of_tensors([other, one])
    assert fingerprints.of_tensors([torch.tensor([0.0])]) != fingerprints.of_tensors([torch.tensor([-0.0])])
    nan = torch.tensor([float("nan")])
    assert fingerprints.of_tensors([nan]) == fingerprints.of_tensors([nan.clone()])


def test_states_and_rates_of_optimizers_have_fingerprints() -> None:
    def optimizer(rate: float) -> torch.optim.Optimizer:
        parameter = torch.nn.Parameter(torch.ones(3))
        found = torch.optim.Adam([parameter], lr=rate)
        (parameter * 2).sum().backward()
        found.step()
        return found

    one, same, other = optimizer(0.1), optimizer(0.1), optimizer(0.2)
    assert fingerprints.of_states([one]) == fingerprints.of_states([same])
    assert fingerprints.of_rates([one]) == fingerprints.of_rates([same]) != fingerprints.of_rates([other])
    one.step()
    assert fingerprints.of_states([one]) != fingerprints.of_states([same])


def test_one_process_has_nobody_to_compare_with(tmp_path: Any) -> None:
    guard = RanksAgree()
    fit([guard], Healthy(), *loaders())
    assert (guard.looked, guard.report()) == (0, "")


def test_it_needs_a_period() -> None:
    with pytest.raises(ValueError, match="expected at least 1"):
        RanksAgree(every=0)
