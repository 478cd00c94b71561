"""Reports in which everything occurs, and their pages taken apart."""

from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser
from pathlib import Path

from faultlab.core.detection import Detection
from faultlab.core.report import Baseline, FaultResult, Harm, Report, Status, dump
from faultlab.report.html import document

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
