"""ormas-monitor: each layer compared with its own history."""

import json
from typing import Any

from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run

_ALARMS = ("warning", "critical", "proof")


@detector(
    "ormas-monitor",
    "public",
    "`Monitor(model, optimizer)` with `step(loss)` before each optimizer step, or its callback for a Trainer; events "
    "of its record with the severity warning or above count.",
    environment="peers",
    package="ormas-monitor",
    module="ormas_monitor",
)
def watch(run: Run) -> None:
    out = run.folder / "ormas_run"
    options: dict[str, Any] = {"out": str(out), "verbose": False}
    if run.framework == "torch":
        from ormas_monitor import Monitor

        monitor = Monitor(run.parts.model, run.parts.optimizer, **options)
        run.before_step(lambda _: monitor.step(run.last_loss))
        run.train()
        monitor.close(report=False)
    elif run.framework == "lightning":
        from ormas_monitor.integrations.lightning import OrmasMonitorCallback

        run.train([OrmasMonitorCallback(write_report=False, **options)])
    else:
        from ormas_monitor.integrations.huggingface import OrmasMonitorCallback as ForTransformers

        run.train([ForTransformers(write_report=False, **options)])
    for file in out.rglob("*.jsonl"):
        for line in file.read_text().splitlines():
            event = json.loads(line)
            if event.get("severity") in _ALARMS:
                check, step = str(event.get("event") or event.get("type")), int(event.get("step") or 0)
                run.alert(check, json.dumps(event), step, event["severity"] == "warning")
