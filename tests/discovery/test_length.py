"""How long a script is trained while it is tried, and what its steps cost."""

from __future__ import annotations

import pytest

from faultlab.discovery import length
from faultlab.discovery.length import Length
from faultlab.engines import processes


def test_a_length_counts_steps_and_an_epoch_that_is_short_is_repeated() -> None:
    assert length.of(16, None) == Length(2, 8)
    assert length.of(32, 1000) == Length(2, 16)
    assert length.of(32, 5) == Length(7, 5)
    assert length.of(32, 1) == Length(32, 1)
    for available in (None, 1, 2, 3, 7, 16, 500):
        assert min(long.steps for long in length.longer(available, each=lambda: 1.0)) >= 16, "never a few steps"


def test_what_a_step_costs_is_what_more_steps_add_and_not_the_set_up() -> None:
    assert length.marginal({16: 5.0, 32: 5.4}) == pytest.approx(0.025)
    assert [long.steps for long in length.longer(None, lambda: 0.025)] == [32, 64, 128]
    assert [long.steps for long in length.longer(None, lambda: 0.2)] == [32]
    assert [long.steps for long in length.longer(None, lambda: 2.0)] == [16]


def test_a_training_that_was_measured_on_a_busy_machine_is_measured_again_by_the_longer_ones() -> None:
    spent = {16: 5.0, 32: 5.6}
    lengths = length.longer(None, lambda: length.marginal(spent))
    assert [next(lengths).steps, next(lengths).steps] == [32, 64]
    spent[64] = 5.9
    assert next(lengths).steps == 128, "by the second measurement a step takes 9 ms, and not 38"


def test_a_loss_is_learnt_where_it_falls_by_more_than_it_varies() -> None:
    wobble = [0.1 * (-1) ** n for n in range(32)]
    assert length.learns([2.0 - 0.03 * n + wobble[n] for n in range(32)])
    assert not length.learns([2.0 - 0.001 * n + wobble[n] for n in range(32)])
    assert not length.learns([0.7] * 32)
    assert not length.learns([1.0, 0.5, 0.2])
    assert not length.learns([float("nan")] * 32)


def test_time_that_a_process_or_its_children_wait_for_a_processor_is_not_its_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock, waits, children = [0.0], {1: 5.0}, {1: set()}
    monkeypatch.setattr(processes.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(processes, "_waited", lambda pid: waits[pid])
    monkeypatch.setattr(processes, "children_of", lambda pid: children[pid])
    own = processes.OwnTime(1)
    clock[0], waits[1] = 10.0, 8.0
    assert own.spent() == 7.0
    children[1] = {2, 3}
    clock[0], waits[2], waits[3] = 20.0, 4.0, 6.0
    assert own.spent() == 11.0, "children wait side by side"
    children[1] = set()
    clock[0] = 21.0
    assert own.spent() == 12.0, "one that ended is not waited for twice"


def test_a_loss_that_has_just_begun_to_fall_is_not_enough_unless_steps_are_dear() -> None:
    noise = [0.05 if step % 2 else -0.05 for step in range(32)]
    slightly = [1.1 - 0.004 * step + noise[step] for step in range(32)]
    clearly = [1.1 * 0.95**step + noise[step] / 2 for step in range(32)]
    flat = [1.1 + noise[step] for step in range(32)]
    assert length.learns(slightly)
    assert not length.is_enough(slightly, each=0.001), "some seeds end no better than an untrained model"
    assert length.is_enough(slightly, each=0.1), "nobody waits for twice as many of these steps"
    assert length.is_enough(clearly, each=0.001)
    assert not length.is_enough(flat, each=0.1)


def test_a_script_keeps_its_own_length_if_that_is_short() -> None:
    assert length.own(6, 16) == Length(6, 16)
    assert length.own(6, None) is None, "the length of an epoch is unknown"
    assert length.own(100, 16) is None
    assert length.own(1, 64) is None, "what happens between epochs would not be tried"
    assert length.own(None, 16) is None
    assert [one.steps for one in length.longer(16, lambda: 0.001, Length(6, 16))] == [96]
    assert next(length.longer(16, lambda: 0.5, Length(6, 16))).steps == 16, "steps of half a second"
