"""torch-audit: rules at run time, by `autopatch`."""

from typing import Any

from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run


@detector(
    "torch-audit",
    "public",
    "`autopatch(model, optimizer, every_n_steps=1)`, with Trainers as soon as they have an optimizer; findings of "
    "severity WARN and above count, but hints about hardware (TA2xx) do not.",
    environment="peers",
    package="torch-audit",
    module="torch_audit",
)
def watch(run: Run) -> None:
    from torch_audit import Severity, autopatch

    begun: list[Any] = []

    def begin(model: Any, optimizer: Any) -> None:
        if not begun:
            begun.append(autopatch(model, optimizer=optimizer, every_n_steps=1, reporters=[], fail_level="FATAL"))

    if run.framework == "torch":
        begin(run.parts.model, run.parts.optimizer)
        run.train()
    else:
        run.train([_callback(run.framework, begin)])
    seen = set()
    for one in begun[0].finish(report=False).findings:
        if one.severity >= Severity.WARN and one.rule_id not in seen and not one.rule_id.startswith("TA2"):
            seen.add(one.rule_id)
            run.alert(one.rule_id, one.message, max(one.step or 0, 0), one.severity < Severity.ERROR)


def _callback(framework: str, begin: Any) -> Any:
    if framework == "lightning":
        import pytorch_lightning as pl

        class Begins(pl.Callback):
            def on_train_start(self, trainer: Any, pl_module: Any) -> None:
                begin(pl_module, trainer.optimizers[0])

        return Begins()
    import transformers

    class BeginsTuning(transformers.TrainerCallback):
        def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            begin(kwargs["model"], kwargs["optimizer"].optimizer)

    return BeginsTuning()
