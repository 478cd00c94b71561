"""Break models of public Lightning projects, each in its own environment. See README.md beside this file.

This script needs only the standard library: everything else is installed into the environments that it creates.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

FIELD = Path(__file__).resolve().parent
ROOT = FIELD.parent.parent

_STATUSES = {
    "detected": "detected",
    "warned": "warned",
    "silent": "silent",
    "no_effect": "no effect",
    "not_applicable": "n/a",
    "not_activated": "not activated",
    "error": "error",
    "timeout": "timeout",
}

# The demands on a campaign with a foreign model.
_ACTIVATED = 0.95
_ROLES_RIGHT = 0.75


@dataclass(frozen=True)
class Project:
    """A project: the packages to install, and the roles that an expert would give the parts of its batch.

    ``scenario`` is relative to this folder; empty for ``scenario.yaml`` in the folder of the project's name.
    """

    requirement: str
    inputs: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    scenario: str = ""


PROJECTS = {
    "pytorch_forecasting": Project(
        "pytorch-forecasting",
        inputs=(
            "0.encoder_cat",
            "0.encoder_cont",
            "0.encoder_lengths",
            "0.decoder_cat",
            "0.decoder_cont",
            "0.decoder_lengths",
        ),
        # The same tensor twice: the project's loss uses the second.
        labels=("0.decoder_target", "1.0"),
    ),
    "darts": Project(
        "darts[torch]",
        inputs=("past_target", "past_covariates", "historic_future_covariates", "future_covariates"),
        labels=("future_target",),
    ),
    # The first dict has all cells, whose labels the model must not see; the second has the labeled cells.
    "scvi_tools": Project("scvi-tools", inputs=("0.X", "0.batch", "1.X"), labels=("1.labels",)),
    "gluonts": Project(
        "gluonts[torch]",
        inputs=(
            "feat_static_cat",
            "feat_static_real",
            "past_time_feat",
            "past_target",
            "past_observed_values",
            "future_time_feat",
        ),
        labels=("future_target",),
    ),
    # Inputs and targets are cut from the same tensor, which is therefore an input.
    "neuralforecast": Project("neuralforecast", inputs=("temporal",)),
    "chemprop": Project(
        "chemprop",
        inputs=("bmg.V", "bmg.E", "bmg.edge_index", "bmg.rev_edge_index", "bmg.batch"),
        labels=("Y",),
    ),
    # The batch is a tensor, so its path is empty; the demo learns without labels.
    "lightning_manual": Project("pytorch-lightning", inputs=("",)),
}


# Two projects that support DistributedDataParallel, on two ranks.
PROJECTS["darts_ranks"] = replace(PROJECTS["darts"], scenario="darts/ranks.yaml")
# Its transforms cut inputs and targets from the same tensor, after the batch has left the loader.
PROJECTS["replay_ranks"] = Project(
    "replay-rec[torch]", inputs=("item_id", "item_id_mask"), scenario="replay/scenario.yaml"
)


class FailedError(Exception):
    """A project could not be installed or run."""


@dataclass
class Row:
    """The result of one project. ``failed`` has the reason if there is none."""

    project: str
    failed: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    activated: int = 0
    applicable: int = 0
    inputs: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    deterministic: bool = True
    clean: float = 0.0
    total: float = 0.0

    @property
    def modes(self) -> int:
        return sum(self.counts.values())

    @property
    def share(self) -> float:
        return self.activated / self.applicable if self.applicable else 0.0

    @property
    def roles_right(self) -> bool:
        expected = PROJECTS[self.project]
        return (set(self.inputs), set(self.labels)) == (set(expected.inputs), set(expected.labels))

    @property
    def good(self) -> bool:
        return not self.failed and not self.counts.get("error") and self.share >= _ACTIVATED


def main() -> int:
    """Return 0 if every project meets the demands, otherwise 1."""
    asked = _arguments()
    rows = []
    for name in asked.projects or PROJECTS:
        # Each takes more than a gigabyte, so remove each one at once unless it is kept.
        with tempfile.TemporaryDirectory(prefix="faultlab-field-") as temporary:
            try:
                _say(f"{name}: installing")
                python = _environment(name, (asked.venvs or Path(temporary)).resolve() / name)
                _say(f"{name}: running")
                rows.append(_carried_out(name, python, asked.select, asked.out.resolve(), asked.jobs))
            except FailedError as error:
                rows.append(Row(name, failed=str(error)))
                _say(f"{name}: {error}")
    print(_as_markdown(rows) if asked.markdown else _as_text(rows))
    right = sum(row.roles_right for row in rows)
    return 0 if all(row.good for row in rows) and right >= _ROLES_RIGHT * len(rows) else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Break models of public Lightning projects.")
    parser.add_argument("projects", nargs="*", metavar="PROJECT", help=f"default: {', '.join(PROJECTS)}")
    parser.add_argument("--select", action="append", default=[], metavar="GLOB", help="passed to `faultlab run`")
    parser.add_argument("--venvs", type=Path, metavar="DIR", help="keep the environments here, and use existing ones")
    parser.add_argument(
        "--out", type=Path, default=ROOT / "reports" / "field", metavar="DIR", help="folder for the reports"
    )
    parser.add_argument("--jobs", type=int, metavar="N", help="passed to `faultlab run`")
    parser.add_argument("--markdown", action="store_true", help="print the tables as Markdown")
    asked = parser.parse_args()
    if unknown := [name for name in asked.projects if name not in PROJECTS]:
        parser.error(f"no such project: {', '.join(unknown)}; choose of {', '.join(PROJECTS)}")
    return asked


def _scenario(name: str) -> Path:
    return FIELD / (PROJECTS[name].scenario or f"{name}/scenario.yaml")


def _environment(name: str, folder: Path) -> Path:
    """Return the interpreter of an environment with the project's pinned packages and this checkout."""
    python = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    constraints = _scenario(name).parent / "constraints.txt"
    pins = constraints.read_text(encoding="utf-8")
    # Written last: an interrupted installation, or one with other pins, is repeated.
    mark = folder / "complete.txt"
    if mark.is_file() and mark.read_text(encoding="utf-8") == pins:
        return python
    venv.create(folder, clear=True, with_pip=True)
    torch = next(line for line in pins.splitlines() if line.startswith("torch=="))
    wanted = [torch, PROJECTS[name].requirement, "-e", str(ROOT)]
    _called([str(python), "-m", "pip", "install", "--quiet", "-c", str(constraints), *wanted])
    mark.write_text(pins, encoding="utf-8")
    return python


