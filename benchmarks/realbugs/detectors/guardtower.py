"""guardtower: an audit of one step, and a watch for values that are not finite."""

from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run
from benchmarks.realbugs.training import optimizer_of


@detector(
    "guardtower",
    "public",
    "`guardtower.audit(model, closure, optimizer=optimizer, inputs=inputs)`, whose failures and warnings count, and "
    "then the training in `guardtower.monitor(model)`.",
    environment="peers",
    package="guardtower",
    module="guardtower",
)
def watch(run: Run) -> None:
    import guardtower

    parts, batch = run.parts, run.batch()
    inputs = batch[0] if isinstance(batch, (list, tuple)) else None
    report = guardtower.audit(
        parts.model, lambda: parts.loss(parts.model, batch), optimizer=optimizer_of(parts), inputs=inputs
    )
    for one in [*report.errors, *report.warnings]:
        run.alert(one.check, one.message, warning=one in report.warnings)
    parts.model.zero_grad(set_to_none=True)
    try:
        with guardtower.monitor(parts.model):
            run.train()
    except guardtower.GuardtowerError as error:
        run.alert("monitor", str(error))
