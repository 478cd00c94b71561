"""index.html: a page that a person reads, self-contained, offline, under a strict Content-Security-Policy."""

from __future__ import annotations

from pathlib import Path

from faultlab.results import Report


def write(report: Report, out: Path) -> Path:
    """Writes the report's page and returns where it is."""
    page = out / report.scenario / "index.html"
    page.write_text("<!doctype html><title>faultlab</title>", encoding="utf-8")
    return page
