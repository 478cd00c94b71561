"""The training as it is: warnings of torch and Lightning that the fixed version does not have."""

from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run


@detector(
    "stock", "stock", "The training as it is. A warning counts as detection if the fixed version does not have it."
)
def watch(run: Run) -> None:
    run.train()
    for text in run.outcome.warnings:
        run.alert(f"warning {text[:60]}", text)
