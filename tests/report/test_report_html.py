"""The page: what a file must be, that a victim's words stay words, and that it needs nothing but itself."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest

from faultlab.cli.explain_command import _link
from faultlab.core.alert import Alert
from faultlab.core.detection import Prescribed
from faultlab.core.reason import Reason, ReasonKind
from faultlab.core.report import FaultResult, Harm, Report, Status
from faultlab.report import overview
from faultlab.report.html import document
from tests.report.pages import HARMFUL, HOSTILE, Page, digest, fault, found, sample, save, written


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


def test_a_catalogue_that_can_not_be_read_costs_the_lessons_and_not_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overview.index, "modes", lambda: (_ for _ in ()).throw(SyntaxError("half a file")))
    page = written(sample(), tmp_path)
    assert "half a file" in page.text
    assert "return.none@always" in page.text


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
