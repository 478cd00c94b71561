"""The command: check bugs, show one, or run all detectors on all bugs and write the table."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path

from benchmarks.realbugs import table
from benchmarks.realbugs.bug import Bug, InvalidBug, chosen
from benchmarks.realbugs.harvest import Harvest, cells
from benchmarks.realbugs.outcomes import ROOT, Kept
from benchmarks.realbugs.registry import detectors

PAGE = ROOT / "docs" / "validity.md"
RESULTS = Path(__file__).parent / "outcomes"
# The quick ring: detectors that take a fraction of a second, and twenty bugs of all kinds.
QUICK_DETECTORS = ("stock", "overfit one batch", "guards.all(cheap)", "guards.watch(cheap)", "guards.verify")
QUICK_BUGS = 20
# So that a hundred bugs take less than an hour on two cores.
SEEDS = 3


def main() -> int:
    """Run the command and return its exit code: 1 if a bug does not pass its check, 2 for invalid usage."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.realbugs", description=__doc__)
    parser.add_argument("bugs", nargs="*", help="Ids of bugs; all of them if there are none.")
    parser.add_argument("--check", action="store_true", help="Check that buggy versions are worse, and raise nothing.")
    parser.add_argument("--show", action="store_true", help="Print what bugs change.")
    parser.add_argument("--quick", action="store_true", help="Twenty bugs, five quick detectors, one seed; no page.")
    parser.add_argument(
        "--seeds", type=int, default=0, help=f"Seeds: by default {SEEDS} for the table, a bug's own to check."
    )
    parser.add_argument("--nightly", action="store_true", help="Ten seeds, and the detectors that take minutes a bug.")
    parser.add_argument("--detector", action="append", default=[], help="Run this detector only; repeatable.")
    parser.add_argument("--jobs", type=int, default=2, help="Workers that run at the same time.")
    parser.add_argument("--peers", default="", help="The python of an environment with peers.txt.")
    parser.add_argument("--results", type=Path, default=RESULTS, help="The folder of kept outcomes.")
    parser.add_argument("--page", type=Path, default=PAGE, help="The page to write.")
    parser.add_argument("--again", action="store_true", help="Also run what has a current outcome.")
    parser.add_argument("--table-only", action="store_true", help="Write the page from the kept outcomes.")
    asked = parser.parse_args()
    try:
        bugs = chosen(asked.bugs)
    except InvalidBug as error:
        print(error, file=sys.stderr)
        return 2
    if asked.show:
        for bug in bugs:
            print(f"# {bug.id}: {bug.symptom}\n# {bug.source} ({bug.date})\n{bug.diff()}")
        return 0
    if asked.check:
        return _check(bugs, asked.seeds or None)
    known = detectors()
    unknown = [name for name in asked.detector if name not in known]
    if unknown:
        print(f"unknown detector {unknown[0]!r}. Use one of: {', '.join(known)}.", file=sys.stderr)
        return 2
    usual = tuple(name for name, one in known.items() if asked.nightly or not one.nightly)
    names = asked.detector or (QUICK_DETECTORS if asked.quick else usual)
    pythons = {"own": sys.executable, "peers": asked.peers or sys.executable}
    if not asked.peers and importlib.util.find_spec("torch_audit") is None:
        names = tuple(name for name in names if known[name].environment == "own")
        print("The public tools are left out: pass --peers, see benchmarks/realbugs/README.md.", file=sys.stderr)
    if importlib.util.find_spec("transformers") is None:
        bugs = tuple(bug for bug in bugs if bug.framework != "transformers")
        print("Bugs of transformers are left out: it is not installed.", file=sys.stderr)
    if asked.quick and not asked.bugs:
        bugs = quick(bugs)
    seeds = asked.seeds or (1 if asked.quick else 10 if asked.nightly else SEEDS)
    kept = Kept(None if asked.quick else asked.results, bugs, known)
    if not asked.table_only:
        wanted = cells(bugs, [known[name] for name in names], seeds)
        missing = [cell for cell in wanted if asked.again or cell not in kept.current]
        Harvest(kept, known).run(missing, pythons, asked.jobs)
    shown = {cell.detector for cell in kept.all}
    used = {name: one for name, one in known.items() if name in shown}
    text = table.page(bugs, used, kept, pythons)
    if asked.quick:
        print(text)
    else:
        asked.page.write_text(text, encoding="utf-8")
        print(f"{len(kept.all)} runs, {len(kept.outdated)} of them outdated; written to {asked.page}")
    return 0


def quick(bugs: tuple[Bug, ...]) -> tuple[Bug, ...]:
    """Return twenty bugs, kind by kind, without those whose framework takes seconds."""
    rest = [bug for bug in bugs if bug.framework != "transformers"]
    found: list[Bug] = []
    while rest and len(found) < QUICK_BUGS:
        kinds: set[str] = set()
        for bug in list(rest):
            if bug.kind not in kinds and len(found) < QUICK_BUGS:
                kinds.add(bug.kind)
                found.append(bug)
                rest.remove(bug)
    return tuple(found)


def _check(bugs: tuple[Bug, ...], seeds: int | None) -> int:
    import torch

    from benchmarks.realbugs.checking import check

    torch.set_num_threads(1)
    failed = 0
    for bug in bugs:
        checked = check(bug, seeds)
        failed += bool(checked.problems)
        print(checked, flush=True)
    print(f"{len(bugs)} bugs, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
