"""What is written for other tools is what those tools' published schemas ask for, whatever victims say."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from faultlab.core.report import FaultResult, Report, Status, dump
from faultlab.report.formats import badge, gitlab, junit, sarif, stryker
from tests.published import junit_violations, violations
from tests.report.pages import HARMFUL, HOSTILE, fault, found
from tests.report.test_formats import report
from tests.report.test_report_mutants import every
from tests.support import mutant, mutated

NASTY = {
    "control characters": "".join(map(chr, range(32))) + "\x7f\x80\x9f\ufffe\uffff",
    "half a character": "\ud800 and \udfff",
    "the end of a CDATA section": "]]> <![CDATA[ ]]> <!-- --> &amp; &#0;",
    "quotes and lines": "\"'`\r\n\n\t\u2028\u2029\x85 %0A ::error::",
    "a long message": "x" * 100_000,
    "a page's script": HOSTILE,
    "nothing": "",
}
SARIF, STRYKER, GITLAB = "sarif-schema-2.1.0.json", "mutation-testing-report-schema.json", "codeclimate.json"


def told(words: str) -> Report:
    """A report with these words wherever a victim or a user has a say."""
    faults = [
        fault("loss.scaled", Status.SILENT, reason=words, harm=HARMFUL),
        fault("loss.zeroed", Status.SILENT, reason=words),
        fault("return.none", Status.WARNED, warnings=[words, words]),
        fault("loss.nan", Status.DETECTED, detected_by=[found("guard", name=words, message=words)]),
        fault("step.raises", Status.ERROR, reason=words),
        fault("batch.swapped", Status.NOT_APPLICABLE, reason=words),
        FaultResult(f"their.own:{words}@always", "their.own", "their", "major", Status.SILENT, words),
    ]
    mutants = [
        mutant("silent", 3, reason=words),
        mutant("warned", 4, before=words[:100], after=words, reason=words, function=words or "f"),
        mutant("detected", 5, detected_by=[found("test", name=f"{words}::{words}", message=words)]),
        mutant("not_activated", 6, reason=words, file=f"a b/{words[:50]}.py"),
    ]
    made = report(faults, mutants)
    made.target["file"] = f"pkg/ä{words[:50]}.py"
    return made


REPORTS = {
    "ordinary": report(),
    "with mutants": report(mutants=[mutant("silent", 3, reason="survived")]),
    "empty": Report("empty"),
    "without a place": Report("placeless", faults=[fault("loss.scaled", Status.SILENT)]),
    **{name: told(words) for name, words in NASTY.items()},
}
WHATEVER = pytest.mark.parametrize("made", REPORTS.values(), ids=REPORTS)


@WHATEVER
def test_sarif_is_what_the_standard_asks_for(made: Report) -> None:
    document = json.loads(sarif.render(made))
    assert violations(SARIF, document) == []
    for place in _places(document):
        assert urlsplit(place["artifactLocation"]["uri"]).path, "it is read as a relative address, and not as a scheme"


@WHATEVER
def test_junit_is_what_its_schema_asks_for(made: Report) -> None:
    assert junit_violations(junit.render(made)) == []


@WHATEVER
def test_code_quality_is_what_gitlab_checks_and_what_it_documents(made: Report) -> None:
    for entry in json.loads(gitlab.render(made)):
        assert violations(GITLAB, entry) == []
        assert entry["severity"] in ("info", "minor", "major", "critical", "blocker")
        assert entry["description"]
        assert entry["check_name"]
        assert entry["location"]["path"]
        assert not entry["location"]["path"].startswith("./"), "it would not be found in the repository"
        assert entry["location"]["lines"]["begin"] >= 1


@WHATEVER
def test_a_mutation_report_is_what_strykers_viewers_ask_for(made: Report, tmp_path: Path) -> None:
    if made.mutation is None:
        made = mutated(*every())
    document = json.loads(dump(stryker.export(made, tmp_path)))
    assert violations(STRYKER, document) == []


@WHATEVER
def test_a_shield_has_the_four_keys_of_shields_endpoint(made: Report) -> None:
    document = json.loads(badge.render(made))
    assert set(document) == {"schemaVersion", "label", "message", "color"}
    assert document["schemaVersion"] == 1
    assert all(isinstance(document[key], str) and document[key] for key in ("label", "message", "color"))


def test_what_is_no_sarif_junit_mutation_or_code_quality_report_is_found_out(tmp_path: Path) -> None:
    good = json.loads(sarif.render(report()))
    for wrong in ({"level": "fatal"}, {"ruleIndex": "0"}, {"locatoins": []}):
        bad = copy.deepcopy(good)
        bad["runs"][0]["results"][0].update(wrong)
        assert violations(SARIF, bad) != []
    assert junit_violations(junit.render(report()).replace("<failure", "<failing").replace("</failure", "</failing"))
    document = json.loads(dump(stryker.export(mutated(*every()), tmp_path)))
    document["files"]["pkg/model.py"]["mutants"][0]["status"] = "Dead"
    assert violations(STRYKER, document) != []
    entry = json.loads(gitlab.render(report()))[0]
    del entry["fingerprint"]
    assert violations(GITLAB, entry) != []


def _places(document: Any) -> list[Any]:
    results = document["runs"][0]["results"]
    return [place["physicalLocation"] for result in results for place in result.get("locations", [])]
