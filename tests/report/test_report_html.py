"""The page: what it says, that a victim's words stay words, and that it needs nothing but itself."""

from __future__ import annotations

import base64
import hashlib
import json
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest

from faultlab.cli.explain_command import _link
from faultlab.core.alert import Alert
from faultlab.core.demands import Demands
from faultlab.core.detection import Detection, Prescribed
from faultlab.core.reason import Reason, ReasonKind
from faultlab.core.report import Baseline, FaultResult, Harm, Report, Status, dump
from faultlab.report import overview
from faultlab.report.html import document
from faultlab.report.html.guard_sections import watched

HOSTILE = "<script>alert('x')</script> \"quoted\" 'single' & {{ 7 * 7 }} \x00\x1b[31m\u202e\ud800 end"
HARMFUL, HARMLESS = Harm("val_loss", 0.5, 2.25, True), Harm("val_loss", 0.5, 0.51, False)


class Page(HTMLParser):
    """A page taken apart: its tags with their attributes, and its text as it is read out, without style and script."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.source = file.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = self.style = self.script = ""
        self._inside = ""
        self.feed(self.source)
        self.text = " ".join(self.text.split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "span" and dict(attrs).get("role") == "img":
            self.text += f" {dict(attrs)['aria-label']}"

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "style":
            self.style += data
        elif self._inside == "script":
            self.script += data
        else:
            self.text += data

    def values(self, tag: str, attribute: str) -> list[str]:
        return [found[attribute] or "" for name, found in self.tags if name == tag and attribute in found]


def digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def fault(mode: str, status: Status, trigger: str = "always", **more: object) -> FaultResult:
    more = {"severity": "major", "activations": 3, "first_step": 0, **more}
    return FaultResult(f"{mode}@{trigger}", mode, mode.partition(".")[0], status=status, **more)  # type: ignore[arg-type]


def found(kind: str, name: str = "Guard", cause: bool = False, latency: int = 0, message: str = "no") -> Detection:
    return Detection(kind, name, latency, latency, cause, message)


def sample(name: str = "digits", faults: list[FaultResult] | None = None) -> Report:
    """A report in which every status occurs."""
    every = [
        fault("loss.nan", Status.DETECTED, detected_by=[found("guard", "FiniteLoss", True, 2), found("framework")]),
        fault("loss.zeroed", Status.DETECTED, detected_by=[found("guard", "Moves")]),
        fault("input.nan", Status.DETECTED, detected_by=[found("module", "assertion")]),
        fault("return.float", Status.DETECTED, detected_by=[found("framework", "exception")]),
        fault("step.raises", Status.WARNED, warnings=["UserWarning: look here"], harm=HARMLESS),
        fault("return.none", Status.SILENT, harm=HARMFUL, severity="critical"),
        fault("label.noisy", Status.SILENT, harm=HARMLESS),
        fault("gradient.zero", Status.NO_EFFECT, reason="the run is the clean one, to the bit"),
        fault("forward.noise", Status.NOT_APPLICABLE, reason="no floating output"),
        fault("batch.none", Status.NOT_ACTIVATED, reason="it never acted"),
        fault("batch.swapped", Status.ERROR, reason="the injector failed"),
        fault("batch.empty", Status.TIMEOUT, reason="still running"),
        fault("scheduler.missing", Status.IGNORED, reason="a constant rate on purpose"),
    ]
    return Report(
        name,
        versions={"torch": "2.13.0", "lightning": "2.6.6", "python": "3.11.7"},
        baseline=Baseline(1.9, 24, True, [0, 1, 2], {"val_loss": 0.5}),
        faults=every if faults is None else faults,
        timing={"import": 5.0, "baseline": 2.0, "faults": 4.0, "total": 11.0, "jobs": 2},
        faultlab="0.1.0",
    )


def written(report: Report, out: Path) -> Page:
    save(report, out)
    return Page(document.write(report, out))


def save(report: Report, out: Path) -> None:
    (out / report.scenario).mkdir(exist_ok=True)
    (out / report.scenario / "report.json").write_text(dump(report.to_json()), encoding="utf-8", errors="replace")


def test_the_page_stands_where_the_run_is_and_leaves_nothing_else_behind(tmp_path: Path) -> None:
    save(sample(), tmp_path)
    assert document.write(sample(), tmp_path) == tmp_path / "digits" / "index.html"
    names = sorted(str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file())
    assert names == ["digits/index.html", "digits/report.json", "index.html"]


def test_a_page_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = written(sample(), tmp_path).source

    def full_disk(*paths: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(document.os, "replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        document.write(sample(faults=[]), tmp_path)
    assert (tmp_path / "digits" / "index.html").read_text(encoding="utf-8") == before
    assert {file.name for file in tmp_path.rglob("*") if file.is_file()} == {"index.html", "report.json"}


@pytest.mark.parametrize("name", ["index.html", "digits/index.html"])
def test_a_page_fetches_nothing_and_sends_nothing(tmp_path: Path, name: str) -> None:
    written(sample(), tmp_path)
    page = Page(tmp_path / name)
    tags = {tag for tag, _ in page.tags}
    assert not tags & {"link", "img", "iframe", "object", "embed", "base", "image", "use"}
    attributes = {attribute for _, found in page.tags for attribute in found}
    assert not attributes & {"src", "srcset", "style", "action", "ping", "background", "xlink:href"}
    assert not [attribute for attribute in attributes if attribute.startswith("on")]
    assert "url(" not in page.style
    assert "@import" not in page.style
    outside = [found for tag, found in page.tags if "//" in (found.get("href") or "")]
    assert all(found["rel"] == "noreferrer" for found in outside)


@pytest.mark.parametrize("name", ["index.html", "digits/index.html"])
def test_a_page_has_a_policy_that_allows_its_own_style_and_script_alone(tmp_path: Path, name: str) -> None:
    written(sample(), tmp_path)
    page = Page(tmp_path / name)
    policy = next(found["content"] for tag, found in page.tags if tag == "meta" and "http-equiv" in found)
    scripts = f" script-src 'sha256-{digest(page.script)}';" if page.script else ""
    style = f"style-src 'sha256-{digest(page.style)}';"
    assert policy == f"default-src 'none'; {style}{scripts} base-uri 'none'; form-action 'none'"
    assert [tag for tag, _ in page.tags].count("script") == bool(page.script) == 1
    assert [tag for tag, _ in page.tags].index("style") > [found.get("content") for _, found in page.tags].index(policy)


def test_hostile_strings_stay_text_wherever_they_stand(tmp_path: Path) -> None:
    detection = found("guard", HOSTILE, message=HOSTILE)
    worst = fault("return.none", Status.SILENT, reason=HOSTILE, harm=Harm(HOSTILE, 1.0, 2.0, True))
    report = sample(faults=[
        worst,
        fault(HOSTILE, Status.SILENT, severity=HOSTILE, prescription=[Prescribed(HOSTILE, 1)]),
        fault("loss.nan", Status.DETECTED, detected_by=[detection, found("test", HOSTILE), found("module", HOSTILE)]),
        fault("loss.zeroed", Status.WARNED, warnings=[HOSTILE], reason=HOSTILE),
        *(fault(f"x.{s.value}", s, reason=HOSTILE) for s in (Status.ERROR, Status.NO_EFFECT, Status.NOT_APPLICABLE)),
    ])  # fmt: skip
    report.versions = report.baseline.metrics = {HOSTILE: 1.0}  # type: ignore[assignment]
    report.baseline.false_alarms = [Alert("guard", HOSTILE, 0, HOSTILE)]
    report.passed, report.reasons, report.faultlab = False, [Reason(ReasonKind.COVERAGE, HOSTILE)], HOSTILE
    clean, page = written(sample(), tmp_path), written(report, tmp_path)
    assert {tag for tag, _ in page.tags} <= {tag for tag, _ in clean.tags} | {"del"}
    shown = "<script>alert('x')</script> \"quoted\" 'single' & {{ 7 * 7 }} \\x00\\x1b[31m\\u202e\\ud800 end"
    assert page.text.count(shown) >= 16
    assert not {letter for letter in page.source if letter < " " and letter not in "\n\t"}


def test_a_hostile_name_of_a_scenario_stays_text_in_its_page_and_in_the_index(tmp_path: Path) -> None:
    name = '"><b onclick=x>&'
    page = written(sample(name), tmp_path)
    listing = Page(tmp_path / "index.html")
    assert name in page.text
    assert name in listing.text
    assert "b" not in {tag for tag, attributes in page.tags + listing.tags if "onclick" in attributes}
    assert "%22%3E%3Cb%20onclick%3Dx%3E%26/index.html" in listing.values("a", "href")


def test_a_long_message_is_folded_and_its_length_is_given(tmp_path: Path) -> None:
    detection = found("framework", message="start " + "x" * 100_000)
    page = written(sample(faults=[fault("loss.nan", Status.DETECTED, detected_by=[detection])]), tmp_path)
    assert "start xxx" in page.text
    assert "report.json has all 100,006 characters." in page.text
    assert "details" in [tag for tag, found in page.tags if found.get("class") == "long"]
    assert "[shortened" not in page.text
    assert len(page.source) < 40_000


def test_the_parts_of_the_bar_add_up_and_luck_is_not_mixed_with_guards() -> None:
    found = {part.words: part.count for part in document.parts(sample())}
    assert found == {
        "detected by a guard or test that names the cause": 1,
        "detected by a guard or test for another reason": 1,
        "detected by the module's own check": 1,
        "failed incidentally, in the framework or the process": 1,
        "only warned": 1,
        "silent and harmful": 1,
        "silent and harmless, as far as measured": 1,
    }
    assert sum(part.share for part in document.parts(sample())) == pytest.approx(100, abs=0.01)


def test_a_failure_mode_is_counted_as_its_worst_fault() -> None:
    guarded = fault("loss.nan", Status.DETECTED, "step=1", detected_by=[found("guard", cause=True)])
    lucky = fault("loss.nan", Status.DETECTED, detected_by=[found("process")])
    harmless, harmful = fault("a.b", Status.SILENT, harm=HARMLESS), fault("a.b", Status.SILENT, "step=1", harm=HARMFUL)
    others = [fault(f"c.d-{n}", Status.SILENT, harm=HARMLESS) for n in range(2)]
    report = sample(faults=[guarded, lucky, harmless, harmful, *others])
    assert [(part.words, part.count) for part in document.parts(report) if part.count] == [
        ("failed incidentally, in the framework or the process", 1),
        ("silent and harmful", 1),
        ("silent and harmless, as far as measured", 2),
    ]


def test_faults_whose_harm_is_unknown_have_a_part_and_a_section_of_their_own(tmp_path: Path) -> None:
    unknown = Harm("val_loss", 0.5, 0.1, False, "val_loss is computed by what the fault has changed")
    made = sample(faults=[fault("a.b", Status.SILENT, harm=unknown), fault("c.d", Status.SILENT, harm=HARMLESS)])
    assert [(part.words, part.count) for part in document.parts(made) if part.count] == [
        ("silent, their harm unknown", 1),
        ("silent and harmless, as far as measured", 1),
    ]
    made.baseline.findings = [
        {"kind": "direction", "what": f"which way? {HOSTILE}", "evidence": "", "remedy": "say it"}
    ]
    page = written(made, tmp_path)
    assert "Harm unknown (1)" in page.text
    assert "val_loss is computed by what the fault has changed (val_loss 0.1, clean 0.5)" in page.text
    assert page.text.index("Which way?") < page.text.index("Harm unknown (1)")


def test_the_bar_has_a_text_beside_it(tmp_path: Path) -> None:
    page = written(sample(), tmp_path)
    assert page.values("svg", "role") == ["img"]
    assert page.values("svg", "aria-label")[0].startswith("digits: coverage 0.57: 4 detected, 1 only warned, 2 silent")
    assert "1 silent and harmful" in page.text


def test_every_silent_fault_is_told_with_its_id_cost_and_lesson(tmp_path: Path) -> None:
    faults = [fault("return.none", Status.SILENT, f"step={n}", harm=HARMFUL) for n in range(40)]
    faults += [fault(f"loss.mode-{n}", Status.SILENT) for n in range(40)]
    page = written(sample(faults=faults), tmp_path)
    assert all(f"{each.id}" in page.text for each in faults)
    assert "val_loss 2.25, clean 0.5 (harmful)" in page.text
    assert "Why it goes undetected" in page.text
    assert "not in the catalogue" in page.text
    assert not [found for tag, found in page.tags if "open" in found]


def test_the_worst_silent_faults_come_first(tmp_path: Path) -> None:
    faults = [fault(f"a.m-{n}", Status.SILENT, harm=Harm("val_loss", 1.0, 2.0 + n, True)) for n in range(6)]
    page = written(sample(faults=faults), tmp_path)
    lessons = [found for tag, found in page.tags if tag == "details" and found.get("class") == "lesson"]
    assert [found["id"] for found in lessons] == [f"a.m-{n}" for n in (5, 4, 3, 2, 1, 0)]


def test_a_metric_that_lies_is_told_beside_what_the_evaluation_says() -> None:
    constant = fault("metric.constant", Status.SILENT, harm=Harm("val_loss", 0.57, 1.0, True))
    assert overview.cost(constant) == "val_loss is reported as 1, but is 0.57 (harmful)"
    gone = fault("metric.missing", Status.SILENT, harm=Harm("val_loss", 0.57, None, True))
    assert overview.cost(gone) == "val_loss is reported as no number, but is 0.57 (harmful)"


def test_a_catalogue_that_can_not_be_read_costs_the_lessons_and_not_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview.index, "modes", lambda: (_ for _ in ()).throw(SyntaxError("half a file")))
    page = written(sample(), tmp_path)
    assert "half a file" in page.text
    assert "return.none@always" in page.text


def test_the_matrix_says_who_detected_and_how_late(tmp_path: Path) -> None:
    guard = [found("guard", "FiniteLoss", True, latency) for latency in (1, 4)]
    faults = [fault("loss.nan", Status.DETECTED, f"step={n}", detected_by=[each]) for n, each in enumerate(guard)]
    faults.append(fault("loss.nan", Status.DETECTED, "always", detected_by=[found("process", latency=7)]))
    page = written(sample(faults=faults), tmp_path)
    assert ("td", {"class": "h01"}) in page.tags, "it names the cause, at most four steps later"
    assert ("td", {"class": "h32"}) in page.tags, "it fails incidentally, seven steps later"
    assert "+1\N{EN DASH}4 (2 of 3)" in page.text
    assert "+7 (1 of 3)" in page.text
    assert page.text.count("guard FiniteLoss") == 4


def test_what_is_inconclusive_what_alarms_falsely_and_the_gate_are_loud(tmp_path: Path) -> None:
    report = sample()
    report.passed, report.reasons = False, [Reason(ReasonKind.COVERAGE, f"reason {n}") for n in range(12)]
    report.baseline.false_alarms = [Alert("guard", "Nervous", 3, "too hot")]
    page = written(report, tmp_path)
    for words in ("1 false alarm on clean runs", "Nervous, step 3: too hot", "Gate NOT passed", "reason 11"):
        assert words in page.text
    for words in ("Inconclusive (3)", "batch.none@always", "it never acted", "the injector failed", "still running"):
        assert words in page.text
    for words in ("no floating output", "a constant rate on purpose", "to the bit", "UserWarning: look here"):
        assert words in page.text


@pytest.mark.parametrize(
    "faults", [[], [fault("a.b", Status.NO_EFFECT)], [fault("a.b", Status.DETECTED), fault("a.b", Status.ERROR)]]
)
def test_a_report_with_next_to_nothing_in_it_has_a_page(tmp_path: Path, faults: list[FaultResult]) -> None:
    assert "Gate passed" in written(Report("bare", faults=faults), tmp_path).text


def test_tables_and_headings_are_marked_up_for_those_who_hear_the_page(tmp_path: Path) -> None:
    page = written(sample(), tmp_path)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("table") == tags.count("caption") > 0
    assert all(found.get("scope") in ("row", "col", "rowgroup") for tag, found in page.tags if tag == "th")
    levels = [int(tag[1]) for tag in tags if tag in ("h1", "h2", "h3", "h4")]
    assert levels[0] == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert len(ids) == len(set(ids))
    assert {href[1:] for href in page.values("a", "href") if href.startswith("#")} <= set(ids)


def test_a_page_of_two_thousand_faults_stays_small(tmp_path: Path) -> None:
    guards = [found("guard", f"Guard{n}", message="m" * 2000) for n in range(3)]
    faults = [fault(f"f{n % 20}.mode-{n // 4}", Status.DETECTED, f"step={n}", detected_by=guards) for n in range(1000)]
    faults += [fault(f"g{n % 20}.mode-{n // 2}", Status.SILENT, f"step={n}", harm=HARMFUL) for n in range(1000)]
    page = document.write(sample(faults=faults), tmp_path)
    assert page.stat().st_size < 3_000_000


def test_the_index_lists_every_scenario_beside_what_can_not_be_read(tmp_path: Path) -> None:
    wrong = {"not-json": "{", "not-utf8": "\udcff", "not-ours": "[]", "newer": '{"schema": 99}', "empty": ""}
    wrong["half"] = json.dumps({**sample().to_json(), "faults": [{"id": "x"}]}, default=str)
    wrong["lies"] = json.dumps({**sample().to_json(), "baseline": {"false_alarms": 3}}, default=str)
    for name, text in wrong.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.json").write_bytes(text.encode(errors="surrogateescape"))
    save(sample("unpaged"), tmp_path)
    for name in ("one", "two"):
        written(sample(name), tmp_path)
    page = Page(tmp_path / "index.html")
    assert page.values("a", "href") == ["one/index.html", "two/index.html"]
    assert "unpaged" in page.text
    assert all(f"{name}/report.json" in page.text for name in wrong)
    assert "schema 99" in page.text


def test_evidence_is_linked_where_it_has_an_address() -> None:
    assert _link("a/b#1") == "a/b#1  https://github.com/a/b/issues/1"
    assert _link("a/b (docs)") == "a/b (docs)  https://github.com/a/b"
    assert _link("arXiv:2204.00694 (x)").endswith("  https://arxiv.org/abs/2204.00694")
    assert _link("doi:10.1145/3460319.3464825, table 2").endswith("  https://doi.org/10.1145/3460319.3464825")
    assert _link("javascript:alert(1)") == "javascript:alert(1)"


def test_the_terminal_names_the_worst_of_each_family_before_the_next_of_any() -> None:
    severe = Harm("val_loss", 0.5, None, True)
    faults = [fault(f"a.mode-{n}", Status.SILENT, harm=severe) for n in range(3)]
    report = sample(faults=[*faults, fault("b.mode", Status.SILENT, harm=HARMFUL), fault("c.mode", Status.SILENT)])
    named = [row.partition("@")[0] for row in overview.silent_rows(report, 4)]
    assert named == ["a.mode-0", "b.mode", "c.mode", "a.mode-1"]


def test_a_scenario_that_asks_for_nothing_is_not_said_to_have_passed_a_gate(tmp_path: Path) -> None:
    report = sample()
    report.demands = Demands()
    page = written(report, tmp_path)
    assert "set limits in the scenario" in page.text
    assert "Gate passed" not in page.text + Page(tmp_path / "index.html").text
    assert "no gate in the scenario" in overview.one_line(report)
    report.demands = Demands(coverage=0.1)
    assert "gate passed" in overview.one_line(report)


def test_where_no_gate_was_asked_for_none_is_said_to_have_failed(tmp_path: Path) -> None:
    report = sample()
    report.demands, report.passed = Demands(), False
    for alarms, kind, said in (
        ([Alert("guard", "A", 0, "x")], ReasonKind.FALSE_ALARMS, "false alarms"),
        ([], ReasonKind.FAULT_UNPROVEN, "inconclusive"),
        ([], ReasonKind.EXEMPTION, "not passed"),
    ):
        report.baseline.false_alarms, report.reasons = alarms, [Reason(kind, "no words decide")]
        assert report.gate == f"no gate in the scenario; {said}"
        page = written(report, tmp_path)
        assert f"No gate in the scenario; {said}" in page.text
        assert "Add one to the scenario" not in page.text
        assert "box failed" in page.source
    report.reasons = [Reason(ReasonKind.BASELINE, "a.b is newly silent")]
    assert report.gate == "gate NOT passed", "what was accepted is a gate"


def test_a_guard_would_add_no_more_than_nobody_detected(tmp_path: Path) -> None:
    guard = [Prescribed("faultlab.guards.Steps", 1, 0.1)]
    faults = [
        fault("a.silent", Status.SILENT, prescription=guard),
        fault("a.warned", Status.WARNED, prescription=guard),
        # Of a report from before a test that detects took the prescription away.
        fault("a.tested", Status.DETECTED, prescription=guard),
        fault("a.beyond", Status.SILENT),
    ]
    found = {
        "false_alarms": [],
        "detected": {},
        "costs": {"Steps": 0.1},
        "quiet_runs": [],
        "broken": {},
        "disturbed": "",
    }
    (tmp_path / "guards.json").write_text(json.dumps(found))
    told = watched(tmp_path, faults)
    assert told is not None
    assert (told["silent"], told["warned"]) == (2, 1)
    assert [(one.silent, one.warned) for one in told["offered"]] == [(1, 1)]


def test_guards_that_never_looked_are_named_with_the_reason(tmp_path: Path) -> None:
    why = "Wolf looked 0 times, and left looks out: it was dark (3x)"
    found = {"false_alarms": [], "detected": {}, "quiet_runs": ["clean-reloaded"], "broken": {}, "disturbed": ""}
    found["costs"] = {"Wolf": 0.0, "Owl": 0.0, "Mole": 0.0}
    save(sample(), tmp_path)
    (tmp_path / "digits" / "guards.json").write_text(
        json.dumps({**found, "idle": {"Wolf": why}, "looks": {"Owl": 3, "Mole": 0}})
    )
    text = written(sample(), tmp_path).text
    assert "could not look: it was dark (3x)" in text
    assert "looked, detected nothing" in text
    assert "counted no look: this training may have nothing that it judges" in text
    assert '"clean-reloaded" is a clean training that is stopped and continues from its checkpoint' in text


def test_what_is_different_from_the_run_before_is_said_detector_by_detector(tmp_path: Path) -> None:
    guard = [found("guard", "Steps", True)]
    before = [
        fault("return.none", Status.DETECTED, detected_by=guard),
        fault("loss.nan", Status.DETECTED, detected_by=guard),
    ]
    before += [fault(f"a.mode-{n}", Status.DETECTED, detected_by=guard) for n in range(20)]
    after = [fault("return.none", Status.SILENT), fault("loss.nan", Status.DETECTED, detected_by=guard)]
    after += [fault(f"a.mode-{n}", Status.DETECTED, detected_by=[found("framework")]) for n in range(20)]
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "previous.json").write_text(dump(sample(faults=before).to_json()))
    page = written(sample(faults=after), tmp_path)
    assert "Coverage 95 %, before 100 %." in page.text
    assert "Newly silent" in page.text
    assert "guard:Steps misses 21 failure modes" in page.text, "folded"
    assert "#compared" in page.values("a", "href")
    (tmp_path / "digits" / "previous.json").write_text("{")
    assert "Since the previous run" not in written(sample(faults=after), tmp_path).text
