"""faultlab's doctor on the script."""

import json
import os
import subprocess
import sys

from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run


@detector(
    "faultlab doctor",
    "faultlab",
    "`faultlab doctor SCRIPT`; only what it calls wrong counts, not what it calls attention to.",
    package="faultlab",
    before=True,
    most_seeds=1,
)
def watch(run: Run) -> None:
    command = [sys.executable, "-m", "faultlab", "doctor", str(run.file), "--json", "--timeout", "60"]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "FAULTLAB_WARM": "0"}, check=False
    )
    try:
        findings = json.loads(done.stdout)["findings"]
    except json.JSONDecodeError:
        raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-300:]}") from None
    for one in findings:
        if one["verdict"] == "wrong":
            run.alert(one["check"], f"{one['what']} {one['evidence']} {one['remedy']}")
