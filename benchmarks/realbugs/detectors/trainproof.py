"""trainproof: rules on the log of a training, alone or beside the log of a run known to be good."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run


def _logged(run: Run, file: Path) -> None:
    if run.framework == "transformers":
        run.train()
        run.parts.kept["trainer"].state.save_to_json(str(file))
        return
    lines = []

    def note(optimizer: Any) -> None:
        norms = [p.grad.norm() for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        lines.append(
            {
                "step": run.steps + 1,
                "loss": float(run.last_loss) if run.last_loss is not None else None,
                "learning_rate": float(optimizer.param_groups[0]["lr"]),
                "grad_norm": float(torch.stack(norms).norm()) if norms else 0.0,
            }
        )

    run.before_step(note)
    run.train()
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))


def _name(run: Run, stem: str) -> str:
    # trainproof knows the Trainer's own record by its suffix.
    return f"{stem}.json" if run.framework == "transformers" else f"{stem}.jsonl"


def judged(*arguments: str) -> list[dict[str, Any]]:
    """Run trainproof and return its findings that warn or fail."""
    tool = Path(sys.executable).with_name("trainproof")
    done = subprocess.run([str(tool), *arguments, "--json"], capture_output=True, text=True, check=False)
    (report,) = json.loads(done.stdout)["reports"]
    return [one for one in report["findings"] if one["level"] in ("WARN", "FAIL")]


def _judged(run: Run, *arguments: str) -> None:
    for one in judged(*arguments):
        run.alert(one["id"], f"{one['message']} {one.get('evidence', '')}", warning=one["level"] == "WARN")


@detector(
    "trainproof epoch",
    "public",
    "`trainproof epoch LOG.jsonl`, with loss, learning rate and gradient norm of each step, or the state that the "
    "Trainer of transformers saves; WARN and FAIL count.",
    environment="peers",
    package="trainproof",
)
def alone(run: Run) -> None:
    log = run.folder / _name(run, "run")
    _logged(run, log)
    _judged(run, "epoch", str(log))


@detector(
    "trainproof compare",
    "public",
    "`trainproof compare GOOD.jsonl LOG.jsonl`, where the good run is one of the fixed version with another seed; the "
    "CPU column leaves out the latter.",
    environment="peers",
    package="trainproof",
)
def compared(run: Run) -> None:
    good = run.recorded(
        _name(run, f"good-{run.seed}"),
        lambda new: _logged(Run(run.baseline, run.baseline, run.folder, run.seed + 1000), new),
    )
    log = run.folder / _name(run, "run")
    again = Run(run.file, run.baseline, run.folder, run.seed)
    _logged(again, log)
    run.steps = again.steps
    _judged(run, "compare", str(good), str(log))
