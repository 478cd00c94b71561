"""torch-preflight: rules on the source."""

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run


@detector(
    "torch-preflight",
    "public",
    "`torch-preflight check SCRIPT`; errors and warnings count, notes do not.",
    environment="peers",
    package="torch-preflight",
    static=True,
    before=True,
)
def watch(run: Run) -> None:
    tool = Path(sys.executable).with_name("torch-preflight")
    command = [str(tool), "check", str(run.file), "--format", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    for one in json.loads(done.stdout)["diagnostics"]:
        if one["severity"] in ("error", "warning"):
            run.alert(one["code"], one["message"], warning=one["severity"] == "warning")
