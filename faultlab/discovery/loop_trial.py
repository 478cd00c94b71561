"""One clean run of a training loop, in a process of its own: a request on standard input, an answer in JSON."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from collections import deque
from typing import Any

from faultlab.core.patching import Patches
from faultlab.core.trajectory import Trajectory
from faultlab.errors import TargetError
from faultlab.frameworks.base import Assembly
from faultlab.frameworks.loops.clock import LoopClock
from faultlab.frameworks.loops.lines import Lines, of_files
from faultlab.frameworks.loops.target import LoopTarget
from faultlab.frameworks.loops.training import LoopTraining, numbers_in
from faultlab.sandbox import file_calls

_MOST_LINES = 500
"""How many lines of the loop's output are searched for metrics, from its end."""


def main() -> None:
    """Answer one request."""
    request = json.load(sys.stdin)
    sys.path[:0] = request["path"]
    out = os.fdopen(os.dup(1), "w")
    # What the loop prints is not the answer.
    os.dup2(2, 1)
    try:
        answer = _tried(request)
    except TargetError as error:
        answer = {"error": error.message, "remedy": error.remedy}
    except BaseException as error:
        answer = {"error": f"its clean run ends with {type(error).__name__}: {error}", "remedy": "Fix it first."}
    out.write(json.dumps(answer) + "\n")
    out.flush()


def _tried(request: dict[str, Any]) -> dict[str, Any]:
    target, trajectory, clock = LoopTarget(request), Trajectory(), LoopClock()
    with tempfile.TemporaryDirectory(prefix="faultlab-init-") as folder:
        root = os.path.join(folder, "files")
        training = LoopTraining(target.build(root), Assembly(root, trajectory, clock))
        begun = time.process_time()
        with file_calls.redirected(root, [os.getcwd(), *target.code.folders]), Patches() as patches:
            clock.attach(patches)
            printed: deque[str] = deque(maxlen=_MOST_LINES)

            def noted(line: str) -> str:
                printed.append(line)
                return line

            of_files(patches, None, lambda stream: Lines(stream, noted))
            training.run()
            seconds = time.process_time() - begun
            evaluated = training.evaluate(True, {})
    losses = [loss for _, loss in trajectory.losses]
    reported = {name: series[-1][1] for name, series in trajectory.metrics.items()}
    return {
        "root": target.layout.root,
        "training": target.layout.training,
        "steps": trajectory.steps,
        "seconds": seconds,
        "losses": losses[:1] + losses[-1:],
        "metrics": numbers_in(evaluated) or reported,
        "printed": list(printed),
    }


if __name__ == "__main__":
    main()
