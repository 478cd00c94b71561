"""One run in a fresh interpreter: ``python -m faultlab.engines.spawn_main REPORT``, with the order on stdin."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from faultlab.core import resource_limits
from faultlab.core.messages import encode
from faultlab.core.orders import Order
from faultlab.core.results import TargetFailed, message_of
from faultlab.engines.processes import die_with_parent, print_at_once
from faultlab.errors import TargetError


def main(report: str) -> None:
    """Execute the order and append the victim's messages to the file."""
    die_with_parent()
    asked = json.load(sys.stdin)
    from faultlab.injection.mutant_activation import STATS
    from faultlab.worker.bootstrap import import_target
    from faultlab.worker.dispatch import carry_out

    order = Order.from_json(asked["order"])
    if order.echo:
        print_at_once()
    task = order.training
    mutant = task.mutant.switch if task and task.mutant else STATS if task and task.probe else ""
    with open(report, "ab", buffering=0) as file:

        def send(message: dict[str, Any]) -> None:
            with resource_limits.whole_files():
                file.write(encode(message))

        try:
            target = import_target(asked["scenario"], f"{order.root}-import", mutant)
        except TargetError as error:
            send(message_of(TargetFailed(error)))
            return
        carry_out(target, order, send)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
