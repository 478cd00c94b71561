"""Runs healthy trainings under all guards and writes what came of it: ``python -m tests.healthy [NAME ...]``."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time

import torch

from tests.healthy import TRAININGS, page


def main() -> int:
    """Prints a line for each training as it ends, and every alarm; renews its line of the page if all seeds ran."""
    options = argparse.ArgumentParser(description=__doc__, prog="python -m tests.healthy")
    options.add_argument("names", nargs="*", help="which trainings; all, if none is named")
    options.add_argument("--seeds", type=int, default=len(page.SEEDS), help="how many seeds")
    options.add_argument("--jobs", type=int, default=2, help="how many processes at once")
    asked = options.parse_args()
    if unknown := [name for name in asked.names if name not in TRAININGS]:
        options.error(f"no such training: {', '.join(unknown)}; there are: {', '.join(TRAININGS)}")
    names = asked.names or list(TRAININGS)
    torch.set_num_threads(1)  # or a forked copy hangs in its first operation
    begun = time.monotonic()
    rows = []
    context = multiprocessing.get_context("fork")
    with context.Pool(asked.jobs, maxtasksperchild=1) as pool:
        for row in pool.imap_unordered(page.row, [(name, range(asked.seeds)) for name in names], chunksize=1):
            rows.append(row)
            print(page.told(row), flush=True)
            if asked.seeds == len(page.SEEDS) and row.missing is None:
                # As each ends: what was seen is kept however the command ends.
                before = page.PAGE.read_text(encoding="utf-8") if page.PAGE.exists() else ""
                page.PAGE.write_text(page.written([row], before), encoding="utf-8")
    print(f"{len(rows)} trainings in {time.monotonic() - begun:.0f} s, {sum(not row.quiet for row in rows)} not quiet")
    return int(any(not row.quiet for row in rows))


if __name__ == "__main__":
    sys.exit(main())
