"""Reports of two builds are compared fault by fault, in the words of today."""

from __future__ import annotations

import copy
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def scripts() -> Iterator[SimpleNamespace]:
    names = ("floor", "timed", "builds", "same_reports")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
        for name in ("recorded", "bare", *names):
            sys.modules.pop(name, None)


def report() -> dict[str, Any]:
    detection = {"kind": "guard", "name": "LossFalls", "step": 9, "latency": 1, "names_cause": True, "message": "rises"}
    fault: dict[str, Any] = {
        "id": "loss.nan@always",
        "mode": "loss.nan",
        "family": "loss",
        "severity": "critical",
        "status": "detected",
        "reason": "",
        "activations": 32,
        "first_step": 0,
        "detected_by": [detection],
        "warnings": [],
        "harm": {"metric": "val_loss", "clean": 0.25, "faulty": None, "harmful": True},
        "seconds": 0.5,
    }
    silent = {**fault, "id": "loss.tiny@always", "mode": "loss.tiny", "status": "silent", "detected_by": []}
    baseline = {"steps": 32, "deterministic": True, "seeds": [0, 1], "metrics": {"val_loss": 0.25}, "false_alarms": []}
    return {"faults": [fault, silent], "baseline": {**baseline, "seconds": 2.0}}


def differing(found: Any) -> dict[str, list[str]]:
    return {part: list(faults) for part, faults in found.differing.items() if faults}


def test_a_report_is_equal_to_another_that_took_longer(scripts: SimpleNamespace) -> None:
    other = report()
    other["baseline"]["seconds"] = other["faults"][0]["seconds"] = 70.0
    found = scripts.same_reports.compare(report(), other)
    assert found.both == ["loss.nan@always", "loss.tiny@always"]
    assert (found.here, found.there, found.baseline, differing(found)) == ([], [], {}, {})


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("status", {"status": "silent"}),
        ("activations", {"activations": 31}),
        ("first_step", {"first_step": 1}),
        ("severity", {"severity": "minor"}),
        ("reason", {"reason": "no metric"}),
        ("warnings", {"warnings": ["new"]}),
        ("harm", {"harm": {"metric": "val_loss", "clean": 0.25, "faulty": None, "harmful": False}}),
        ("harm", {"harm": None}),
    ],
)
def test_each_part_of_a_fault_that_differs_is_listed(
    scripts: SimpleNamespace, part: str, change: dict[str, Any]
) -> None:
    other = report()
    other["faults"][0].update(change)
    found = scripts.same_reports.compare(report(), other)
    assert differing(found) == {part: ["loss.nan@always"]}
    assert f"  {part}: 1 of 2 equal" in found.lines(10)


@pytest.mark.parametrize(
    ("change", "parts"), [({"step": 8}, {"detectors"}), ({"message": "is not finite"}, {"messages"})]
)
def test_detectors_differ_apart_from_their_messages(
    scripts: SimpleNamespace, change: dict[str, Any], parts: set[str]
) -> None:
    other = report()
    other["faults"][0]["detected_by"][0].update(change)
    assert differing(scripts.same_reports.compare(report(), other)).keys() == parts


def test_faults_of_one_build_only_and_another_baseline_are_listed(scripts: SimpleNamespace) -> None:
    other = copy.deepcopy(report())
    other["faults"][1]["id"] = "loss.huge@always"
    other["baseline"]["steps"] = 16
    lines = scripts.same_reports.compare(report(), other).lines(10)
    assert lines[:3] == [
        "1 faults in both, 1 only here, 1 only there",
        "  only there: loss.huge@always",
        "  baseline, steps: there 16, here 32",
    ]


def test_the_list_of_faults_ends_after_the_most(scripts: SimpleNamespace) -> None:
    other = report()
    for fault in other["faults"]:
        fault["activations"] = 1
    lines = scripts.same_reports.compare(report(), other).lines(1)
    assert lines[lines.index("  activations: 0 of 2 equal") + 1 :][:2] == [
        "    loss.nan@always: there 1, here 32",
        "    and 1 more",
    ]


def test_earlier_words_are_read_as_those_of_today(scripts: SimpleNamespace) -> None:
    earlier = {"faults": [{"status": "noticed", "noticed_by": [{"message": "noticed by chance"}]}]}
    assert scripts.builds.in_todays_words(earlier) == {
        "faults": [{"status": "detected", "detected_by": [{"message": "noticed by chance"}]}]
    }
