"""badge.json: the coverage as an endpoint of shields.io."""

from __future__ import annotations

from faultlab.core.report import Report, dump
from faultlab.report.mutants import beyond
from faultlab.report.reporters import Format

_COLOURS = ((0.9, "brightgreen"), (0.75, "green"), (0.5, "yellow"), (0.25, "orange"), (0.0, "red"))


def render(report: Report) -> str:
    """Return the JSON document of the badge."""
    label, share = "failure modes detected", report.ratio
    if share is None and report.mutation is not None:
        label, share = "mutants detected", report.mutation.score
    if share is None:
        return dump({"schemaVersion": 1, "label": "faultlab", "message": "nothing proven", "color": "lightgrey"})
    label += " (partial)" if report.selection else ""
    colour = next(colour for least, colour in _COLOURS if share >= least)
    # Rounded down: a badge must not show 100 % unless everything is detected.
    message = f"{int(100 * share)} %{beyond(report) if report.ratio is None else ''}"
    return dump({"schemaVersion": 1, "label": label, "message": message, "color": colour})


FORMAT = Format("badge.json", render)
