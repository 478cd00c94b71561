"""The part of the page that sets the catalogue beside the bugs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.realbugs.bug import Bug
from benchmarks.realbugs.coupling import Correlation, correlation, coupling, covered, measured_modes, unlike
from benchmarks.realbugs.detectors.guards_each import NAME as EACH
from benchmarks.realbugs.scores import Outcomes, Score, score
from faultlab.catalogue import index

_INTRODUCTION = """\
## Does the catalogue predict it?

Each bug names the failure mode that is most like it, or none. Two questions follow. Does a detector that detects more
failure modes detect more bugs? And does a detector that detects the nearest mode of a bug detect the bug?

"""


def predictions(
    bugs: Sequence[Bug],
    scores: Mapping[str, Score],
    outcomes: Outcomes,
    seeds: int,
    sets: Mapping[str, Sequence[str]],
    joined: Mapping[str, Score],
) -> str:
    """Return the section as Markdown; ``sets`` are the rows that join several detectors, ``joined`` their scores."""
    from faultlab import guards

    def classes(level: str) -> list[str]:
        return [cls.__name__ for cls in guards.classes("full" if level == "full" else "cheap")]

    modes, judged = covered(classes)
    of_sets = {title: set().union(*(modes.get(name, set()) for name in names)) for title, names in sets.items()}
    every = {**scores, **joined}
    found = {**modes, **of_sets}
    lines = [_INTRODUCTION, _by_guard(bugs, scores, outcomes, seeds, classes("full"))]
    if judged:
        lines += [_by_detector(scores, modes, judged), _coupled(bugs, every, found)]
    return "\n".join([*lines, _unlike(bugs)])


def _by_guard(
    bugs: Sequence[Bug], scores: Mapping[str, Score], outcomes: Outcomes, seeds: int, classes: Sequence[str]
) -> str:
    if EACH not in scores or not scores[EACH].detected().of:
        return ""
    pairs, rows = [], []
    for name in classes:
        if name == "KnownGood":
            continue
        on_bugs = score(bugs, EACH, outcomes, seeds, lambda alert, name=name: alert.check.startswith(f"{name}."))
        many, detected = len(measured_modes(name)), on_bugs.detected().count
        pairs.append((many, detected))
        if detected or on_bugs.alarms().count:
            rows.append((detected, many, on_bugs.alarms().count, name))
    rows.sort(reverse=True)
    quiet = len(pairs) - len(rows)
    return (
        f"**By guard.** Over {len(pairs)} guards, the rank correlation of the failure modes that a guard detects on a "
        f"model of the catalogue (`faultlab/guards/measured.json`) and the bugs that it detects (row *{EACH}*) is "
        f"{_told(correlation(pairs))}.\n\n"
        "| guard | failure modes | bugs | false alarms |\n| --- | --- | --- | --- |\n"
        + "".join(f"| {name} | {many} | {detected} | {alarms} |\n" for detected, many, alarms, name in rows)
        + f"\nThe other {quiet} guards raise no alarm on these trainings, buggy or fixed.\n"
    )


def _by_detector(scores: Mapping[str, Score], modes: Mapping[str, set[str]], judged: int) -> str:
    names = [name for name in scores if name in modes and scores[name].detected().of]
    pairs = [(len(modes[name]) / judged, _share(scores[name])) for name in names]
    rows = sorted(zip(pairs, names), reverse=True)
    return (
        f"**By detector.** `python -m benchmarks.realbugs.catalogue` ran the detectors that fit into a Lightning "
        f"training on the digits classifier, under each of the {judged} failure modes that apply to it and change the "
        f"run. The rank correlation of both shares is {_told(correlation(pairs))}.\n\n"
        "| detector | failure modes | bugs |\n| --- | --- | --- |\n"
        + "".join(f"| {name} | {first:.0%} | {second:.0%} |\n" for (first, second), name in rows)
    )


def _share(one: Score) -> float:
    rate = one.detected()
    return rate.count / rate.of


def _told(found: Correlation | None) -> str:
    return "not defined" if found is None else f"{found} (Spearman; 95 % interval by bootstrap)"


def _coupled(bugs: Sequence[Bug], scores: Mapping[str, Score], modes: Mapping[str, set[str]]) -> str:
    lines = [
        "**By bug.** For bugs with a nearest mode: how many a detector detects among those whose mode it detects on "
        "the digits classifier, how many among the others, and for how many both have the same answer, detected or "
        "not. If the catalogue predicts anything, the first share is the larger one.\n",
        "| detector | bugs detected where the mode is | where it is not | same answer |",
        "| --- | --- | --- | --- |",
    ]
    for name, one in scores.items():
        if name in modes and one.detected().of:
            pair = coupling(bugs, one, modes[name])
            lines.append(f"| {name} | {pair.where_detected} | {pair.where_not} | {pair.agree} |")
    return "\n".join(lines) + "\n"


def _unlike(bugs: Sequence[Bug]) -> str:
    families = unlike(bugs, sorted(index.modes()))
    total, alone = (sum(part) for part in zip(*((count, len(rest)) for count, rest in families.values())))
    none = ", ".join(f"`{bug.id}`" for bug in bugs if bug.nearest == "none")
    rows = "".join(
        f"| {family} | {count} | {', '.join(f'`{mode}`' for mode in rest) or '—'} |\n"
        for family, (count, rest) in sorted(families.items())
    )
    return (
        "### Failure modes without a bug, bugs without a failure mode\n\n"
        f"{alone} of {total} failure modes are not the nearest one of any bug here. That says more about "
        f"{len(bugs)} bugs than about the modes: each names one.\n\n"
        f"<details><summary>The {alone} modes, by family</summary>\n\n"
        f"| family | modes | not like any bug |\n| --- | --- | --- |\n{rows}\n</details>\n\n"
        + (f"No failure mode is like {none}.\n" if none else "Every bug is like some failure mode.\n")
    )
