"""The ready-made guards as a page: the checks, the cost and the measured detections of each."""

from __future__ import annotations

from collections.abc import Iterator

from faultlab.catalogue import guard_index
from faultlab.catalogue.guard_index import Described, Measured
from faultlab.report.formats.markdown import anchor, cell, inline

NAME = "guards.md"
MARK = "<!-- Made by `faultlab dev docs` from the guards' docstrings and measurements: change those, not this page. -->"


def page() -> str:
    """Return the text of the page."""
    return "\n".join(_lines())


def _lines() -> Iterator[str]:
    guards, found = guard_index.guards(), guard_index.measured()
    versions = " and ".join(f"{name} {text}" for name, text in guard_index.versions().items() if name != "python")
    yield f"# The {len(guards)} ready-made guards\n\n{MARK}\n"
    with_versions = f", with {versions}" if versions else ""
    yield (
        "[docs/guards.md](../guards.md) describes how to use them. All figures were measured on the example scenarios "
        f"digits, diabetes, text and gan{with_versions}: the cost of a guard as a share of the training's time; the "
        "median of its latencies in steps, over all faults and over those of a single step; and the clean runs, over "
        "other seeds and harmless variations, in which one of its checks raised an alarm; such a check is ignored on "
        "that scenario. Guards of the level cheap are in `guards.all()`, full ones in "
        '`guards.all("full")`, those on request in neither.\n'
    )
    yield "| guard | level | cost | latency | of one step | false alarms | detects |"
    yield "| --- | --- | --- | --- | --- | --- | --- |"
    for guard in guards.values():
        yield _row(guard, found.get(guard.name))
    yield ""
    for guard in guards.values():
        yield from _section(guard, found.get(guard.name))


def _row(guard: Described, found: Measured | None) -> str:
    link = f"[`{guard.name}`](#{anchor(guard.name)})"
    level = "on request" if guard.optional else guard.level
    if found is None:
        return f"| {link} | {level} | not measured | | | | |"
    low, high = min(found.costs.values()), max(found.costs.values())
    cost = f"{100 * low:.2g} to {100 * high:.2g} %"
    latency, single = (f"{value:g}" if value is not None else "" for value in (found.latency, found.single_latency))
    many = len(found.detects)
    detects = f"{many} failure mode{'s' * (many != 1)}" if many else "none of these faults"
    return f"| {link} | {level} | {cost} | {latency} | {single} | {found.alarms} of {found.runs} | {detects} |"


def _section(guard: Described, found: Measured | None) -> Iterator[str]:
    yield f"## {guard.name}\n\n{inline(guard.doc)}\n"
    yield "| check | message |\n| --- | --- |"
    for check, says in guard.checks.items():
        yield f"| `{check}` | {cell(says)} |"
    if found is not None and found.detects:
        modes = [f"[`{mode}`]({mode.partition('.')[0]}.md#{anchor(mode)})" for mode in found.detects]
        yield f"\nMeasured to detect: {', '.join(modes)}\n"
    else:
        yield ""
