"""One run in a fresh interpreter. Run as ``python -m faultlab.engines.spawn_main REPORT`` with the order on stdin."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from faultlab.core import resource_limits
from faultlab.core.orders import Order, encode
from faultlab.engines.processes import die_with_parent, print_at_once


def main(report: str) -> None:
    """Runs the order and appends what the victim reports to the file."""
    die_with_parent()
    del sys.argv[1:]
    task = json.load(sys.stdin)
    sys.path[:0] = task["scenario"]["path"]
    import torch

    torch.set_num_threads(1)

    from faultlab.frameworks.lightning.target import TargetError
    from faultlab.injection import mutant_activation
    from faultlab.worker.imported import import_target
    from faultlab.worker.session import carry_out

    order = Order.from_json(task["order"])
    if order.echo:
        print_at_once()
    clean = mutant_activation.STATS if order.probe else ""
    executions = mutant_activation.begin(task["scenario"].get("mutated"), (order.mutant or {}).get("switch", clean))
    with open(report, "ab", buffering=0) as file:

        def send(message: dict[str, Any]) -> None:
            with resource_limits.whole_files():
                file.write(encode(message))

        try:
            target = import_target(task["scenario"], f"{order.root}-import")
            target.executions = executions
        except TargetError as error:
            broken = {"where": error.where, "message": error.message, "remedy": error.remedy}
            send({"result": {"target_error": broken}})
            return
        carry_out(target, order, send)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
