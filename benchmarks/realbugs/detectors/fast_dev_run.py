"""Lightning's `fast_dev_run`: one batch of each stage."""

from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run


@detector(
    "fast_dev_run",
    "stock",
    "`Trainer(fast_dev_run=True)`. An exception counts, and a warning that the fixed version does not have.",
    frameworks=("lightning",),
    before=True,
)
def watch(run: Run) -> None:
    try:
        run.train(fast_dev_run=True)
    except Exception as error:
        run.alert(type(error).__name__, str(error))
    for text in run.outcome.warnings:
        run.alert(f"warning {text[:60]}", text)
