"""The nightly ring is listed with its reasons, and the quick ring covers every failure mode and every guard."""

from __future__ import annotations

import pytest

from faultlab import guards
from faultlab.catalogue import index
from tests import rings
from tests.rings import Item


@pytest.fixture(scope="module")
def items(pytestconfig: pytest.Config) -> list[Item]:
    return rings.known(pytestconfig)


def test_every_mark_gives_its_reason(items: list[Item]) -> None:
    marked = [item for item in items if item.nightly]
    assert marked
    assert [item for item in marked if any(reason.startswith("NO REASON") for reason in item.reasons)] == []


def test_the_page_lists_the_nightly_ring(items: list[Item]) -> None:
    assert rings.PAGE.read_text(encoding="utf-8") == rings.page(items), "`python -m tests.rings` renews it"


@pytest.mark.parametrize(
    ("file", "test"),
    [
        ("injectors/test_contract.py", "test_it_applies_and_acts_wherever_it_is_said_to"),
        ("injectors/test_contract.py", "test_it_does_on_stock_lightning_what_it_says"),
        ("injection/test_detach.py", "test_attaching_and_detaching_draws_no_random_number"),
        ("injection/test_detach.py", "test_it_detaches_without_trace"),
    ],
)
def test_every_failure_mode_is_in_the_quick_ring(items: list[Item], file: str, test: str) -> None:
    cases = {item.case for item in items if (item.file, item.test) == (file, test) and not item.nightly}
    assert {case.removeprefix("first model-") for case in cases} == set(index.modes())


@pytest.mark.parametrize("test", ["test_a_guard_only_looks", "test_a_guard_is_quiet_on_a_healthy_training"])
def test_every_guard_is_in_the_quick_ring(items: list[Item], test: str) -> None:
    cases = {item.case for item in items if item.test == test and not item.nightly}
    assert {case.partition("-")[0] for case in cases} == {cls.__name__ for cls in guards.classes()}
