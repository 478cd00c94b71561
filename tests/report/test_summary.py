"""summary.md, as the reviewer of a pull request meets it: the answer first, short, and of victims mere words."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from markdown_it import MarkdownIt

from faultlab.core.comparison import compare
from faultlab.core.detection import Prescribed
from faultlab.core.reason import Reason, ReasonKind
from faultlab.core.report import Harm, Report, Status, dump
from faultlab.report import files
from faultlab.report.formats import summary
from faultlab.report.overview import WORTHS
from tests.report.pages import HARMFUL, fault, found
from tests.report.test_formats import mutant as small_mutant
from tests.report.test_formats import report
from tests.report.test_published_schemas import NASTY, told
from tests.support import mutant

OWN_HTML = re.compile(r"</?details>|<summary>[\w ]+</summary>")


def seen(text: str) -> tuple[str, list[str]]:
    """The Markdown as a host renders it, and what of it is passed on as HTML."""
    parser = MarkdownIt("commonmark").enable("table")
    raw = [
        token.content
        for block in parser.parse(text)
        for token in [block, *(block.children or [])]
        if token.type in ("html_block", "html_inline")
    ]
    return parser.render(text), raw


def test_the_answer_comes_first_then_why_then_what_to_do() -> None:
    made = report()
    made.passed, made.reasons = False, [Reason(ReasonKind.COVERAGE, "coverage 0.25 is under 0.80")]
    text = summary.render(made)
    order = [
        "gate NOT passed",
        "**Coverage 0.25**: 1 of 4 failure modes",
        "coverage 0.25 is under 0.80",
        "`loss.scaled`",
    ]
    places = [text.index(words) for words in order]
    assert places == sorted(places)


def test_what_is_unknown_of_the_harm_and_found_of_the_target_is_said() -> None:
    unknown = Harm("val_loss", 0.5, None, False, "the weights could not be evaluated: no")
    made = report(
        [fault("loss.scaled", Status.SILENT, harm=unknown), fault("loss.zeroed", Status.SILENT, harm=HARMFUL)]
    )
    made.baseline.findings = [{"kind": "outlier", "what": "seed 2 is away", "evidence": "", "remedy": "look"}]
    text = summary.render(made)
    assert "- Seed 2 is away. Look.\n" in text
    assert "| silent, their harm unknown | 1 |" in text
    assert "silent, without measured harm" not in text
    assert "harm unknown: the weights could not be evaluated: no" in text


def test_the_coverage_is_shown_with_parts_that_add_up() -> None:
    made = report([
        fault("loss.scaled", Status.SILENT, harm=HARMFUL),
        fault("optimizer.double-step", Status.SILENT),
        fault("return.none", Status.WARNED),
        fault("loss.nan", Status.DETECTED, detected_by=[found("guard", cause=True)]),
        fault("input.nan", Status.DETECTED, detected_by=[found("framework"), found("guard")]),
        fault("loss.zeroed", Status.DETECTED, detected_by=[found("framework")]),
        # The worst of its faults was luck.
        fault("loss.zeroed", Status.DETECTED, "step=8", detected_by=[found("guard", cause=True)]),
        fault("step.raises", Status.ERROR),
    ])  # fmt: skip
    page, _ = seen(summary.render(made))
    rows = dict(re.findall(r"<tr>\s*<td>([^<]*)</td>\s*<td[^>]*>(\d+)</td>\s*</tr>", page))
    assert rows == {
        WORTHS[0]: "1",
        WORTHS[1]: "1",
        WORTHS[3]: "1",
        "only warned of": "1",
        "silent and harmful": "1",
        "silent, without measured harm": "1",
        "inconclusive, not counted": "1",
    }


def test_the_gravest_come_with_their_place_and_the_guards_that_would_have_detected() -> None:
    text = summary.render(report(mutants=[small_mutant()]))
    first, *_ = [line for line in text.splitlines() if line.startswith("| **harmful**")]
    assert "`loss.scaled`" in first
    assert "`pkg/model.py:20`" in first
    assert "Add a guard that detects it: faultlab.guards.LossFalls" in first
    assert "that one more guard would detect: `faultlab.guards.LossFalls` 1." in text
    assert text.index("loss.scaled") < text.index("optimizer.double-step")
    assert "Lit.forward: 1 of 2 mutants killed" in text


def test_what_got_worse_since_the_run_before_is_said(tmp_path: Path) -> None:
    before = report([fault("loss.nan", Status.DETECTED, detected_by=[found("guard", "Finite")])])
    after = report([fault("loss.nan", Status.SILENT)])
    assert "Since the previous run" not in summary.render(after)
    assert "newly silent: loss.nan" in summary.render(after, compare(before, after))
    folder = tmp_path / after.scenario
    folder.mkdir()
    (folder / "previous.json").write_text(dump(before.to_json()))
    files.write(after, tmp_path)
    assert "newly silent: loss.nan" in (folder / "summary.md").read_text()


def test_nobody_is_shown_more_than_a_screen_before_it_is_folded() -> None:
    many = [fault(f"loss.number-{n}", Status.SILENT, harm=HARMFUL) for n in range(300)]
    made = report(many)
    made.passed, made.reasons = False, [Reason(ReasonKind.COVERAGE, f"reason {n}") for n in range(500)]
    text = summary.render(made)
    open_lines = re.sub(r"<details>.*?</details>", "", text, flags=re.DOTALL).splitlines()
    assert len(open_lines) < 60
    assert "(10 of 300, the most severe first)" in text
    assert "and 488 more in the report" in text


def test_the_summary_of_two_thousand_faults_is_no_longer_than_a_comment_may_be() -> None:
    many = [fault(f"loss.number-{n}", Status.SILENT, reason="x" * 5000, harm=HARMFUL) for n in range(2000)]
    mutants = [mutant("silent", n + 1, reason="y" * 5000) for n in range(2000)]
    assert len(summary.render(report(many, mutants)).encode()) <= summary.MOST_BYTES


def test_a_report_with_nothing_in_it_has_a_summary() -> None:
    assert summary.render(Report("empty")) == "## faultlab: empty, gate passed\n\n"


@pytest.mark.parametrize("words", [*NASTY.values(), "```<b>`", "``<b>` `<b>``", "\\`<b>\\`", "`<b>"])
def test_words_of_a_victim_stay_words(words: str) -> None:
    made = told(f"{words} <img src=x onerror=alert(1)> [link](javascript:x) | cell | `code` ![i](u) @everyone\n# head")
    made.reasons = [Reason(ReasonKind.COVERAGE, f"{words}\n<b>bold</b> @here")]
    text = summary.render(made)
    text.encode()
    page, raw = seen(text)
    assert [html for html in raw if OWN_HTML.sub("", html).strip()] == []
    assert "<img" not in page
    assert "<a " not in page
    assert page.count("<h1>") == 0
    assert not re.search(r"(?<![\w`])@(everyone|here)", re.sub(r"<code>.*?</code>", "", page)), "it would call people"
    for row in re.findall(r"<tr>(.*?)</tr>", page, re.DOTALL):
        assert row.count("<td") in (0, 2, 3, 8), "no cell is torn apart"


def test_a_guard_that_needs_recorded_runs_is_not_recommended_before_those_that_need_none() -> None:
    known, finite = (Prescribed(f"faultlab.guards.{name}", 1, 0.1) for name in ("KnownGood", "Gradients"))
    faults = [
        fault("loss.scaled", Status.SILENT, harm=HARMFUL, prescription=[known, finite]),
        fault("loss.zeroed", Status.SILENT, harm=HARMFUL, prescription=[known]),
    ]
    text = summary.render(report(faults))
    assert "that one more guard would detect: `faultlab.guards.Gradients` 1. " in text
    assert "Add a guard that detects it: faultlab.guards.Gradients." in text
    assert "Record clean runs for faultlab.guards.KnownGood: faultlab prescribe --records." in text