def _carried_out(name: str, python: Path, select: Sequence[str], out: Path, jobs: int | None) -> Row:
    scenario = _scenario(name).relative_to(ROOT)
    begun = time.monotonic()
    command = [str(python), "-m", "faultlab", "run", str(scenario), "--json", "--out", str(out)]
    command += [word for glob in select for word in ("--select", glob)]
    command += ["--jobs", str(jobs)] if jobs else []
    # A failed gate, false alarms and inconclusive faults are findings, and the report has them.
    (report,) = json.loads(_called(command, accepted=(0, 1, 3, 4))) or [None]
    if report is None:
        raise FailedError("no report")
    total = time.monotonic() - begun
    roles = json.loads(_called([str(python), str(FIELD / "roles.py"), str(scenario)]).splitlines()[-1])
    applicable = [fault for fault in report["faults"] if fault["status"] not in ("not_applicable", "ignored")]
    for fault in applicable:
        if fault["status"] in ("error", "not_activated", "timeout"):
            _say(f"{name}: {fault['status']} {fault['id']}: {fault['reason']}")
    return Row(
        name,
        counts=report["coverage"]["modes"],
        activated=sum(fault["activations"] > 0 for fault in applicable),
        applicable=len(applicable),
        inputs=tuple(roles["inputs"]),
        labels=tuple(roles["labels"]),
        versions=report["versions"],
        reasons=report["gate"]["reasons"],
        deterministic=report["baseline"]["deterministic"],
        clean=report["baseline"]["seconds"],
        total=total,
    )


