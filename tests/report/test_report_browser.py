"""The page in a real browser: its filters, its keyboard, its lessons, and that hostile words stay words."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from faultlab.core.detection import Prescribed
from faultlab.core.report import FaultResult, Status, dump
from faultlab.core.run_folder import CURVES_FILE, PREVIOUS_FILE
from faultlab.report.html import document
from tests.report.pages import HARMFUL, HOSTILE, fault, found, sample

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
PAGES = ("index.html", "digits/index.html", "digits/lesson.html")
DRAWN = ("return.none", "label.noisy")
SIZES = {"desktop": (1280, 900), "phone": (360, 740)}
MORE = pytest.mark.nightly(reason="the same pages dark and on a phone; the quick ring has them light on a desktop")
SCHEMES = ["light", pytest.param("dark", marks=MORE)]
EVERYTHING = "!document.querySelector('[data-mode][hidden]')"
Open = Callable[..., Any]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield running
        running.close()


@pytest.fixture
def opened(browser: Any) -> Iterator[Open]:
    """Opens a page and holds it to what every page must keep: quiet, and without a request but for itself."""
    complaints: list[str] = []
    contexts = []

    def open_page(file: Path, **options: Any) -> Any:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: complaints.append(f"console: {message.text}"))
        page.on("pageerror", lambda error: complaints.append(f"error: {error}"))
        page.on("dialog", lambda dialog: (complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda asked: complaints.append(f"request: {asked.url}") if asked.url != here else None)
        here = file.resolve().as_uri()
        page.goto(here)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def reported(folder: Path, faults: list[FaultResult] | None = None) -> Path:
    """The run folder of a report with curves and a lesson."""
    report = sample(faults=faults)
    report.target = {"scenario": "scenarios/digits.yaml"}
    clean = {"loss": [[step, 2.0 / (step + 1)] for step in range(24)], "metric": [[5, 0.9], [11, 0.7], [23, 0.5]]}
    faulty = {
        "loss": [[step, None if step > 20 else 2.0] for step in range(24)],
        "metric": [[5, 0.9], [11, 0.7], [23, 2.25]],
    }
    curves = {f"{mode}@always": faulty for mode in DRAWN}
    run = folder / "digits"
    run.mkdir()
    (run / CURVES_FILE).write_text(dump({"schema": 1, "metric": "val_loss", "clean": {"run": clean}, "faults": curves}))
    detected = [fault(mode, Status.DETECTED, detected_by=[found("guard", "Gone")]) for mode in DRAWN]
    (run / PREVIOUS_FILE).write_text(dump(sample(faults=detected).to_json()))
    document.write(report, folder)
    document.write_lesson(report, run)
    return run


def until(page: Any, expression: str) -> None:
    """Waits until it holds; Playwright's own waiting compiles it in the page, which the page's policy forbids."""
    for _ in range(500):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(20)
    raise AssertionError(f"it never came to be: {expression}")


def rows(page: Any) -> set[str]:
    """The failure modes that the matrix shows."""
    return set(page.locator(".matrix tr[data-mode]:visible").evaluate_all("rows => rows.map(row => row.dataset.mode)"))


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("size", ["desktop", pytest.param("phone", marks=MORE)])
@pytest.mark.parametrize("name", PAGES)
def test_every_page_is_quiet_fetches_nothing_and_fits_its_window(
    tmp_path: Path, opened: Open, name: str, size: str, scheme: str
) -> None:
    reported(tmp_path)
    width, height = SIZES[size]
    page = opened(tmp_path / name, viewport={"width": width, "height": height}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(255, 255, 255)") == (scheme == "light")


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", PAGES)
def test_every_page_can_be_read_by_everybody(tmp_path: Path, opened: Open, name: str, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    reported(tmp_path)
    page = opened(tmp_path / name, color_scheme=scheme)
    for details in page.locator("details").all():
        details.evaluate("each => each.open = true")
    wrong = axe.Axe().run(page).response["violations"]
    said = [f"{rule['id']}: {node['html']}" for rule in wrong for node in rule["nodes"]]
    assert said == []


@pytest.mark.parametrize(
    ("field", "choice", "left"),
    [
        ("Family", "loss", {"loss.nan", "loss.zeroed"}),
        ("Severity", "critical", {"return.none"}),
        ("Status", "warned", {"step.raises"}),
        ("Detected by", "guard FiniteLoss", {"loss.nan"}),
    ],
)
def test_each_filter_leaves_what_it_says(tmp_path: Path, opened: Open, field: str, choice: str, left: set[str]) -> None:
    page = opened(reported(tmp_path) / "index.html")
    every = rows(page)
    page.get_by_label(field).select_option(choice)
    assert rows(page) == left
    shown = page.locator("[data-mode]:not([hidden])").evaluate_all("all => all.map(each => each.dataset.mode)")
    assert set(shown) == left, "the lists beside the matrix follow"
    assert f"{len(left)} of" in page.locator("output").first.inner_text()
    page.get_by_role("button", name="Show all").click()
    until(page, EVERYTHING)
    assert rows(page) == every


def test_filters_join_and_the_text_finds_what_is_said_of_a_failure_mode(tmp_path: Path, opened: Open) -> None:
    page = opened(reported(tmp_path) / "index.html")
    page.get_by_label("Family").select_option("loss")
    page.get_by_label("Detected by").select_option("guard Moves")
    assert rows(page) == {"loss.zeroed"}
    page.get_by_label("Detected by").select_option("all")
    page.get_by_label("Find").fill("LOSS.NAN")
    assert rows(page) == {"loss.nan"}
    page.get_by_label("Find").fill("nothing of that kind")
    assert rows(page) == set()
    assert page.locator(".matrix tr.family:visible").count() == 0


def test_the_page_works_by_keyboard_alone(tmp_path: Path, opened: Open) -> None:
    page = opened(reported(tmp_path) / "index.html")
    page.get_by_label("Find").focus()
    page.keyboard.type("label.noisy")
    assert rows(page) == {"label.noisy"}
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.name") == "family"
    page.keyboard.press("Escape")
    until(page, EVERYTHING)
    summary = page.locator("details.lesson").last.locator("summary")
    summary.focus()
    before = page.locator("details.lesson").last.get_attribute("open")
    page.keyboard.press("Enter")
    assert page.locator("details.lesson").last.get_attribute("open") != before
    reached = set()
    page.locator("body").evaluate("body => { body.tabIndex = -1; body.focus(); }")
    for _ in range(80):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName + '.' + document.activeElement.className"))
    assert {"INPUT.", "SELECT.", "SUMMARY.", "A.", "BUTTON.", "BUTTON.sort", "DIV.scroll matrix"} <= reached


def test_a_link_in_the_matrix_leads_to_a_lesson_that_is_closed_or_filtered_away(tmp_path: Path, opened: Open) -> None:
    faults = [fault(f"a.mode-{n}", Status.SILENT, harm=HARMFUL) for n in range(9)]
    page = opened(reported(tmp_path, faults) / "index.html")
    closed = page.locator('[id="a.mode-8"]')
    closed.evaluate("each => { each.open = false; each.hidden = true; }")
    page.locator('.matrix a[href="#a.mode-8"]').click()
    until(page, "document.getElementById('a.mode-8').open")
    assert closed.is_visible()


def test_an_address_that_is_none_keeps_nothing_from_working(tmp_path: Path, opened: Open) -> None:
    page = opened(reported(tmp_path) / "index.html")
    page.evaluate("location.hash = '#100%'")
    page.reload()
    assert page.locator("section[aria-labelledby=warned] .sort").first.is_visible(), (
        "what comes after the links is set up too"
    )


def test_a_silent_fault_is_drawn_over_its_clean_twin_with_what_to_paste(tmp_path: Path, opened: Open) -> None:
    page = opened(reported(tmp_path) / "index.html")
    lesson = page.locator('[id="return.none"]')
    lesson.locator("summary").first.click()
    assert lesson.locator("figure").count() == 2
    assert lesson.locator("polyline.clean").count() == 2
    assert lesson.locator("line.broken").count() == 3
    assert "to not a finite number, in the clean run to 0.08333" in lesson.locator("figcaption").first.inner_text()
    assert "faultlab replay return.none@always --scenario scenarios/digits.yaml" in lesson.inner_text()
    lesson.get_by_role("button").last.click()
    assert "faultlab replay" in page.evaluate("getSelection().toString()")


def test_a_lesson_hides_the_answer_until_the_reader_has_guessed(tmp_path: Path, opened: Open) -> None:
    page = opened(reported(tmp_path) / "lesson.html")
    cases = page.locator(".case")
    assert cases.count() == 2
    text = page.locator("main").inner_text()
    names = page.locator("[aria-label]").evaluate_all("all => all.map(each => each.ariaLabel).join(' ')")
    assert "return.none" not in text + names
    first = cases.first
    first.locator("input[value=wrong]").first.check()
    assert "return.none@always" in first.inner_text()
    assert "label.noisy" not in page.locator("main").inner_text(), "the other case keeps its answer"
    assert page.locator("#score").inner_text() == "0 of 1 right, 1 to go"
    assert first.locator("input").evaluate_all("all => all.every(each => each.disabled)"), "the first guess counts"
    cases.last.locator("input[value=right]").check()
    assert page.locator("#score").inner_text() == "1 of 2 right, 0 to go"


def test_without_scripts_all_is_shown_and_a_lesson_still_hides_its_answers(tmp_path: Path, opened: Open) -> None:
    run = reported(tmp_path)
    page = opened(run / "index.html", java_script_enabled=False)
    assert page.locator("#filters").is_hidden()
    assert page.locator(".matrix tr[data-mode]").count() == page.locator(".matrix tr[data-mode]:visible").count() > 0
    page = opened(run / "lesson.html", java_script_enabled=False)
    answer = page.locator(".answer").first
    assert answer.is_hidden()
    page.locator(".case input").first.check()
    assert answer.is_visible()


def test_hostile_names_and_messages_stay_text(tmp_path: Path, opened: Open) -> None:
    script = "<img src=x onerror='window.broken=1'><script>window.broken=1</script>"
    names = [HOSTILE, f'"{script}', "`${alert(1)}`", "'; alert(1); '", "</script><script>window.broken=1</script>"]
    faults = []
    for number, name in enumerate(names):
        told = [found("guard", name, message=script * 2000), found("test", f"{name}::{name}", message=name)]
        faults.append(fault(f"{name}.{number}", Status.DETECTED, detected_by=told))
        faults.append(fault(f"silent.{number}{name}", Status.SILENT, severity=name, reason=name, harm=HARMFUL,
                            prescription=[Prescribed(name, 1)]))  # fmt: skip
        faults.append(fault(f"warned.{number}", Status.WARNED, warnings=[script * 2000, name]))
    report = sample(faults=faults)
    report.target = {"scenario": names[1]}
    (tmp_path / "digits").mkdir()
    document.write(report, tmp_path)
    document.write_lesson(report, tmp_path / "digits")
    for name in PAGES:
        page = opened(tmp_path / name)
        assert page.evaluate("window.broken") is None
        assert page.locator("img").count() == 0
    page = opened(tmp_path / "digits" / "index.html")
    assert script in page.locator("main").inner_text()
    assert len(rows(page)) == len(faults)
    page.get_by_label("Find").fill("onerror")
    assert 0 < len(rows(page)) <= len(faults)


def test_the_policy_stops_what_could_slip_through(tmp_path: Path, browser: Any) -> None:
    page = browser.new_page()
    page.goto((reported(tmp_path) / "index.html").resolve().as_uri())
    page.evaluate(
        """() => {
            window.stopped = [];
            addEventListener("securitypolicyviolation", (event) => stopped.push(event.effectiveDirective));
            document.body.insertAdjacentHTML("beforeend", `<img src="x.png" onerror="window.broken = 1">`);
            document.body.insertAdjacentHTML("beforeend", `<b onclick="window.broken = 1" id="trap">x</b>`);
            document.getElementById("trap").click();
            const script = document.createElement("script");
            script.textContent = "window.broken = 1";
            document.body.append(script);
        }"""
    )
    until(page, "stopped.length >= 3")
    assert page.evaluate("window.broken") is None
    assert {"img-src", "script-src-attr", "script-src-elem"} <= set(page.evaluate("stopped"))
    page.close()


def test_a_page_of_two_thousand_faults_still_filters(tmp_path: Path, opened: Open) -> None:
    guards = [found("guard", f"Guard{n}") for n in range(60)]
    faults = [
        fault(f"f{n % 14}.mode-{n % 140}", Status.DETECTED, f"step={n}", detected_by=guards[n % 50 : n % 50 + 3])
        for n in range(1000)
    ]
    faults += [fault(f"g{n % 14}.mode-{n % 140}", Status.SILENT, f"step={n}", harm=HARMFUL) for n in range(1000)]
    page = opened(reported(tmp_path, faults) / "index.html")
    assert len(rows(page)) == 280
    page.locator("[name=family]").select_option("g7")
    assert {mode.partition(".")[0] for mode in rows(page)} == {"g7"}
    assert "10 of 280 failure modes" in page.locator("output").first.inner_text()
    assert page.get_by_text("more detectors").count() == 1


def test_a_column_sorts_by_click_and_by_keyboard_and_says_so(tmp_path: Path, opened: Open) -> None:
    faults = [fault(f"a.m{n}", Status.WARNED, warnings=[f"warning {n}"]) for n in (2, 10, 1)]
    page = opened(reported(tmp_path, faults) / "index.html")
    table = page.locator("section[aria-labelledby=warned] table")
    names = table.locator("tbody th")
    button = table.get_by_role("button", name="warnings")
    assert names.all_inner_texts() == ["a.m2@always", "a.m10@always", "a.m1@always"]
    button.click()
    assert table.locator("th[aria-sort=ascending]").inner_text() == button.inner_text()
    assert names.all_inner_texts() == ["a.m1@always", "a.m10@always", "a.m2@always"], "text sorts as text"
    button.press("Enter")
    assert names.all_inner_texts() == ["a.m2@always", "a.m10@always", "a.m1@always"]
    assert table.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"


def test_numbers_sort_as_numbers_and_the_rows_of_a_fault_stay_together(tmp_path: Path, opened: Open) -> None:
    faults = [
        fault(f"a.m{latency}", Status.DETECTED, detected_by=[found("framework", latency=latency), found("process")])
        for latency in (9, 100, 20)
    ]
    page = opened(reported(tmp_path, faults) / "index.html")
    section = page.locator("section[aria-labelledby=detected]")
    section.locator("summary").first.click()
    section.get_by_role("button", name="latency").click()
    assert section.locator("tbody th").all_inner_texts() == ["a.m9@always", "a.m20@always", "a.m100@always"]
    assert section.locator("tbody").first.locator("tr").count() == 2


def test_a_point_of_a_curve_shows_its_value_on_hover(tmp_path: Path, opened: Open) -> None:
    faults = [fault("label.noisy", Status.SILENT, harm=HARMFUL)]
    run = reported(tmp_path, faults)
    losses = [[step, 2.0 / (step + 1)] for step in range(24)]
    content = {"schema": 1, "metric": "val_loss", "clean": {"run": {"loss": losses}}}
    broken = [*losses[:-1], [23, 0.12]]
    (run / CURVES_FILE).write_text(dump({**content, "faults": {"label.noisy@always": {"loss": broken}}}))
    document.write(sample(faults=faults), tmp_path)
    page = opened(run / "index.html")
    card = page.locator(".card")
    assert card.locator("circle title").first.text_content() == "step 0: 2, clean 2"
    card.get_by_role("link").click()
    until(page, "document.getElementById('label.noisy').open")
