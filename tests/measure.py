"""Writes the published table of what stock Lightning does: ``python -m tests.measure``."""

from __future__ import annotations

import sys

from faultlab.catalogue import measured
from tests.findings import Findings


def main() -> None:
    table = Findings().table()
    inconclusive = [
        f"{mode} on {model}: {found}"
        for mode, models in table.modes.items()
        for model, found in models.items()
        if found not in measured.EFFECTS
    ]
    if inconclusive:
        sys.exit("\n".join(["nothing is written, since this proves nothing:", *inconclusive]))
    measured.FILE.write_text(table.to_text(), encoding="utf-8")
    nowhere = [mode for mode, models in table.modes.items() if not models]
    if nowhere:
        print(f"on no model of the zoo: {', '.join(nowhere)}")
    print(f"{measured.FILE}: {len(table.modes)} failure modes on {len(table.models)} models")


if __name__ == "__main__":
    main()
