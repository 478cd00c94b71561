"""One clean run of a training loop, in a process of each rank: a request on standard input, an answer in JSON."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from faultlab.core.patching import Patches
from faultlab.core.trajectory import Trajectory
from faultlab.errors import TargetError
from faultlab.frameworks.base import Assembly
from faultlab.frameworks.loops.clock import LoopClock
from faultlab.frameworks.loops.lines import Lines, of_files
from faultlab.frameworks.loops.target import LoopTarget
from faultlab.frameworks.loops.training import LoopTraining, numbers_in
from faultlab.ranks.gang import Gang
from faultlab.sandbox import file_calls

_DEADLINE = 600.0
"""Seconds that the ranks of the run may wait for each other, at most."""
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
    target, ranks = LoopTarget(request), int(request.get("ranks", 1))
    with tempfile.TemporaryDirectory(prefix="faultlab-init-") as folder:
        others = [_other(target, rank, ranks, folder) for rank in range(1, ranks)]
        try:
            return _answer(target, ranks, folder)
        finally:
            for pid in others:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def _other(target: LoopTarget, rank: int, ranks: int, folder: str) -> int:
    """Fork the process of another rank than the first, and return its id."""
    pid = os.fork()
    if pid:
        return pid
    try:
        with _trained(target, rank, ranks, folder, lambda line: line):
            pass
    finally:
        # Nothing of the parent's is to be flushed or finalized here.
        os._exit(0)


@contextlib.contextmanager
def _trained(
    target: LoopTarget, rank: int, ranks: int, folder: str, printed: Callable[[str], str]
) -> Iterator[tuple[LoopTraining, Trajectory]]:
    """Train as this rank; give the training that has ended, in a process that computes alone again."""
    trajectory, clock, root = Trajectory(), LoopClock(), os.path.join(folder, "files")
    training = LoopTraining(target.build(root), Assembly(root, trajectory, clock))
    gang = Gang.of(rank, ranks, lambda: clock.step, joins=True)
    if gang is not None:
        gang.meet(os.path.join(folder, "meeting"), _DEADLINE)
    with file_calls.redirected(root, [os.getcwd(), *target.code.folders]), Patches() as patches:
        clock.attach(patches)
        of_files(patches, None, lambda stream: Lines(stream, printed))
        training.run()
        if gang is not None:
            gang.part()
        yield training, trajectory


def _answer(target: LoopTarget, ranks: int, folder: str) -> dict[str, Any]:
    lines: deque[str] = deque(maxlen=_MOST_LINES)

    def noted(line: str) -> str:
        lines.append(line)
        return line

    begun = time.process_time()
    with _trained(target, 0, ranks, folder, noted) as (training, trajectory):
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
        "printed": list(lines),
    }


if __name__ == "__main__":
    main()
