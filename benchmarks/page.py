"""Measure a report's page with 10,000, 2,000 and 100 faults: writing it, opening it in Chromium, filtering.

    python benchmarks/page.py [--rounds N]

The pages take turns, so that other work on the machine affects all of them. Wall times are misleading on a busy
machine, so the CPU seconds of this process (for writing) and of the whole browser are printed, too.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from playwright.sync_api import sync_playwright

from faultlab.catalogue import index
from faultlab.core.detection import Detection
from faultlab.core.report import Baseline, FaultResult, Harm, Report, Status, dump
from faultlab.core.run_folder import CURVES_FILE
from faultlab.report.html import document

SIZES = (100, 2_000, 10_000)
MEASURED = ("written", "opened", "filtered", "shown again", "words found")
AIMS = {"opened": 3.0, "filtered": 0.1, "shown again": 0.1, "words found": 0.1}
"""The maximum wall seconds for a page of 10,000 faults on an idle machine."""
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
FILTER = """([name, value]) => {
    const filters = document.getElementById("filters");
    filters.elements[name].value = value;
    const begun = performance.now();
    filters.dispatchEvent(new Event("input"));
    document.body.offsetHeight;
    return (performance.now() - begun) / 1000;
}"""
Seconds = tuple[float, float]
"""Wall and CPU seconds."""


def main() -> None:
    """Print wall seconds and CPU seconds."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    rounds = options.parse_args().rounds
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("no Chromium found on this machine")
    found: dict[int, list[list[Seconds]]] = {size: [] for size in SIZES}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for _ in range(rounds):
            for size in SIZES:
                found[size].append(round_of(Path(folder), size, browser))
    print(f"seconds, median of {rounds}, and CPU seconds; load {os.getloadavg()[0]:.1f}")
    print(f"{'':12}" + "".join(f"{size:>16,}" for size in SIZES))
    for number, name in enumerate(MEASURED):
        medians = [[statistics.median(one[number][kind] for one in found[size]) for kind in (0, 1)] for size in SIZES]
        aim = f"   (target {AIMS[name]:g})" if name in AIMS else ""
        print(f"{name:12}" + "".join(f"{wall:9.3f} {cpu:6.2f}" for wall, cpu in medians) + aim)


def round_of(folder: Path, size: int, browser: Any) -> list[Seconds]:
    """Return the seconds to write, open, filter, search and show again a page with this many faults."""
    report = made_up(size)
    run = folder / report.scenario
    run.mkdir(exist_ok=True)
    course = {"loss": [[step, 2 / (step + 1)] for step in range(160)], "metric": [[80, 1.0], [159, 0.5]]}
    with (run / CURVES_FILE).open("w", encoding="utf-8") as lines:
        lines.write(dump({"metric": "val_loss", "clean": {"run": course}})[:-1] + ', "faults": {\n')
        lines.write(",\n".join(f"{dump(fault.id)}: {dump(course)}" for fault in report.faults) + "\n}}\n")
    begun, used = time.perf_counter(), time.process_time()
    page = document.write(report, folder)
    found = [(time.perf_counter() - begun, time.process_time() - used)]
    tab = browser.new_page()
    found.append(timed(lambda: tab.goto(page.resolve().as_uri())))
    for name, value in (("family", "loss"), ("family", ""), ("text", "scaled")):
        before = browser_cpu()
        wall = tab.evaluate(FILTER, [name, value])
        found.append((wall, used_since(before)))
    tab.close()
    return found


def timed(act: Callable[[], Any]) -> Seconds:
    """Return the duration of an action, and the CPU time that the browser's processes use for it."""
    begun, before = time.perf_counter(), browser_cpu()
    act()
    return time.perf_counter() - begun, used_since(before)


def browser_cpu() -> dict[int, float]:
    """Return the CPU seconds of each process that this one has started."""
    used: dict[int, float] = {}
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = process.cpu_times()
            used[process.pid] = times.user + times.system
    return used


def used_since(before: dict[int, float]) -> float:
    """Return the CPU seconds that the running processes have used since then."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in browser_cpu().items())


def made_up(size: int) -> Report:
    """Return a report with this many faults: half silent with eight guards to prescribe, half detected by 30."""
    modes = list(index.modes().values())
    faults = []
    prescribed = [{"guard": f"faultlab.guards.Guard{n}", "step": n, "cost": 0.001} for n in range(8)]
    for number in range(size):
        mode = modes[number % len(modes)]
        guard = Detection("guard", f"Guard{number % 30}", number % 40, number % 40, number % 2 == 0, "it is nan")
        silent = bool(number % len(modes) % 2)
        faults.append(
            FaultResult(f"{mode.id}@step={number // len(modes)}", mode.id, mode.family, mode.severity,
                        Status.SILENT if silent else Status.DETECTED, activations=1, first_step=0,
                        detected_by=[] if silent else [guard], harm=Harm("val_loss", 0.5, 2.0, True),
                        prescription=prescribed if silent else [])
        )  # fmt: skip
    return Report(f"of-{size}", baseline=Baseline(1.0, 160, True, [0]), faults=faults)


if __name__ == "__main__":
    main()