def _called(command: Sequence[str], accepted: Sequence[int] = (0,)) -> str:
    """Return the output of the command; raise FailedError with the end of its error output."""
    # Modules from elsewhere must not shadow those of the environment; more threads would take cores from other jobs.
    environment = {"OMP_NUM_THREADS": "1", **os.environ, "FAULTLAB_WARM": "0"}
    environment.pop("PYTHONPATH", None)
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode not in accepted or (accepted != (0,) and not done.stdout.strip()):
        said = "\n".join((done.stderr or done.stdout).strip().splitlines()[-8:])
        raise FailedError(f"{Path(command[0]).name} {' '.join(command[1:4])} ended with {done.returncode}: {said}")
    return done.stdout


def _counted(rows: Sequence[Row]) -> list[list[str]]:
    shown = [name for name in _STATUSES if name != "timeout" or any(row.counts.get(name) for row in rows)]
    table = [["project", *(_STATUSES[name] for name in shown), "activated", "roles", "clean run, s", "campaign, s"]]
    for row in rows:
        if row.failed:
            table.append([row.project, "failed", *[""] * (len(shown) + 3)])
            continue
        table.append(
            [
                row.project,
                *(str(row.counts.get(name, 0)) for name in shown),
                f"{row.activated}/{row.applicable} ({row.share:.1%})",
                "right" if row.roles_right else "WRONG",
                f"{row.clean:.1f}",
                f"{row.total:.0f}",
            ]
        )
    return table


def _roles(rows: Sequence[Row]) -> list[list[str]]:
    table = [["project", "inputs that were inferred", "labels that were inferred"]]
    for row in rows:
        if not row.failed:
            table.append([row.project, _paths(row.inputs), _paths(row.labels)])
    return table


def _paths(paths: Sequence[str]) -> str:
    return ", ".join(path or "the batch" for path in paths) or "none"


def _caption(rows: Sequence[Row]) -> str:
    ran = [row for row in rows if not row.failed]
    if not ran:
        return "nothing ran"
    versions = sorted({", ".join(f"{name} {version}" for name, version in row.versions.items()) for row in ran})
    modes = sorted({row.modes for row in ran})
    return f"{'/'.join(map(str, modes))} failure modes; {'; '.join(versions)}"


def _notes(rows: Sequence[Row]) -> list[str]:
    notes = [f"{row.project}: {reason}" for row in rows for reason in row.reasons]
    notes += [f"{row.project}: clean runs differ, which hides faults" for row in rows if not row.deterministic]
    for row in rows:
        if row.failed:
            notes.append(f"{row.project}: {row.failed}")
        elif not row.roles_right:
            expected = PROJECTS[row.project]
            notes.append(f"{row.project}: expected {_paths(expected.inputs)} / {_paths(expected.labels)}")
    return notes


def _as_text(rows: Sequence[Row]) -> str:
    return "\n".join([_caption(rows), "", *_aligned(_counted(rows)), "", *_aligned(_roles(rows)), "", *_notes(rows)])


def _aligned(table: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*table)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in table]


def _as_markdown(rows: Sequence[Row]) -> str:
    notes = [f"- {note}" for note in _notes(rows)]
    lines = [f"{_caption(rows)}.", "", *_piped(_counted(rows)), "", *_piped(_roles(rows)), "", *notes]
    return "\n".join(lines).rstrip()


def _piped(table: Sequence[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(row)} |" for row in table]
    return [lines[0], "| " + " | ".join("---" for _ in table[0]) + " |", *lines[1:]]


def _say(text: Any) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
