"""torchtest2: its checks of a model on one batch."""

from typing import Any

from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run
from benchmarks.realbugs.training import optimizer_of


@detector(
    "torchtest2",
    "public",
    "`check_model(model, inputs, targets, optimizer=optimizer, plugin=...)`, with its plugin for Lightning, and else "
    "one that calls the loss of the training; checks that fail or warn count.",
    environment="peers",
    package="torchtest2",
    module="torchtest2",
    before=True,
)
def watch(run: Run) -> None:
    import torchtest2

    parts, batch = run.parts, run.batch()
    if isinstance(batch, dict):
        inputs, targets = {name: value for name, value in batch.items() if name != "labels"}, batch["labels"]
    else:
        inputs, targets = batch if isinstance(batch, (list, tuple)) else (batch, None)

    class WithLoss(torchtest2.Plugin):
        name = "with-loss"

        def forward(self, model: Any, inputs: Any, targets: Any) -> Any:
            if isinstance(inputs, dict):
                return parts.loss(model, {**inputs, "labels": targets})
            return parts.loss(model, inputs if targets is None else (inputs, targets))

        def eval_forward(self, model: Any, inputs: Any) -> Any:
            outputs = model(**inputs) if isinstance(inputs, dict) else model(inputs)
            return outputs["logits"] if isinstance(inputs, dict) else outputs

        def loss(self, output: Any, targets: Any, loss_fn: Any) -> Any:
            return output

    plugin = "lightning" if run.framework == "lightning" else WithLoss()
    report = torchtest2.check_model(
        parts.model, inputs, targets, optimizer=optimizer_of(parts), plugin=plugin, seed=run.seed
    )
    for one in [*report.failures, *report.warnings]:
        run.alert(one.name, f"{one.message} {one.details}", warning=one in report.warnings)
