"""Writes the published table of what each framework does: ``python -m tests.measure [FRAMEWORK]...``.

Only the sections of the named frameworks change; without a name, all of them are measured.
"""

from __future__ import annotations

import sys

from faultlab.catalogue import measured
from faultlab.catalogue.measured import Table
from tests.findings import ZOOS, Findings


def main(frameworks: list[str]) -> None:
    if unknown := set(frameworks) - ZOOS.keys():
        sys.exit(f"unknown framework: {', '.join(sorted(unknown))}; there are models for {', '.join(ZOOS)}")
    for framework in frameworks or list(ZOOS):
        write(framework, Findings(framework).table())


def write(framework: str, table: Table) -> None:
    """Replaces a framework's section and leaves the others as they are."""
    inconclusive = [
        f"{mode} on {model}: {found}"
        for mode, models in table.modes.items()
        for model, found in models.items()
        if found not in measured.EFFECTS
    ]
    if inconclusive:
        sys.exit("\n".join(["nothing is written, since this proves nothing:", *inconclusive]))
    # Read again, because measuring takes long.
    measured.tables.cache_clear()
    measured.FILE.write_text(measured.to_text({**measured.tables(), framework: table}), encoding="utf-8")
    measured.tables.cache_clear()
    nowhere = [mode for mode, models in table.modes.items() if not models]
    if nowhere:
        print(f"{framework}: {len(nowhere)} failure modes apply to no model: {', '.join(nowhere)}")
    print(f"{measured.FILE}: {framework}: {len(table.modes)} failure modes on {len(table.models)} models")


if __name__ == "__main__":
    main(sys.argv[1:])
