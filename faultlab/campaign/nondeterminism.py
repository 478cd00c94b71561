"""The causes of differences between clean runs of one seed, as far as two traced runs show them.

The driver's side; see `faultlab.worker.entropy_draws`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from faultlab.core.results import Outcome

KIND = "nondeterministic"


def finding(runs: Sequence[Outcome]) -> dict[str, str]:
    """Return the finding from two traced runs: where they diverge, what draws without a seed, and the remedy."""
    seen = [dict((run.run and run.run.draws) or {}) for run in runs]
    causes = [*_sources(seen), *_seeds(seen), *_others(seen)]
    return {
        "kind": KIND,
        "what": f"the target is not deterministic: two clean runs of one seed differ, {_parting(runs, seen)}",
        "evidence": "; ".join(causes),
        "remedy": _remedy(seen, bool(causes)),
    }


def _parting(runs: Sequence[Outcome], seen: Sequence[Mapping[str, Any]]) -> str:
    """Return where the two runs diverge, in words."""
    if _differ(seen, "weights"):
        return "from the initial weights on"
    if _differ(seen, "batch"):
        return "from the first training batch on"
    courses = [found for run in runs if (found := run.trajectory) is not None]
    if len(courses) < 2:
        return "and one did not train to its end"
    one, other = courses
    for (step, loss), (_, against) in zip(one.losses, other.losses):
        if repr(loss) != repr(against):
            return f"from step {step} on, though the weights and the first batch are the same"
    unequal = [name for name, text in one.parts().items() if other.parts().get(name) != text]
    return f"in {', '.join(unequal)}" if unequal else "though these two did not: it is seldom"


def _differ(seen: Sequence[Mapping[str, Any]], what: str) -> bool:
    found = {str(one.get(what, "")) for one in seen}
    return len(found) > 1


def _sources(seen: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(str(source) for one in seen for source in one.get("sources", ())))


def _seeds(seen: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the seeds that have another value in each run, such as the time."""
    lists = [list(map(str, one.get("seeds", ()))) for one in seen]
    return [f"{one}, and {other} in the next run" for one, other in zip(*lists) if one != other] if lists[1:] else []


def _others(seen: Sequence[Mapping[str, Any]]) -> list[str]:
    kernels = dict.fromkeys(str(name) for one in seen for name in one.get("kernels", ()))
    threads = dict.fromkeys(str(name) for one in seen for name in one.get("threads", ()))
    return [f"{name} has no deterministic implementation" for name in kernels] + (
        [f"threads run beside the training: {', '.join(threads)}"] if threads else []
    )


def _remedy(seen: Sequence[Mapping[str, Any]], known: bool) -> str:
    if _sources(seen) or _seeds(seen):
        return "Give each of these a fixed seed, such as numpy.random.default_rng(0), or draw from torch's generator."
    if any(one.get("kernels") for one in seen):
        return "Use Trainer(deterministic=True), or another operation."
    if known:
        return "Wait for these threads where the training needs what they do."
    return "Look for uses of the clock, files that change, and code outside of Python."
