"""Builds of faultlab, from this tree and from other commits, whose commands are measured.

``python benchmarks/builds.py GITREF ARGUMENT...`` runs `faultlab ARGUMENT...` of that commit.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from floor import ROOT, environment
from timed import Spent, spend

RENAMED = {"noticed": "detected", "noticed_by": "detected_by"}
"""Words of earlier reports, and what they are called now."""


@dataclass(frozen=True)
class Cost:
    """The cost of one `faultlab run`. ``start`` is the part of its wall time that belongs to neither phase."""

    cpu: float
    wall: float
    load: float
    start: float
    peak: int
    statuses: Mapping[str, str]


@dataclass(frozen=True)
class Build:
    """A working tree of faultlab whose commands are run; ``own_scenarios`` is set if its scenarios are its own."""

    name: str
    tree: Path
    own_scenarios: bool = False

    def run(self, scenario: Path, *options: str, memory: bool = False) -> Cost:
        report, spent = self.report(scenario, *options, memory=memory)
        statuses = {fault["id"]: fault["status"] for fault in report["faults"]}
        start = spent.wall - report["timing"]["baseline"] - report["timing"]["faults"]
        return Cost(spent.cpu, spent.wall, spent.load, start, spent.peak, statuses)

    def report(self, scenario: Path, *options: str, memory: bool = False) -> tuple[dict[str, Any], Spent]:
        """Return the report of a campaign, with the names that reports have today, and what it took."""
        with tempfile.TemporaryDirectory(prefix="faultlab-bench-") as out:
            spent = self.command("run", str(self._own(scenario)), "--out", out, "--json", *options, memory=memory)
        try:
            (report,) = json.loads(spent.printed)
        except ValueError:
            raise click.ClickException(f"{self.name}: status {spent.status}\n{spent.complaints[-2000:]}") from None
        return in_todays_words(report), spent

    def demo(self, *options: str) -> Spent:
        with tempfile.TemporaryDirectory(prefix="faultlab-bench-") as out:
            spent = self.command("demo", "--out", out, *options)
        if spent.status:
            raise click.ClickException(f"{self.name}: status {spent.status}\n{spent.complaints[-2000:]}")
        return spent

    def command(self, *words: str, memory: bool = False) -> Spent:
        """Return the command line of `faultlab WORDS` in the tree."""
        # In the tree, since Python looks for modules in the working folder first.
        command = [sys.executable, "-m", "faultlab", *words]
        return spend(command, cwd=self.tree, env=environment(self.tree), memory=memory)

    def _own(self, scenario: Path) -> Path:
        whole = scenario.resolve()
        return self.tree / whole.relative_to(ROOT) if whole.is_relative_to(ROOT) else whole


def in_todays_words(value: Any) -> Any:
    """Return a part of a report with the names that it has today."""
    if isinstance(value, dict):
        return {RENAMED.get(key, key): in_todays_words(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [in_todays_words(inner) for inner in value]
    return RENAMED.get(value, value) if isinstance(value, str) else value


@contextlib.contextmanager
def built(ref: str, own_scenarios: bool) -> Iterator[Build]:
    """Yield the commit in a separate worktree, with the scenarios of this tree unless it shall run its own."""
    with tempfile.TemporaryDirectory(prefix="faultlab-against-") as folder:
        tree = Path(folder, "tree")
        git = ["git", "-C", str(ROOT), "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", str(tree), ref], check=True)
        try:
            if not own_scenarios:
                shutil.rmtree(tree / "scenarios", ignore_errors=True)
                shutil.copytree(ROOT / "scenarios", tree / "scenarios", ignore=shutil.ignore_patterns("__pycache__"))
            # Compilation at the first import must not be counted.
            subprocess.run([sys.executable, "-m", "compileall", "-q", "faultlab", "scenarios"], cwd=tree, check=True)
            yield Build(ref, tree, own_scenarios)
        finally:
            subprocess.run([*git, "remove", "--force", str(tree)], check=True)


def main(ref: str, *arguments: str) -> int:
    """Print the output of that build's command and return its status."""
    with built(ref, own_scenarios=True) as build:
        spent = build.command(*arguments)
    sys.stdout.write(spent.printed)
    sys.stderr.write(spent.complaints)
    return spent.status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
