"""The guard that checks that all ranks of a training have the same state."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from faultlab.guards.guard import Action, Guard
from faultlab.guards.support import fingerprints
from faultlab.guards.support.exchange import Exchange, meets, ranks_named
from faultlab.guards.support.findings import Findings
from faultlab.guards.support.training_view import TrainingView

_NAMES = {
    "steps": "another number of steps",
    "learning-rates": "other learning rates",
    "parameters": "other parameters",
    "optimizer-state": "another optimizer state",
    "buffers": "other buffers",
}
_REMEDIES = {
    "steps": "Let all ranks skip a batch or a step together, by an all-reduce of the decision.",
    "learning-rates": "Step schedulers on all ranks, by a metric that is averaged over them.",
    "parameters": "Check that forward goes through DistributedDataParallel, and that no rank alone changes parameters "
    "or skips steps.",
    "optimizer-state": "Load the optimizer's state on all ranks, and step on all of them.",
    "buffers": "Leave broadcast_buffers on, or use SyncBatchNorm.",
}


class RanksAgree(Guard):
    """A guard against ranks of one training that drift apart.

    Every few steps, all ranks exchange fingerprints of their parameters, optimizer states, learning rates and numbers
    of steps, by one small collective. If DistributedDataParallel broadcasts the buffers, they exchange those of the
    buffers too: during validation, or in a loop by hand after the broadcast of each 16th batch. All ranks see the same
    fingerprints, so the alarm is raised on all of them, and none waits for another. Of parameters that FSDP2 or tensor
    parallelism shares among the ranks, each has another part: only what is whole on every rank is compared. In a
    training of one process, or with flattened parameters, it does nothing.

    Args:
        every: The number of training batches from one exchange to the next.
        action: What an alarm does: "raise", "warn" or "save", as in `Guard`.
        leave_out: Names of checks whose alarms are ignored.

    Raises:
        ValueError: ``every`` is less than 1.
    """

    checks = {
        "steps": "the ranks took different numbers of steps",
        "learning-rates": "the ranks have different learning rates",
        "parameters": "the ranks have different parameters",
        "optimizer-state": "the ranks have different optimizer states",
        "buffers": "the ranks have different buffers, although they are broadcast",
    }
    causes = {
        "steps": "ranks, differ, diverge, skipped, optimizer step",
        "learning-rates": "ranks, differ, diverge, learning rate",
        "parameters": "ranks, differ, diverge, parameter, gradient, synchron",
        "optimizer-state": "ranks, differ, diverge, optimizer",
        "buffers": "ranks, differ, diverge, buffer, statistic, synchron",
    }

    compares_buffers = True
    """Whether it needs the fingerprints of buffers that a loop's ranks take after a broadcast."""

    def __init__(self, every: int = 1, *, action: Action = "raise", leave_out: Iterable[str] = ()) -> None:
        super().__init__(action=action, leave_out=leave_out)
        if every < 1:
            raise ValueError(f"invalid every={every}: expected at least 1")
        self.every = every
        self.exchange = Exchange()
        self._findings = Findings()
        self._batches = 0

    def on_fit_start(self, trainer: TrainingView, pl_module: Any) -> None:
        self._findings.clear()
        self._batches = 0
        self.dormant = trainer.world_size == 1

    def on_train_batch_end(
        self, trainer: TrainingView, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        self._batches += 1
        if not _compares(trainer) or self._batches % self.every:
            return
        optimizers = list(trainer.optimizers or ())
        own: dict[str, Callable[[], int]] = {
            "steps": lambda: trainer.global_step,
            "learning-rates": lambda: fingerprints.of_rates(optimizers),
            "parameters": lambda: fingerprints.of_tensors(pl_module.parameters()),
            "optimizer-state": lambda: fingerprints.of_states(optimizers),
            "buffers": lambda: trainer.broadcast_buffers,
        }
        self._compare(pl_module, own)

    def on_validation_end(self, trainer: TrainingView, pl_module: Any) -> None:
        # In training each rank changes its own after they were broadcast, until they are broadcast again.
        if _compares(trainer) and trainer.shares_buffers and not trainer.sanity_checking:
            self._compare(pl_module, {"buffers": lambda: fingerprints.of_tensors(pl_module.buffers())})

    def _compare(self, module: Any, own: dict[str, Callable[[], int]]) -> None:
        assert self.exchange is not None
        of_ranks = self.exchange.gather(self, module, lambda: [number() for number in own.values()], len(own))
        if of_ranks is None:
            return
        self.looked += 1
        findings = []
        for place, check in enumerate(own):
            if odd := [rank for rank, values in enumerate(of_ranks) if values[place] != of_ranks[0][place]]:
                ranks = f"{ranks_named(odd)} {'has' if len(odd) == 1 else 'have'}"
                findings.append((check, f"{ranks} {_NAMES[check]} than rank 0", _REMEDIES[check]))
        self._findings.say(self, findings)


def _compares(trainer: TrainingView) -> bool:
    return meets(trainer) and not trainer.is_flattened
