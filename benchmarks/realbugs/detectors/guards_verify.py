"""faultlab's checks of a model before it trains."""

from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run


@detector(
    "guards.verify",
    "faultlab",
    "`guards.verify(model, batch, loss)` before the training, and without `loss` for a LightningModule.",
    package="faultlab",
    module="faultlab.guards",
    before=True,
)
def watch(run: Run) -> None:
    from faultlab import guards

    loss = None if run.framework == "lightning" else run.parts.loss
    for failed in guards.verify(run.parts.model, run.batch(), loss).failed:
        run.alert(failed.check, str(failed))
