"""What a report's page costs with 2,000 faults, beside one with 100: written, opened in Chromium, filtered.

    python benchmarks/page.py [--rounds N]

Both pages are written, opened and filtered in turn, so that whatever else the machine does touches both.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

from faultlab import index
from faultlab.report import html
from faultlab.results import Baseline, Detection, FaultResult, Harm, Report, Status
from faultlab.runfolder import CURVES_FILE

SIZES = (100, 2000)
MEASURED = ("written", "opened", "filtered", "shown again")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
FILTER = """value => {
    const filters = document.getElementById("filters");
    filters.elements.family.value = value;
    const begun = performance.now();
    filters.dispatchEvent(new Event("input"));
    document.body.offsetHeight;
    return (performance.now() - begun) / 1000;
}"""


def main() -> None:
    """Prints seconds and ratios."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    rounds = options.parse_args().rounds
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.exit("there is no Chromium on this machine")
    seconds: dict[int, list[list[float]]] = {size: [] for size in SIZES}
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        for _ in range(rounds):
            for size in SIZES:
                seconds[size].append(round_of(Path(folder), size, browser))
    medians = {size: [statistics.median(found) for found in zip(*all_rounds)] for size, all_rounds in seconds.items()}
    print(f"{'':12} {'100':>8} {'2,000':>8} {'ratio':>7}   (seconds, median of {rounds}; 20 times the faults)")
    for name, few, many in zip(MEASURED, *medians.values()):
        print(f"{name:12} {few:8.3f} {many:8.3f} {many / few:7.1f}")


def round_of(folder: Path, size: int, browser: Any) -> list[float]:
    """Seconds to write, open, filter and show again a page of so many faults."""
    report = made_up(size)
    run = folder / report.scenario
    run.mkdir(exist_ok=True)
    course = {"loss": [[step, 2 / (step + 1)] for step in range(160)], "metric": [[80, 1.0], [159, 0.5]]}
    curves = {"metric": "val_loss", "clean": {"run": course}, "faults": {fault.id: course for fault in report.faults}}
    (run / CURVES_FILE).write_text(json.dumps(curves), encoding="utf-8")
    begun = time.perf_counter()
    page = html.write(report, folder)
    written = time.perf_counter() - begun
    tab = browser.new_page()
    begun = time.perf_counter()
    tab.goto(page.resolve().as_uri())
    opened = time.perf_counter() - begun
    found = [written, opened, tab.evaluate(FILTER, "loss"), tab.evaluate(FILTER, "")]
    tab.close()
    return found


def made_up(size: int) -> Report:
    """A report of so many faults of the catalogue, half of them silent, noticed by 30 detectors."""
    modes = list(index.modes().values())
    faults = []
    for number in range(size):
        mode = modes[number % len(modes)]
        guard = Detection("guard", f"Guard{number % 30}", number % 40, number % 40, number % 2 == 0, "it is nan")
        silent = bool(number % len(modes) % 2)
        faults.append(
            FaultResult(f"{mode.id}@step={number // len(modes)}", mode.id, mode.family, mode.severity,
                        Status.SILENT if silent else Status.NOTICED, activations=1, first_step=0,
                        noticed_by=[] if silent else [guard], harm=Harm("val_loss", 0.5, 2.0, True))
        )  # fmt: skip
    return Report(f"of-{size}", baseline=Baseline(1.0, 160, True, [0]), faults=faults)


if __name__ == "__main__":
    main()
