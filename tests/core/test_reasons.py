"""What follows from a reason hangs on its kind, and on no word of it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from faultlab.core import seal
from faultlab.core.demands import Demands
from faultlab.core.reason import Reason, ReasonKind, reasons_from_json, reasons_to_json
from faultlab.errors import InconclusiveError, UsageError
from faultlab.gate import evidence, merge
from faultlab.gate.demands import exit_code
from faultlab.report.mutants import mutation_line
from tests.support import mutant, mutated, report, result, run_folder

SILENT = result("a.silent@always", "silent")
WORDS = "coverage, inconclusive: interrupted, baseline: mutants: 3 false alarms on clean runs"


@pytest.mark.parametrize("kind", ReasonKind)
def test_a_reason_is_read_back_with_its_kind(kind: ReasonKind) -> None:
    reasons = [Reason(kind, WORDS), Reason(ReasonKind.COVERAGE, "")]
    assert reasons_from_json(json.loads(json.dumps(reasons_to_json(reasons)))) == reasons


@pytest.mark.parametrize("kind", ReasonKind)
def test_the_exit_code_hangs_on_the_kind_alone(kind: ReasonKind) -> None:
    found = report(SILENT, reasons=[Reason(kind, WORDS)], passed=False)
    assert exit_code(found) == (4 if kind.proves_nothing else 1)
    assert exit_code(replace(found, reasons=[Reason(kind, "")])) == exit_code(found)


@pytest.mark.parametrize("kind", ReasonKind)
def test_the_gate_in_words_hangs_on_the_kind_alone(kind: ReasonKind) -> None:
    gates = {
        report(SILENT, reasons=[Reason(kind, text)], passed=False, demands=Demands()).gate for text in (WORDS, "", "x")
    }
    assert len(gates) == 1
    assert (gates == {"gate NOT passed"}) == (kind is ReasonKind.BASELINE)


@pytest.mark.parametrize("kind", ReasonKind)
def test_the_line_about_mutants_says_whether_it_is_they_that_do_not_pass(kind: ReasonKind) -> None:
    found = replace(mutated(mutant("detected")), faults=[SILENT], reasons=[Reason(kind, WORDS)], passed=False)
    assert ("but not for the mutants" in mutation_line(found)) == (not kind.of_mutants)


def test_a_report_in_other_words_is_as_good_and_one_that_leaves_a_reason_out_is_not(tmp_path: Path) -> None:
    file = run_folder(tmp_path, report(SILENT, demands=Demands(coverage=0.5))) / "report.json"
    data = json.loads(file.read_text())
    data["gate"]["reasons"] = ["too little is detected"]
    file.write_text(json.dumps({**data, seal.KEY: seal.digest_of(data)}))
    assert evidence.read(file).reasons == [Reason(ReasonKind.COVERAGE, "too little is detected")]
    data["gate"]["kinds"] = ["exemption"]
    file.write_text(json.dumps({**data, seal.KEY: seal.digest_of(data)}))
    with pytest.raises(InconclusiveError, match=r"lacks the reason 'coverage 0\.00 is below 0\.50'"):
        evidence.read(file)


@pytest.mark.parametrize(
    ("kinds", "said"),
    [
        (None, "its reasons have no kinds"),
        ([], "it has 1 reasons but 0 kinds"),
        (["no such kind"], "'no such kind' is not a valid ReasonKind"),
    ],
)
def test_a_report_without_the_kinds_of_its_reasons_is_refused_with_a_remedy(
    tmp_path: Path, kinds: list[str] | None, said: str
) -> None:
    file = run_folder(tmp_path, report(SILENT, demands=Demands(coverage=0.5))) / "report.json"
    data = json.loads(file.read_text())
    data["gate"].update(kinds=kinds)
    if kinds is None:
        del data["gate"]["kinds"]
    file.write_text(json.dumps({**data, seal.KEY: seal.digest_of(data)}))
    with pytest.raises(UsageError, match=rf"report\.json: not a faultlab report: {said}.*\n.*faultlab run"):
        evidence.read(file)


@pytest.mark.parametrize("kind", ReasonKind)
def test_of_shares_those_reasons_are_kept_that_do_not_follow_from_the_whole(tmp_path: Path, kind: ReasonKind) -> None:
    folders = []
    for number in (1, 2):
        silent = result(f"a.m{number}@always", "silent")
        share = report(silent, shard=f"{number}/2", reasons=[Reason(kind, WORDS)])
        folders.append(run_folder(tmp_path / str(number), share))
    (group,) = merge.shares(folders).values()
    assert merge.joined(group).reasons == ([Reason(kind, WORDS)] if kind.witnessed else [])


def test_what_the_run_alone_could_see_is_of_another_kind_than_what_follows_from_a_report() -> None:
    found = report(result("a.b@always", "error"), demands=Demands(coverage=0.5, silent={"critical": 0}, latency=0))
    kinds = {reason.kind for reason in evidence.reasons_of(found)}
    assert kinds == {ReasonKind.FAULT_UNPROVEN, ReasonKind.NOTHING_ACTIVATED, ReasonKind.COVERAGE}
    assert not any(kind.witnessed for kind in kinds)
