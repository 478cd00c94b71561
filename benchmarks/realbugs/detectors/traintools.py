"""traintools: inspection of batches and gradients, and its tracker."""

import contextlib
import io
from typing import Any

from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run


@detector(
    "traintools",
    "public",
    "`BatchInspector`, `GradientHealthMonitor` and `TraintoolsTracker` in each step, as in its quick start, but "
    "without `max_grad_norm`, since these trainings do not clip at 1; reports that are not ok count.",
    environment="peers",
    package="traintools",
    module="traintools.callbacks.pytorch",
)
def watch(run: Run) -> None:
    from traintools import BatchInspector, GradientHealthMonitor
    from traintools.callbacks.pytorch import TraintoolsTracker

    parts = run.parts
    batches = BatchInspector(expected_num_classes=parts.classes)
    gradients = GradientHealthMonitor()
    tracker = TraintoolsTracker(parts.model, lambda model, *batch: parts.loss(model, batch), verbose=False)
    seen: set[str] = set()

    def report(name: str, found: Any) -> None:
        if not found.ok and name not in seen:
            seen.add(name)
            run.alert(name, str(found))

    def look(optimizer: Any) -> None:
        batch = run.last_batch
        if isinstance(batch, dict):
            *inputs, targets = batch.values()
        else:
            *inputs, targets = batch if isinstance(batch, (list, tuple)) else (batch, None)
        report("batch", batches.inspect(inputs[0], targets, step=run.steps))
        report("gradients", gradients.inspect(parts.model, step=run.steps, lr=optimizer.param_groups[0]["lr"]))
        tracker.step(step=run.steps, inputs=inputs[0] if len(inputs) == 1 else None, targets=targets)

    run.before_step(look)
    with contextlib.redirect_stdout(io.StringIO()):
        run.train()
