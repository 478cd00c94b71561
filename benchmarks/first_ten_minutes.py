"""Record docs/first-ten-minutes.md: from an empty folder with one file to a guarded scenario, with the time it takes.

    python benchmarks/first_ten_minutes.py [--keep FOLDER]

Create a fresh virtual environment that can import the packages of the current one, since Lightning users already have
torch, install faultlab from this checkout, and run the commands that the page shows.
"""

from __future__ import annotations

import argparse
import os
import shlex
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "first-ten-minutes.md"
SOURCE = ROOT / "tests" / "newcomers" / "mnist.py"
COMMANDS = (
    "pip install faultlab",
    "faultlab init mnist.py",
    "faultlab run",
    "faultlab prescribe scenarios/mnist-model.yaml --write",
)
_SHOWN = 80


def main() -> None:
    """Run the commands and write the page."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--keep", type=Path, help="work in this folder and keep it")
    keep = options.parse_args().keep
    with tempfile.TemporaryDirectory() as temporary:
        folder = (keep or Path(temporary)) / "mnist"
        folder.mkdir(parents=True)
        PAGE.write_text(record(folder), encoding="utf-8")


def record(folder: Path) -> str:
    """Return the page that records the commands' output in this empty folder."""
    (folder / SOURCE.name).write_bytes(SOURCE.read_bytes())
    environment = folder.parent / "venv"
    venv.create(environment, with_pip=True)
    packages = next((environment / "lib").glob("python*/site-packages"))
    (packages / "lightning-is-installed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    blocks, scenario, total = [], "", 0.0
    for command in COMMANDS:
        output, seconds = _run(command, folder, environment / "bin")
        total += seconds
        blocks.append(f"```console\n$ {command}\n{output}```\n\n{seconds:.0f} s.\n")
        if command == COMMANDS[1]:
            # `prescribe --write` changes it later.
            scenario = next((folder / "scenarios").glob("*.yaml")).read_text(encoding="utf-8")
    return _PAGE.format(
        source=SOURCE.read_text(encoding="utf-8"),
        install=blocks[0],
        init=blocks[1],
        scenario=scenario,
        run=blocks[2],
        prescribe=blocks[3],
        total=total,
        cores=len(os.sched_getaffinity(0)),
        load=os.getloadavg()[0],
        python=f"{sys.version_info.major}.{sys.version_info.minor}",
    )


def _run(command: str, folder: Path, programs: Path) -> tuple[str, float]:
    words = shlex.split(command)
    if words[:2] == ["pip", "install"]:
        words = [str(programs / "python"), "-m", "pip", "install", "-q", "--ignore-installed", "--no-deps", str(ROOT)]
    else:
        words[0] = str(programs / words[0])
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    surroundings = {**kept, "COLUMNS": "100", "PIP_DISABLE_PIP_VERSION_CHECK": "1"}
    begun = time.monotonic()
    done = subprocess.run(words, cwd=folder, env=surroundings, capture_output=True, text=True, timeout=900)
    seconds = time.monotonic() - begun
    if done.returncode:
        raise SystemExit(f"{command} ended with status {done.returncode}:\n{done.stdout}{done.stderr}")
    lines = [line.rstrip() for line in (done.stdout + done.stderr).splitlines()]
    shown = lines if len(lines) <= _SHOWN else [*lines[:8], f"... {len(lines) - _SHOWN} lines", *lines[8 - _SHOWN :]]
    return "".join(f"{line}\n" for line in shown), seconds


_PAGE = """# The first ten minutes

<!-- Recorded by benchmarks/first_ten_minutes.py. Change that file, not this one. -->

This page starts with an empty folder and one file of the kind that people post with a question. No file is edited by
hand. Torch and Lightning were installed in the environment, but torchvision was not, so the script could not run there
on its own. faultlab was installed from a checkout. Python {python}, {cores} cores at a load of {load:.0f},
{total:.0f} s in all.

`mnist.py`:

```python
{source}```

## Install

{install}
## Write a scenario

`faultlab init` looks at the file, tries short trainings, and writes a scenario: a YAML file that describes what to
train.

{init}
It wrote `scenarios/mnist-model.yaml`:

```yaml
{scenario}```

## Break it

`faultlab run` trains the module without a fault, and then once with each failure mode. Failure modes that can't
occur in this module are listed as n/a.

{run}
`reports/mnist-model/index.html` shows every fault with its curves, the undetected ones first.

## Add guards

A guard is a callback that checks the training. `faultlab prescribe` chooses the fewest ready-made guards that detect
the silent faults. A second campaign verifies them, and `--write` adds them to the scenario. To use them in the
training itself, paste the printed lines into your script.

{prescribe}
## Without a project

`faultlab demo` breaks a small model that comes with faultlab, and explains each step.
"""


if __name__ == "__main__":
    main()
