"""The swallowed exceptions that are reported, and the one that breaks the step. Only plain data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from faultlab.doctor.errors import explained
from faultlab.doctor.finding import ATTENTION, OK, Checks, Finding, Seen, attention, wrong

SWALLOWED = Checks()
# The exception was swallowed by the data's code: a loader, a sampler, a dataset.
BETWEEN = "between hooks"
# Caught by name, other types are often an ordinary query, as for a key that may be missing.
SERIOUS = (
    "RuntimeError",
    "OutOfMemoryError",
    "AssertionError",
    "ZeroDivisionError",
    "FloatingPointError",
    "LinAlgError",
)


def of_the_step(seen: Seen) -> dict[str, Any] | None:
    """Return the exception whose swallowing leaves training_step without a loss to learn from."""
    outputs = seen.get("outputs", {})
    losses = [float("nan") if value is None else value for value in seen.get("losses", ())]
    ill = any(outputs.get(kind) for kind in outputs if kind != "loss") or any(value - value != 0 for value in losses)
    entries = [entry for entry in seen.get("swallowed", ()) if entry["hook"] == "training_step"]
    if not seen.get("automatic", True):
        # Its step may return None, and does all of its work itself.
        ill = False
    held = max(entries, key=lambda entry: int(entry["times"]), default=None)
    graphs = [graph for graph in seen.get("graph", ()) if graph]
    # A handler that returns a constant with requires_grad leaves a loss, but nothing leads from it to a weight.
    if held and graphs and not any(graph["reached"] for graph in graphs):
        ill = ill or _spoils(held, seen)
    if held and not seen.get("automatic", True):
        ill = ill or _spoils(held, seen)
    return held if ill else None


def _spoils(held: Mapping[str, Any], seen: Seen) -> bool:
    """Return whether an exception ends at least every other step."""
    return 2 * int(held["times"]) >= int(seen.get("calls", {}).get("training_step", 0))


def as_consequences(seen: Seen, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Yield findings on what a step leaves undone, marked as consequences if a swallowed exception ends most steps."""
    held = of_the_step(seen)
    for found in findings:
        if held is None or found.verdict == OK or not _spoils(held, seen):
            yield found
            continue
        why = f"probably a consequence of the {held['type']} that is swallowed in line {held['handler']}"
        remedy = f"Fix the swallowed exception first. If it remains: {found.remedy}"
        yield replace(found, verdict=ATTENTION, what=f"{found.what}; {why}", remedy=remedy)


@SWALLOWED.check("swallowed exceptions")
def swallowed(seen: Seen) -> Iterator[Finding]:
    """Find exceptions that are raised in the user's code and never seen."""
    spoiling = of_the_step(seen)
    for entry in seen.get("swallowed", ()):
        serious = entry["broad"] or entry["type"] in SERIOUS
        if entry is not spoiling and not serious:
            continue
        say = wrong if entry is spoiling else attention
        named = explained(f"{entry['type']}: {entry['message']}")
        times = f"{entry['times']} times" if entry["times"] > 1 else f"in step {entry['step']}"
        message = entry["message"].rstrip(".")
        meant = f", which means: {named.cause}" if named else ""
        yield say(
            f"{entry['type']} is raised in line {entry['line']} and swallowed in line {entry['handler']} by "
            f"{entry['how']}, {times}: {message}{meant}",
            f"{entry['file']}:{entry['line']}, handler in {entry['handler_file']}:{entry['handler']}",
            (f"{named.remedy} Then" if named else "Fix its cause, then")
            + " catch only what you can handle, and re-raise the rest.",
        )
    if not seen.get("swallowed"):
        for fact in seen.get("facts", {}).get("swallows", ()):
            yield attention(
                "training_step has a handler that would swallow every exception; it was not used in this run",
                f"{fact['file']}:{fact['line']}",
                "Catch only what you can handle.",
            )
