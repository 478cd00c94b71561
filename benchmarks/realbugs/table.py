"""The page: who detects what, with intervals, and each bug with its source."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from benchmarks.realbugs import registry
from benchmarks.realbugs.bug import Bug
from benchmarks.realbugs.outcomes import Kept
from benchmarks.realbugs.predicting import predictions
from benchmarks.realbugs.registry import Detector
from benchmarks.realbugs.scores import Outcomes, Rate, Score, score, together
from benchmarks.realbugs.visibility import agreement, ratings

TOGETHER = {
    "*torch and Lightning, all of the above*": (
        "stock",
        "fast_dev_run",
        "detect_anomaly, check_finite",
        "overfit one batch",
    ),
    "*guards, cheap: all, watch*": ("guards.all(cheap)", "guards.watch(cheap)"),
    "*guards, full: all, watch*": ("guards.all(full)", "guards.watch(full)"),
}
PUBLIC = "*the public tools together*"
COMPARING = ("guards, KnownGood", "TrainCheck", "trainproof compare")
"""The detectors that compare with recorded runs of the fixed version."""
_HEAD = """\
# Real bugs: who detects them

Written by `python -m benchmarks.realbugs`; `benchmarks/realbugs/README.md` has
the format of a bug and of a detector, and how to add one.

Each bug is a small training of our own after a public thread, commit or post-mortem about a training that raised
nothing. It has a fixed and a buggy version that differ by one change. The buggy version is worse than the fixed one
by a stated measure, over its seeds, and raises nothing. Every detector trains, or reads, both versions with the
same seeds, each in a process of its own.

- **Detected**: a check raises an alert on the buggy version and not on the fixed one with the same seed, with at
  least half of the seeds; with the 95 % interval by Wilson's score. A detector is judged on the bugs of the
  frameworks that it supports.
- **From within**: the same for bugs that can be seen from within the process, by at least one of two raters. The rule
  is in `benchmarks/realbugs/visibility.py`, and what each rater wrote in `visibility.jsonl` beside it. They read the
  bugs and their sources, and knew no guard and no outcome.
- **Set aside**: the same for every fifth bug, chosen by the hash of its id. Nobody looks at how guards fare on
  these when a guard is changed.
- **New**: the same for the other bugs that nobody has looked at yet to change a guard: those that
  `benchmarks/realbugs/seen.txt` does not name. This is a first measurement.
- **Names the cause**: of the detected ones, those where an alert matches words for the cause that were written down
  before any detector was run.
- **False alarms**: fixed versions that make the detector raise an alert with any seed. Warnings of torch and
  Lightning do not count as alarms.
- **Steps**: the median number of optimizer steps from the first one in which the bug can act to the first alert;
  "before" for detectors that look before the training.
- **CPU**: the CPU time with the detector as a multiple of that of the training alone, in the median of fixed
  versions without alarms; for detectors that look before the training, of their own time. These trainings take a
  fraction of a second, so that fixed costs weigh more than in real ones.

**Read it with care.** faultlab's authors wrote the bugs, the words for their causes and the adapters of all tools. Some
of faultlab's guards were written after bugs of this kind, some of them after the very threads cited here (schedules in
steps, dropout as a function, padding, accumulation, shared metrics, frozen statistics), so that the rates of its rows
over all bugs say little about bugs to come; the columns *set aside* and *new* say more. The trainings are tiny, and
tools that compare a layer with its long history have little of it here. A tool that looks for something else, such as
memory or speed, is not made for these bugs, and is not worse for detecting few of them.
"""
_LEFT_OUT = """\
Not in the table:

- **ckpt-chaos** (0.1.8) installs. It kills a script at each file operation of a save and compares what a resumed run
  results in; none of these scripts saves to an output folder and resumes from it, so that it has nothing to kill.
- **Prescribed sets of guards**: `faultlab prescribe` chooses guards by a campaign on the training itself, which takes
  minutes for each of these. The row with KnownGood has all guards of the level "full" instead: it chooses among them.
