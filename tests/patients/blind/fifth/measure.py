"""Measure on three seeds that each ill training of the round is worse than its cure: ``python -m`` this module."""

from __future__ import annotations

import sys

from tests.patients.blind.fifth import FOLDERS
from tests.patients.blind.fourth.folders import truth
from tests.patients.blind.fourth.measure import SEEDS, pair


def main() -> None:
    for folder in FOLDERS:
        if sys.argv[1:] and folder.name not in sys.argv[1:]:
            continue
        pairs = [pair(folder, seed) for seed in SEEDS]
        ill = " ".join(f"{one.ill:.3f}" for one in pairs)
        fixed = " ".join(f"{one.fixed:.3f}" for one in pairs)
        holds = all(one.ill > truth(folder)["worse"] * one.fixed for one in pairs)
        seconds = max(one.seconds for one in pairs)
        verdict = "holds" if holds else "FAILS"
        print(f"{folder.name:22} ill {ill}  fixed {fixed}  {seconds:.0f} s  {verdict}", flush=True)


if __name__ == "__main__":
    main()
