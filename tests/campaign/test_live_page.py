"""The page of a running campaign: it grows with the verdicts, reloads by itself, and leaves nothing behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from faultlab.campaign import live_page
from faultlab.campaign.campaign import Options
from faultlab.campaign.live_page import Live
from faultlab.core.detection import Prescribed
from faultlab.core.report import Baseline, Report, Status
from faultlab.report.html import document
from tests import warm
from tests.support import result

RELOADS = '<meta http-equiv="refresh"'


class Silent:
    """A listener that notes what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *told: self.heard.append(name)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [0.0]
    monkeypatch.setattr(live_page.time, "monotonic", lambda: now[0])
    return now


def _running(out: Path) -> tuple[Live, Silent, list[str]]:
    listener, addresses = Silent(), list[str]()
    (out / "digits").mkdir()
    one = Live(listener, Options(out=out), addresses.append)
    one.started("digits")
    one.measured(Baseline(seconds=1.0))
    one.planned(3)
    return one, listener, addresses


def test_verdicts_without_a_run_are_judged_from_the_start(tmp_path: Path, clock: list[float]) -> None:
    running, _, _ = _running(tmp_path)
    running.settled(result("layer.batchnorm-frozen@always", Status.NOT_APPLICABLE))
    running.testing()
    assert "1 of 4 faults judged" in (tmp_path / "digits" / "index.html").read_text(encoding="utf-8")


def test_the_page_grows_with_the_verdicts_and_its_address_is_announced_once(tmp_path: Path, clock: list[float]) -> None:
    running, listener, addresses = _running(tmp_path)
    page = tmp_path / "digits" / "index.html"
    assert addresses == [page.as_uri()]
    assert "0 of 3 faults judged" in page.read_text(encoding="utf-8")
    for number in range(2):
        clock[0] += 10
        running.judged(result(f"loss.nan@step={number}", Status.SILENT))
    text = page.read_text(encoding="utf-8")
    assert "2 of 3 faults judged" in text
    assert "loss.nan@step=1" in text
    assert RELOADS in text
    assert "gate" not in text.partition("<main>")[2].lower(), "a campaign that runs has no result yet"
    running.planned(1)
    running.testing()
    assert "2 of 4 faults judged" in page.read_text(encoding="utf-8")
    assert len(addresses) == 1
    assert listener.heard == ["started", "measured", "planned", "judged", "judged", "planned", "testing"]


def test_a_running_campaign_recommends_no_guard_before_it_knows_how_each_is_constructed(
    tmp_path: Path, clock: list[float]
) -> None:
    running, _, _ = _running(tmp_path)
    clock[0] += 10
    running.judged(result("a.b@once", Status.SILENT, prescription=[Prescribed("faultlab.guards.KnownGood", 1)]))
    text = (tmp_path / "digits" / "index.html").read_text(encoding="utf-8")
    assert "a.b@once" in text
    assert "Trainer(callbacks" not in text


def test_a_page_is_not_written_for_every_verdict_of_a_quick_campaign(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    running, _, _ = _running(tmp_path)
    written: list[object] = []
    monkeypatch.setattr(document, "write_live", lambda *told: written.append(told))
    for number in range(100):
        clock[0] += 0.1
        running.judged(result(f"loss.nan@step={number}", Status.SILENT))
    assert 3 <= len(written) <= 6


def test_the_page_that_the_campaign_ends_with_does_not_reload(tmp_path: Path, clock: list[float]) -> None:
    with _running(tmp_path)[0]:
        pass
    page = document.write(Report("digits", faults=[result("loss.nan@once", Status.SILENT)]), tmp_path)
    assert RELOADS not in page.read_text(encoding="utf-8")


def test_a_campaign_that_fails_leaves_no_page(tmp_path: Path, clock: list[float]) -> None:
    running, _, _ = _running(tmp_path)
    with pytest.raises(RuntimeError), running:
        raise RuntimeError("the engine is gone")
    assert not (tmp_path / "digits" / "index.html").exists()


def test_a_full_disk_costs_the_page_and_no_verdict(
    tmp_path: Path, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*told: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(document, "write_live", full)
    running, listener, _ = _running(tmp_path)
    running.judged(result("loss.nan@once", Status.SILENT))
    assert listener.heard[-1] == "judged"


@pytest.mark.usefixtures("from_the_root")
def test_the_option_says_the_address_and_ends_with_the_page_of_the_report(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.yaml"
    scenario.write_text(
        "schema: 1\nname: trial\nbuild: {class_path: tests.zoo.models.classifier}\ntrainer: {max_epochs: 1}\n"
    )
    out = tmp_path / "reports"
    command = ["-m", "faultlab", "run", str(scenario), "--live", "--select=loss.nan", "--out", str(out), "--quiet"]
    done = warm.run(command)
    page = out / "trial" / "selected" / "index.html"
    assert f"trial: {page.as_uri()}" in done.stderr
    text = page.read_text(encoding="utf-8")
    assert RELOADS not in text
    assert "judged. This page reloads" not in text