"""


def page(
    bugs: Sequence[Bug],
    detectors: Mapping[str, Detector],
    kept: Kept,
    pythons: Mapping[str, str],
) -> str:
    """Return the page as Markdown."""
    outcomes = kept.all
    seeds = 1 + max((cell.seed for cell in outcomes), default=0)
    scores = {name: score(bugs, name, outcomes, seeds) for name in detectors}
    ran = {name: one for name, one in scores.items() if one.detected().of or one.errors()}
    public = [name for name in ran if detectors[name].group == "public"]
    sets = {title: [name for name in names if name in ran] for title, names in {**TOGETHER, PUBLIC: public}.items()}
    sets = {title: names for title, names in sets.items() if len(names) > 1}
    joined = {title: together([ran[name] for name in names]) for title, names in sets.items()}
    parts = [
        _HEAD,
        _extent(bugs, ran, outcomes) + _outdated(kept),
        _in_short(detectors, ran, joined),
        "## Detectors\n",
        _table(detectors, ran, sets, joined),
        _failures(bugs, public, outcomes, seeds),
        _usages(detectors, ran, pythons),
        _LEFT_OUT + _not_run(ran),
        predictions(bugs, ran, outcomes, seeds, sets, joined),
        _bugs(bugs, ran),
    ]
    return "\n".join(parts)


def _in_short(detectors: Mapping[str, Detector], ran: Mapping[str, Score], joined: Mapping[str, Score]) -> str:
    """Return who detects the most, in sentences."""

    def told(one: Score) -> str:
        new = one.detected(lambda bug: bug.new)
        return (
            f"{_short(one.detected())} (new ones {_short(new)}), with alarms on {_short(one.alarms())} fixed versions"
        )

    lines = [
        f"{who} detect {told(joined[title])}."
        for title, who in {
            "*guards, full: all, watch*": "faultlab's guards of the level full",
            "*guards, cheap: all, watch*": "Those of the level cheap",
            "*torch and Lightning, all of the above*": "The means that torch and Lightning have, all together,",
        }.items()
        if title in joined
    ]
    recorded = "With recorded runs of the fixed version"
    for group, compares, who in (
        ("public", False, "Without a recorded run, the public tool that detects the most, {best},"),
        ("faultlab", True, f"{recorded}, faultlab's KnownGood"),
        ("public", True, f"{recorded}, the public tool that detects the most, {{best}},"),
    ):
        theirs = [name for name in ran if detectors[name].group == group and (name in COMPARING) == compares]
        if theirs:
            best = max(theirs, key=lambda name: ran[name].detected().count)
            lines.append(f"{who.format(best=best)} detects {told(ran[best])}.")
    return "".join(f"- {line}\n" for line in lines)


def _outdated(kept: Kept) -> str:
    by = ", ".join(sorted({cell.detector for cell in kept.outdated}))
    if not by:
        return ""
    return (
        f"\n{len(kept.outdated)} of {len(kept.all)} runs were made before a later change of the bug, the detector or "
        f"faultlab's guards: those of {by}.\n"
    )


def _not_run(ran: Collection[str]) -> str:
    return "".join(
        f'- **{name}** was not run for this page: `python -m benchmarks.realbugs --detector "{name}"`.\n'
        for name in registry.detectors()
        if name not in ran
    )


def _extent(bugs: Sequence[Bug], ran: Mapping[str, Score], outcomes: Outcomes) -> str:
    frameworks, kinds = Counter(bug.framework for bug in bugs), Counter(bug.kind for bug in bugs)
    recent = sum(bug.date.isoformat() >= "2024-12" for bug in bugs)
    numbers = Counter(cell.detector for cell in outcomes)
    most = {name: len({cell.seed for cell in outcomes if cell.detector == name}) for name in ran if numbers[name]}
    fewest = ", ".join(f"{name} {count}" for name, count in most.items() if count < max(most.values()))
    return (
        f"{len(bugs)} bugs ("
        + ", ".join(f"{count} {name}" for name, count in frameworks.most_common())
        + f"), {recent} of them described since December 2024, {sum(bug.held_out for bug in bugs)} set aside, "
        f"{sum(bug.new for bug in bugs)} new; by kind: "
        + ", ".join(f"{name} {count}" for name, count in kinds.most_common())
        + f". Seeds: {max(most.values(), default=0)}"
        + (f" ({fewest})" if fewest else "")
        + f". {_visible(bugs)}\n"
    )


def _visible(bugs: Sequence[Bug]) -> str:
    rated = {bug.id: ratings()[bug.id] for bug in bugs}
    either, both = (sum(getattr(one, by) for one in rated.values()) for by in ("by_any", "by_both"))
    return (
        f"{either} can be seen from within the process by at least one rater, {both} by both; the raters agree on "
        f"{len(bugs) - either + both} (Cohen's kappa {agreement(rated):.2f})."
    )


def _table(
    detectors: Mapping[str, Detector],
    ran: Mapping[str, Score],
    sets: Mapping[str, Sequence[str]],
    joined: Mapping[str, Score],
) -> str:
    lines = [
        "| detector | detected | from within | set aside | new | names the cause | false alarms | steps | CPU |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    rows = list(ran.items())
    for title, names in sets.items():
        at = max(index for index, (name, _) in enumerate(rows) if name in names)
        rows.insert(at + 1, (title, joined[title]))
    for name, one in rows:
        detector = detectors.get(name)
        latency, cost = one.latency(), one.cost()
        steps = "—" if latency is None else f"{latency:g}"
        if detector is not None and detector.before:
            steps = "before"
        aside, new = one.detected(lambda bug: bug.held_out), one.detected(lambda bug: bug.new)
        within = one.detected(lambda bug: ratings()[bug.id].by_any)
        price = "—" if cost is None or (detector is not None and detector.static) else f"{cost:.1f}"
        named = one.named()
        lines.append(
            f"| {name} | {one.detected()} | {within} | {_short(aside)} | {new} | "
            f"{_short(named)} | {one.alarms()} | {steps} | {price} |"
        )
    return "\n".join(lines) + "\n"


def _short(rate: Rate) -> str:
    return f"{rate.count} of {rate.of}" if rate.of else "—"


def _failures(bugs: Sequence[Bug], public: Sequence[str], outcomes: Outcomes, seeds: int) -> str:
    lines = [
        "Some tools warn, and fail only above that: by an exit code, an exception, or a verdict of that name. If only "
        "such failures counted:\n",
        "| detector | detected | new | false alarms |",
        "| --- | --- | --- | --- |",
    ]
    warned = {cell.detector for cell, one in outcomes.items() if any(alert.warning for alert in one.alerts)}
    for name in public:
        if name in warned:
            one = score(bugs, name, outcomes, seeds, lambda alert: not alert.warning)
            lines.append(f"| {name} | {one.detected()} | {one.detected(lambda bug: bug.new)} | {one.alarms()} |")
    return "\n".join(lines) + "\n" if len(lines) > 3 else ""


def _usages(detectors: Mapping[str, Detector], ran: Mapping[str, Score], pythons: Mapping[str, str]) -> str:
    packages = {detectors[name].package: detectors[name].environment for name in ran}
    versions: dict[str, str] = {}
    for environment in {"own", *packages.values()}:
        names = ["torch", "pytorch-lightning", *(name for name, where in packages.items() if where == environment)]
        versions |= _versions(pythons[environment], [name for name in names if name])
    lines = ["How each one is used here, and its version:\n"]
    for name, one in ran.items():
        detector = detectors[name]
        version = f" ({detector.package} {versions[detector.package]})" if detector.package in versions else ""
        failures = Counter(one.errors())
        failed = ""
        if failures:
            text, _ = failures.most_common(1)[0]
            failed = f" It failed in {sum(failures.values())} runs, which are left out: `{text[:160]}`."
        lines.append(f"- **{name}**{version}: {detector.usage}{failed}")
    lines.append(f"\ntorch {versions.get('torch')}, Lightning {versions.get('pytorch-lightning')}, CPU, one thread.\n")
    return "\n".join(lines)


def _versions(python: str, packages: Sequence[str]) -> dict[str, str]:
    code = (
        "import importlib.metadata as m, json, sys; r = {}\n"
        "for name in sys.argv[1:]:\n"
        "    try: r[name] = m.version(name)\n"
        "    except m.PackageNotFoundError: pass\n"
        "print(json.dumps(r))"
    )
    done = subprocess.run([python, "-c", code, *packages], capture_output=True, text=True, check=True)
    return dict(json.loads(done.stdout))


def _bugs(bugs: Sequence[Bug], ran: Mapping[str, Score]) -> str:
    lines = [
        "## The bugs\n",
        "By whom each one is detected is left out for those that are set aside or new, so that nobody fits a guard to "
        "them by reading this page.\n",
        "| bug | kind | source | what is silent | nearest mode | detected by |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for bug in bugs:
        by = [name for name, one in ran.items() if bug.id in one.on and one.on[bug.id].detected]
        told = "*set aside*" if bug.held_out else "*new*" if bug.new else ", ".join(by) or "—"
        nearest = "none" if bug.nearest == "none" else f"`{bug.nearest}`"
        source = f"[{bug.framework}, {bug.date:%Y-%m}]({bug.source})"
        lines.append(f"| `{bug.id}` | {bug.kind} | {source} | {bug.symptom} | {nearest} | {told} |")
    return "\n".join(lines) + "\n"
