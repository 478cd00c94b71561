"""The verdicts on processes that did not report how their run went, and on ranks that wait for each other."""

from __future__ import annotations

from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.collectives import STOCK_PATIENCE, is_deadlock, standstill
from faultlab.core.detection import Detection
from faultlab.core.exit_status import in_words
from faultlab.core.report import Status
from faultlab.core.results import Outcome
from faultlab.core.verdict import Answer

EXITED = "the process exits with status 0 before the training is done"


def timed_out(mode: FailureMode, outcome: Outcome) -> Answer:
    """Return the verdict on a run that was ended at its deadline."""
    late = f"still running after its deadline of {outcome.seconds:.0f} s"
    if where := standstill(outcome.collectives):
        late = f"the ranks wait for each other: {where}; by default, torch waits {STOCK_PATIENCE:,} s"
    if outcome.acting is not None and (mode.hangs or is_deadlock(outcome.collectives)):
        return Answer(Status.DETECTED, detected_by=[Detection("process", "deadline", outcome.acting, 0, False, late)])
    return Answer(Status.TIMEOUT, late if outcome.acting is not None else f"{late}, and the fault had not acted")


def died(outcome: Outcome) -> Answer:
    """Return the verdict on a run whose process ended without a result."""
    how = f"the process {in_words(outcome.exit)}"
    if outcome.acting is None:
        return Answer(Status.ERROR, f"{how} before the fault acted")
    if outcome.exit == 0:
        return Answer(Status.SILENT, EXITED)
    return Answer(Status.DETECTED, detected_by=[Detection("process", "exit", outcome.acting, 0, False, how)])


def dead_ranks(outcome: Outcome) -> list[Detection]:
    """Return the ranks of several whose process ended without a result, with another status than 0."""
    found = []
    for rank, (result, exit) in enumerate(zip(outcome.results, outcome.exits)):
        if result is None and exit:
            step, how = outcome.acting or 0, f"the process of rank {rank} {in_words(exit)}"
            found.append(Detection("process", "exit", step, 0, False, how, rank=rank))
    return found
