"""Print as JSON the parts of a scenario's batch that faultlab infers as inputs and as labels, from one clean run.

``run.py`` calls it with a project's own interpreter.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from faultlab import engines
from faultlab.config.scenario import load
from faultlab.core.orders import Order, Train


def main(file: Path) -> None:
    scenario = load(file)
    engine = engines.create(engines.default(), 1)
    try:
        engine.open(scenario.name, scenario.for_victims())
        root = str(Path(engine.root) / "probe")
        (outcome,) = engine.run([Order("probe", Train(1, probe=True), root=root, deadline=900.0)])
    finally:
        engine.close()
    profile = outcome.run.profile if outcome.run is not None else None
    if profile is None:
        sys.exit(f"{file}: the clean run fails\n{outcome.output}")
    print(json.dumps({"inputs": profile.inputs, "labels": profile.labels}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
