"""Records docs/first-ten-minutes.md: from an empty folder with one file to a report, with the seconds that it takes.

    python benchmarks/first_ten_minutes.py [--keep FOLDER]

Makes a fresh virtual environment that finds this one's packages, as somebody's who trains with Lightning already has
torch, installs faultlab from this checkout, and runs what the page shows.
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
COMMANDS = ("pip install faultlab", "faultlab init mnist.py", "faultlab run")
_SHOWN = 60


def main() -> None:
    """Runs the commands and writes the page."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--keep", type=Path, help="work in this folder and leave it")
    keep = options.parse_args().keep
    with tempfile.TemporaryDirectory() as temporary:
        folder = (keep or Path(temporary)) / "mnist"
        folder.mkdir(parents=True)
        PAGE.write_text(record(folder), encoding="utf-8")


def record(folder: Path) -> str:
    """The page, of what happens in that empty folder."""
    (folder / SOURCE.name).write_bytes(SOURCE.read_bytes())
    environment = folder.parent / "venv"
    venv.create(environment, with_pip=True)
    packages = next((environment / "lib").glob("python*/site-packages"))
    (packages / "lightning-is-installed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    blocks, total = [], 0.0
    for command in COMMANDS:
        output, seconds = _run(command, folder, environment / "bin")
        total += seconds
        blocks.append(f"```console\n$ {command}\n{output}```\n\n{seconds:.0f} s.\n")
    scenario = next((folder / "scenarios").glob("*.yaml")).read_text(encoding="utf-8")
    return _PAGE.format(
        source=SOURCE.read_text(encoding="utf-8"),
        install=blocks[0],
        init=blocks[1],
        scenario=scenario,
        run=blocks[2],
        total=total,
        cores=len(os.sched_getaffinity(0)),
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

<!-- Recorded by benchmarks/first_ten_minutes.py; change that and not this. -->

An empty folder, one file of the kind that people post with a question, and no file edited by hand. The environment had
torch and Lightning, as that of anybody has who trains with Lightning; it had no torchvision, so that not even the file
itself could run there. faultlab was installed from a checkout. Python {python}, {cores} cores, {total:.0f} s in all.

`mnist.py`:

```python
{source}```

## Install

{install}
## Look at it

{init}
This is the scenario that was written, `scenarios/mnist-model.yaml`:

```yaml
{scenario}```

## Break it

{run}
`reports/mnist-model/index.html` shows every fault with its curves, the silent ones first.

## Add the guards that would have detected

`faultlab prescribe scenarios/mnist-model.yaml --write` finds the smallest set of ready-made guards that detects what is
silent, proves it by a second campaign and writes them into the scenario. They are callbacks: `Trainer(callbacks=[...])`
has them in the training itself.

## Without any file

`faultlab demo` breaks a small model that comes with faultlab and tells what happens.
"""


if __name__ == "__main__":
    main()
