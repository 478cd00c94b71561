"""Source mutants on the page, in the index and in the terminal's words."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from faultlab.core.alert import Alert
from faultlab.core.detection import Detection, Prescribed
from faultlab.core.report import FaultResult, Harm, Report, Status
from faultlab.mutants.location import locate
from faultlab.report import files, overview
from faultlab.report.html import diffs, mutant_section
from faultlab.report.mutants import change, method_rows, mutation_line, survivors
from tests.report.pages import HOSTILE, Page, sample, save
from tests.support import detection, mutant, mutated

KILLED = {"outcome": "killed", "test": "tests/test_model.py::test_forward", "kind": "test", "message": "assert 1 == 2"}
BY_TEST = Detection("test", "tests/test_model.py::test_forward", 0, 0, False, "assert 1 == 2")
UNTRAINED = {"status": "not_activated", "reason": ""}


def every() -> list[FaultResult]:
    """A mutant of every verdict, each of a line of its own."""
    return [
        mutant("detected", 10, tests=KILLED, detected_by=[BY_TEST, detection("guard", "Moves")]),
        mutant("detected", 11, detected_by=[detection("guard", "FiniteLoss")], training={"status": "detected"}),
        mutant("detected", 12, detected_by=[detection("framework", "exception")]),
        mutant("warned", 13, warnings=["UserWarning: look here"], reason="the training gives a new warning"),
        mutant("silent", 14, reason="each of 3 tests passes", harm=Harm("val_loss", 0.5, 2.25, True)),
        mutant("silent", 15, reason="each of 3 tests passes", prescription=[
            Prescribed("faultlab.guards.KnownGood", 7, 0.062)]),
        mutant("not_activated", 16, function="LitModel.unused", tests={"outcome": "not_activated"}, training=UNTRAINED),
        mutant("no_effect", 17, reason="the training is the clean one, to the bit"),
        mutant("ignored", 18, reason="the loader never has fewer"),
        mutant("error", 19, reason="its process was lost"),
    ]  # fmt: skip


def written(report: Report, out: Path) -> Page:
    save(report, out)
    return Page(files.write(report, out))


def test_a_page_of_mutants_alone_says_nothing_of_failure_modes(tmp_path: Path) -> None:
    page = written(mutated(*every()), tmp_path)
    for words in ("coverage", "failure mode", "Kill matrix", "What nobody detected", "Only warned", "Clean run"):
        assert words not in page.text
    assert "mutation score: 3 of the 7 source mutants that count were detected" in page.text
    assert "Not in the score: 1 equivalent, 1 exempt, 1 not judged." in page.text


def test_a_page_of_both_has_the_score_in_its_head_and_the_failure_modes_beside_the_mutants(tmp_path: Path) -> None:
    report = sample()
    both = mutated(*every())
    both.mutation.methods[0].update(modes=7, modes_detected=2)  # type: ignore[union-attr]
    report.mutants, report.mutation = both.mutants, both.mutation
    page = written(report, tmp_path)
    assert "coverage: 4 of the 7 failure modes" in page.text
    assert "mutation score 43 %, 3 of the 7 that count were detected, 3 survived" in page.text
    assert "failure modes detected" in page.text
    assert "2 of 7" in page.text
    assert "mutation score 43 %" in page.source.partition("</title>")[0]


def test_the_parts_of_the_score_tell_tests_from_guards_and_guards_from_luck() -> None:
    found = {part.words: part.count for part in mutant_section.parts(mutated(*every())) if part.count}
    assert found == {
        "killed by a test": 1,
        "missed by the tests, detected by a guard in the training": 1,
        "missed by the tests, ended the training incidentally, in the framework or the process": 1,
        "only warned of": 1,
        "survived, and harmful": 1,
        "survived, and did no harm as far as measured": 1,
        "never run": 1,
    }
    assert sum(part.share for part in mutant_section.parts(mutated(*every()))) == pytest.approx(100, abs=0.01)


def test_a_survivor_of_which_nothing_is_known_is_not_said_to_have_done_no_harm(tmp_path: Path) -> None:
    unknown = Harm("val_loss", 1.0, None, False, "the weights could not be evaluated: ValueError: no")
    report = mutated(mutant("silent", harm=unknown), mutant("silent", line=2, harm=Harm("val_loss", 1.0, 1.0, False)))
    found = {part.words: part.count for part in mutant_section.parts(report) if part.count}
    assert found == {"survived, its harm unknown": 1, "survived, and did no harm as far as measured": 1}
    page = written(report, tmp_path)
    assert "1 survived, its harm unknown" in page.text
    assert "harm unknown: the weights could not be evaluated: ValueError: no" in page.text


def test_a_survivor_is_told_with_its_place_its_diff_what_was_said_and_who_would_have_detected(tmp_path: Path) -> None:
    page = written(mutated(*every()), tmp_path)
    for words in ("model.py:14:13", "model.py:15:13", "- x = 1", "+ x = 2", "val_loss 2.25, clean 0.5 (harmful)"):
        assert words in page.text
    assert "faultlab.guards.KnownGood in step 7 (6.2 % of the training's time)" in page.text
    assert "UserWarning: look here" in page.text
    assert [found for tag, found in page.tags if tag == "mark"]


def test_mutants_of_one_line_are_shown_below_it_once(tmp_path: Path) -> None:
    page = written(mutated(*(mutant("silent", 14, after=f"{n}", reason="all pass") for n in range(5))), tmp_path)
    assert page.text.count("- x = 1") == 1
    assert all(f"+ x = {n}" in page.text for n in range(5))
    assert page.text.count("All pass.") == 1


def test_survivors_stand_in_the_order_of_the_source_by_file_and_function(tmp_path: Path) -> None:
    places = [("b.py", "f", 3), ("a.py", "Z.z", 30), ("a.py", "A.a", 4), ("b.py", "f", 1), ("a.py", "Z.z", 20)]
    report = mutated(*(mutant("silent", line, file=file, function=name) for file, name, line in places))
    page = written(report, tmp_path)
    shown = [page.source.index(f">{place}<") for place in ("a.py:4:13", "a.py:20:13", "a.py:30:13", "b.py:1:13")]
    assert shown == sorted(shown)
    assert [group.function for group in mutant_section.content(report)["groups"]] == ["A.a", "Z.z", "f"]  # type: ignore[index]


def test_what_was_killed_says_by_whom_and_what_the_tests_missed_stands_apart(tmp_path: Path) -> None:
    text = written(mutated(*every()), tmp_path).text
    missed, killed = text.index("Missed by the tests, detected in the training (2)"), text.index("Killed by tests (1)")
    assert missed < text.index("guard FiniteLoss") < killed < text.index("test_forward") < text.index("guard Moves")


def test_what_a_test_killed_and_the_training_passed_over_says_so(tmp_path: Path) -> None:
    silent = mutant("detected", 3, tests=KILLED, detected_by=[BY_TEST])
    assert "changes silently" in written(mutated(silent), tmp_path).text.partition("Killed by tests (1)")[2]


def test_a_method_whose_mutants_are_all_exempted_has_no_share(tmp_path: Path) -> None:
    report = mutated(mutant("ignored", 3, function="Lit.exempted"), mutant("silent", 9))
    report.versions = {"faultlab": "0.1.0", "pytest": "9.2.0"}
    report.faultlab = "0.1.0"
    text = written(report, tmp_path).text
    assert "none counts" in text
    assert "0 of 0" not in text
    assert text.count("faultlab 0.1.0") == 1


def test_a_guard_that_only_its_own_mutant_sets_off_is_told_apart(tmp_path: Path) -> None:
    own = mutant(
        "detected", 3, function="FiniteLoss.on_train_batch_end", detected_by=[detection("guard", "FiniteLoss")]
    )
    assert "guard FiniteLoss (the mutated one itself)" in written(mutated(own), tmp_path).text


def test_tests_and_training_stand_side_by_side(tmp_path: Path) -> None:
    cross = mutant_section.content(mutated(*every()))["cross"]  # type: ignore[index]
    rows = {row: dict(zip(cross["heads"], counts)) for row, counts in cross["rows"]}
    assert rows["fail"]["changes silently"] == 1
    assert rows["pass"] == {"is stopped or flagged": 1, "changes silently": 7, "does not run it": 0}
    assert rows["do not run it"]["does not run it"] == 1
    alone = [replace(found, mutant={**(found.mutant or {}), "training": None}) for found in every()]
    assert "side by side" not in written(mutated(*alone), tmp_path).text


def test_what_was_never_run_is_equivalent_exempted_not_judged_or_not_mutated_says_why(tmp_path: Path) -> None:
    unmutated = {"pkg/model.py:30 cached": "mutmut does not mutate functions with the decorator @cache"}
    page = written(mutated(*every(), unmutated=unmutated, notes=["mutmut 9.9 is not the tested one"]), tmp_path)
    for words in ("Never run (1)", "LitModel.unused", "Equivalent (1)", "to the bit", "the loader never has fewer"):
        assert words in page.text
    for words in ("its process was lost", "pkg/model.py:30 cached", "@cache", "mutmut 9.9 is not the tested one"):
        assert words in page.text


def test_a_report_by_tests_alone_speaks_of_no_training(tmp_path: Path) -> None:
    alone = [replace(found, mutant={**(found.mutant or {}), "training": None}) for found in every()[4:7]]
    report = mutated(mutant("detected", 10, tests=KILLED, detected_by=[BY_TEST], training=None), *alone)
    report.mutation.judges = ["tests"]  # type: ignore[union-attr]
    report.baseline.false_alarms = [Alert("test", "tests/t.py::flaky", 0, "it fails")]
    page = written(report, tmp_path)
    assert [part.words for part in mutant_section.parts(report) if part.count] == [
        "killed by a test",
        "survived",
        "never run",
    ]
    assert "1 test left out." in page.text
    assert "A guard that fires" not in page.text
    assert "Tests left out: 1." in Page(tmp_path / "index.html").text


def test_hostile_strings_in_mutants_stay_text(tmp_path: Path) -> None:
    hostile = {"file": HOSTILE, "function": HOSTILE, "operator": HOSTILE, "before": HOSTILE, "after": HOSTILE}
    detections = [detection("guard", HOSTILE)]
    lines = f"--- a\n+++ a\n@@ -1,2 +1,2 @@\n {HOSTILE}\n-{HOSTILE}\n+{HOSTILE} "
    report = mutated(
        mutant("silent", 1, **hostile, diff=lines, reason=HOSTILE, harm=Harm(HOSTILE, 1.0, 2.0, True),
               prescription=[Prescribed(HOSTILE, 1)]),
        mutant("warned", 2, **hostile, diff=HOSTILE, warnings=[HOSTILE]),
        mutant("detected", 3, **hostile, tests={**KILLED, "test": HOSTILE}, detected_by=detections * 2),
        mutant("detected", 4, **hostile, detected_by=detections),
        *(mutant(s, 5, **hostile, reason=HOSTILE) for s in ("not_activated", "no_effect", "ignored", "error")),
        unmutated={HOSTILE: HOSTILE}, notes=[HOSTILE], since=HOSTILE,
    )  # fmt: skip
    report.mutation.mutmut = HOSTILE  # type: ignore[union-attr]
    page, clean = written(report, tmp_path), written(mutated(*every()), tmp_path)
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in clean.tags} | {"table", "del", "br"}
    shown = "<script>alert('x')</script> \"quoted\" 'single' & {{ 7 * 7 }} \\x00\\x1b[31m\\u202e\\ud800 end"
    assert page.text.count(shown) >= 25
    assert not {letter for letter in page.source if letter < " " and letter not in "\n\t"}


def test_the_section_is_marked_up_for_those_who_hear_the_page_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    page = written(mutated(*every(), unmutated={"a.py:1 f": "nothing in it"}), tmp_path)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("table") == tags.count("caption") > 0
    assert all(found.get("scope") in ("row", "col") for tag, found in page.tags if tag == "th")
    levels = [int(tag[1]) for tag in tags if tag in ("h1", "h2", "h3", "h4")]
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = Counter(found["id"] for _, found in page.tags if "id" in found)
    assert max(ids.values()) == 1
    assert {href[1:] for href in page.values("a", "href") if href.startswith("#")} <= set(ids)


def test_hundreds_of_survivors_stay_folded_and_small(tmp_path: Path) -> None:
    many = [
        mutant("silent", line, after=f"{n}", function=f"Lit.m{line % 40}") for line in range(1, 401) for n in range(5)
    ]
    page = written(mutated(*many), tmp_path)
    groups = [found for tag, found in page.tags if tag == "details" and found.get("class") == "function"]
    assert len(groups) == 40
    assert not any("open" in found for found in groups)
    assert "20 functions more" in page.text
    assert len(page.source) < 1_500_000


def test_the_index_has_the_score_of_those_that_have_one(tmp_path: Path) -> None:
    written(sample("broken"), tmp_path)
    assert "mutation score" not in Page(tmp_path / "index.html").text
    written(mutated(*every()), tmp_path)
    text = Page(tmp_path / "index.html").text
    assert "mutation score" in text
    assert "43 %" in text
    assert "1 missed by the tests, detected by a guard in the training" in text


def test_a_report_of_mutants_alone_has_no_coverage_in_its_line() -> None:
    line = overview.one_line(mutated(*every()))
    assert line == mutation_line(mutated(*every()))
    assert line == (
        "made-up: mutation score 0.429 of 10 mutants: 3 killed (2 of them missed by the tests), 1 only warned of, "
        "2 survived, 1 never run; not counted: 1 equivalent, 1 exempt, 1 not judged; gate passed; 2.5 s"
    )
    report = sample()
    report.mutants, report.mutation = every(), mutated(*every()).mutation
    assert "silent (1 harmful); mutation score 0.429 of 10 mutants; gate passed" in overview.one_line(report)


def test_the_terminal_says_which_methods_are_weak_and_what_was_only_warned_of() -> None:
    report = mutated(*every(), mutant("detected", 40, function="LitModel.strong"))
    report.mutation.methods[-1].update(modes=7, modes_detected=2)  # type: ignore[union-attr]
    assert method_rows(report) == [
        "LitModel.unused: 0 of 1 mutant killed (1 never run)",
        "LitModel.forward: 3 of 6 mutants killed",
        "LitModel.strong: 1 of 1 mutant killed, 2 of 7 failure modes detected",
    ]
    assert [status for status, _ in survivors(report)] == [Status.WARNED, Status.SILENT, Status.SILENT]
    assert survivors(report)[1][1] == "pkg/model.py:14:13 LitModel.forward: `1` becomes `2`"


def test_of_a_long_change_the_part_that_differs_is_told() -> None:
    text = "f'" + "a long message, and " * 5 + "{', '.join(names)}" + " with a long end" * 5 + "'"
    told = change(mutant("silent", before=text, after=text.replace("names", "None")))
    assert "join(names)" in told
    assert "join(None)" in told
    assert len(told) < 200
    assert change(mutant("silent", before="shuffle=True,", after="")) == "`shuffle=True,` removed"
    assert change(mutant("silent", before="", after="not")) == "`not` inserted"


def test_a_diff_marks_whole_words_and_keeps_what_it_can_not_take_apart() -> None:
    one = diffs.read("--- a\n+++ a\n@@ -7,2 +7,2 @@\n y = 0\n-x = f(True)\n+x = f(None)\n z")
    assert [(line.sign, line.number, line.text) for line in one.before] == [(" ", 7, "y = 0"), ("-", 8, "x = f(True)")]
    assert one.after[0].pieces == (("x = f(", False), ("None", True), (")", False))
    two = diffs.read("--- a\n+++ a\n@@ -1,3 +1,3 @@\n-a\n+b\n c\n-d\n+e")
    assert (two.before, [line.text for line in two.after]) == ((), ["a", "b", "c", "d", "e"])
    assert diffs.read("") == diffs.Change((), ())
    assert [line.text for line in diffs.cut((one.before[0], one.after[0]), 3)] == [" 0", " f(None)"]


def test_a_form_feed_in_a_source_ends_no_line(tmp_path: Path) -> None:
    source = 'TEXT = "a\x1cb"\n\x0c\ndef add(a):\n    return a + 1\n'
    made = "\x0c\ndef x_add__mutmut_orig(a):\n    return a + 1\n\ndef x_add__mutmut_1(a):\n    return a - 1\n"
    mutated_file = tmp_path / "m.py"
    mutated_file.write_text(made, encoding="utf-8")
    spans = '{"version": 1, "spans": {"x_add__mutmut_orig": [2, 3], "x_add__mutmut_1": [5, 6]}}'
    (tmp_path / "m.py.spans").write_text(spans, encoding="utf-8")
    found = locate("m.py", source, mutated_file, ["m.x_add__mutmut_1"])
    assert [(one.place, one.before, one.after) for one in found] == [("m.py:4:14", "+", "-")]
    assert "@@ -3,2 +3,2 @@" in found[0].diff
