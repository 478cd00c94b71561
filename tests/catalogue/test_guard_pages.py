"""The ready-made guards as pages, read from their source."""

from __future__ import annotations

import json

from faultlab import guards
from faultlab.catalogue import guard_index, index
from faultlab.report.docs import guard_pages


def test_the_source_says_of_each_guard_what_the_class_does() -> None:
    described = guard_index.guards()
    classes = {cls.__name__: cls for cls in guards.classes()}
    assert described.keys() == classes.keys()
    for name, cls in classes.items():
        one = described[name]
        assert (one.level, one.optional, dict(one.checks)) == (cls.level, cls.optional, dict(cls.checks))
        assert one.summary


def test_what_was_measured_is_of_guards_and_failure_modes_that_there_are() -> None:
    measured = guard_index.measured()
    unasked = {name for name, one in guard_index.guards().items() if one.optional}
    assert measured.keys() == guard_index.guards().keys() - unasked
    for found in measured.values():
        assert set(found.detects) <= set(index.modes())
        assert 0 <= found.alarms <= found.runs
        # Guards that compare ranks are measured on the only example that has several.
        assert found.runs >= (20 if found.costs.keys() == {"digits-ddp"} else 40)


def test_the_page_has_every_guard_with_its_checks_and_what_it_detected() -> None:
    page = guard_pages.page()
    for name, one in guard_index.guards().items():
        assert f"## {name}\n" in page
        assert all(f"| `{check}` |" in page for check in one.checks)
    assert "[`return.none`](return.md#returnnone)" in page.partition("## StepsTaken")[2].partition("\n## ")[0]


def test_the_page_lists_the_arguments_of_a_guard() -> None:
    section = guard_pages.page().partition("## KnownGood\n")[2].partition("\n## ")[0]
    assert "\nArgs:\n\n- ``profile``: The recorder's file, or the result of" in section
    assert "\n  summaries. None to deactivate the guard.\n- ``action``: " in section
    assert "\nRaises:\n\n- ``ValueError``: " in section


def test_the_failure_modes_page_names_the_guards_that_detect_it() -> None:
    assert "StepsTaken" in guard_index.detecting("return.none")
    assert guard_index.detecting("no.such-mode") == []


def test_the_measurements_are_strict_json() -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    json.loads(guard_index.MEASURED.read_text(encoding="utf-8"), parse_constant=refuse)
