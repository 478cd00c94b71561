"""Draw docs/images/ from existing reports.

Run `faultlab run scenarios/digits --lesson` first, and `faultlab run scenarios/digits/tested.yaml --select '*'`.

python benchmarks/pictures.py [REPORTS]
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]
# The worst silent faults are all NaN; open one with visible curves instead.
TELLING = """() => {
    for (const lesson of document.querySelectorAll("details.lesson")) lesson.open = false;
    const shown = document.getElementById("gradient.negated");
    shown.open = true;
    document.querySelector("details.lesson").before(shown);
}"""
MATRIX = """() => {
    document.getElementById("filters").hidden = true;
    document.querySelector(".matrix").scrollIntoView();
}"""


def main() -> None:
    """Write report.png, matrix.png and lesson.png."""
    reports = Path(sys.argv[1] if len(sys.argv) > 1 else "reports").resolve()
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        shots = (
            ("report", "digits/index.html", 1290, TELLING),
            ("matrix", "digits-tested/selected/index.html", 700, MATRIX),
            ("lesson", "digits/lesson.html", 700, "null"),
        )
        for name, page, height, script in shots:
            tab = browser.new_page(viewport={"width": 1120, "height": height})
            tab.goto((reports / page).as_uri())
            tab.evaluate(script)
            tab.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    main()
