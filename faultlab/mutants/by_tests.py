"""The user's tests as the judge of mutants: a pytest process judges, and the driver reads its verdicts here.

A mutant runs in a fresh process if a copy can't judge it: if its function runs at import, where the copies have it
unmutated; if it survives and its function runs in one test that others depend on, which the copy may not have run; and
if it ends the process.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faultlab.core.messages import Lines
from faultlab.core.report import dump
from faultlab.core.threads import one_thread_environment
from faultlab.engines import processes
from faultlab.errors import BaselineError, FaultlabError
from faultlab.mutants.fresh_pytest import FreshPytest
from faultlab.mutants.mutant import MARK, Mutant
from faultlab.mutants.workspace import Workspace

_TICK = 0.1
_IMPORTS = 120.0
_FACTOR = 10.0
_NOTHING = "nothing"
KILLED, SURVIVED, TIMEOUT, CRASHED, NOT_ACTIVATED, LOST = (
    "killed",
    "survived",
    "timeout",
    "crashed",
    "not_activated",
    "lost",
)


@dataclass(frozen=True)
class TestVerdict:
    """The tests' verdict: ``outcome`` and, if a test failed, its name, the kind of failure and the message.

    ``tests`` is the number of tests that run the mutant's function, ``seconds`` their duration.
    """

    __test__ = False

    outcome: str
    test: str = ""
    kind: str = ""
    message: str = ""
    tests: int = 0
    seconds: float = 0.0


@dataclass
class Suite:
    """The results of the clean tests: their seconds, why some are left out, and the module names of files.

    ``early`` are the functions that may have run before a copy of the process runs a test, ``heavy`` modules that take
    long to import. ``whole`` is the duration of all tests with their fixtures in s.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)
    early: set[str] = field(default_factory=set)
    heavy: list[str] = field(default_factory=list)
    whole: float = 0.0


@dataclass
class ByTests:
    """A judge that runs tests in the workspace's tree.

    ``files`` are pytest's arguments; without any, pytest finds the tests itself. ``heard`` is called with each verdict.
    """

    workspace: Workspace
    path: Sequence[str]
    files: Sequence[str]
    jobs: int
    timeout: float | None
    heard: Callable[[str, TestVerdict], None]
    suite: Suite = field(default_factory=Suite)
    _clean: bool | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def judge(self, mutants: Sequence[Mutant]) -> None:
        """Judge the mutants.

        Raises:
            BaselineError: The tests can't be run on the clean code.
        """
        by_name = {mutant.name: mutant for mutant in mutants}
        open_: dict[str, TestVerdict] = {}

        def hear(name: str, verdict: TestVerdict) -> None:
            doubtful = verdict.outcome == CRASHED or (
                verdict.outcome in (SURVIVED, NOT_ACTIVATED) and self._runs_early(by_name[name])
            )
            if doubtful:
                open_[name] = verdict
            else:
                self.heard(name, verdict)

        theirs = set(os.listdir(self.workspace.tree))
        self._collected(mutants, hear)
        # A fresh process must not find files that fixtures have written there.
        for name in set(os.listdir(self.workspace.tree)) - theirs:
            left = self.workspace.tree / name
            if left.is_dir() and not left.is_symlink():
                shutil.rmtree(left, ignore_errors=True)
            else:
                left.unlink(missing_ok=True)
        if not open_:
            return
        fresh = FreshPytest(self.workspace.tree, self._first(), self.suite.heavy, min(self.jobs, len(open_)))
        with fresh, ThreadPoolExecutor(self.jobs) as pool:
            try:
                found = {pool.submit(self.alone, by_name[name], fresh): name for name in open_}
                for future in as_completed(found):
                    self.heard(found[future], future.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                fresh.close()
                raise

    def alone(self, mutant: Mutant, fresh: FreshPytest) -> TestVerdict:
        """Return the verdict of all tests in a fresh process."""
        switch = mutant.switch(self.suite.modules.get(mutant.file, mutant.name.rpartition(".")[0]))
        verdict, begun = self._in_fresh(mutant.name, switch, fresh)
        if verdict.outcome == KILLED and not verdict.test and not begun and not self._works_clean(fresh):
            return replace(verdict, outcome=LOST, message=f"{verdict.message}, as it does with no mutant on")
        return verdict

    def _works_clean(self, fresh: FreshPytest) -> bool:
        """Return whether a fresh pytest finishes with no mutant on: otherwise it can't kill a mutant."""
        with self._lock:
            if self._clean is None:
                nothing = f"{_NOTHING}.x_{_NOTHING}{MARK}0"
                self._clean = self._in_fresh(_NOTHING, nothing, fresh)[0].outcome == SURVIVED
            return self._clean

    def _in_fresh(self, name: str, switch: str, fresh: FreshPytest) -> tuple[TestVerdict, bool]:
        """Return the verdict of all tests in a fresh process, and whether any of them began."""
        killer = self.workspace.folder / f"{name}.killer"
        running, done = Path(f"{killer}.running"), Path(f"{killer}.done")
        for file in (killer, running, done):
            file.unlink(missing_ok=True)
        left_out = [f"--deselect={test}" for test in self.suite.left_out]
        options = ["-x", f"--faultlab-mutant={switch}", f"--faultlab-killer={killer}", *left_out]
        begun = time.monotonic()
        deadline = _IMPORTS + (self.timeout or _FACTOR * self.suite.whole)
        try:
            status = fresh.run(self._arguments(options), self.workspace.folder / f"{name}.log", deadline)
        except FaultlabError as error:
            return TestVerdict(LOST, message=str(error)), False
        finally:
            shutil.rmtree(f"{killer}.cwd", ignore_errors=True)
        numbers: dict[str, Any] = {"tests": len(self.suite.seconds), "seconds": round(time.monotonic() - begun, 3)}
        test = running.read_text(encoding="utf-8") if running.exists() else ""
        if killer.exists():
            said = json.loads(killer.read_text(encoding="utf-8"))
            return TestVerdict(KILLED, **said, **numbers), bool(test)
        # Only once all tests have ended: after a test that exits with status 0, the following tests have not passed.
        # Status 1 without a failed test comes from something else, such as a plugin's threshold.
        if status in (0, 1) and done.exists():
            return TestVerdict(SURVIVED, **numbers), bool(test)
        if status is None:
            said = f"still running after {deadline:.0f} s"
            return TestVerdict(TIMEOUT, test, "process", said, **numbers), bool(test)
        return TestVerdict(KILLED, test, "process", f"pytest ended with status {status}", **numbers), bool(test)

    def _runs_early(self, mutant: Mutant) -> bool:
        return f"{mutant.file}:{mutant.mangled}" in self.suite.early

    def _collected(self, mutants: Sequence[Mutant], hear: Callable[[str, TestVerdict], None]) -> None:
        """Have one pytest process judge the mutants in copies of itself."""
        folder = self.workspace.folder
        report, task, log = folder / "tests.jsonl", folder / "tests.json", folder / "tests.log"
        for file in (report, Path(f"{task}.ran")):
            file.unlink(missing_ok=True)
        content = {
            "mutants": {mutant.name: mutant.file for mutant in mutants},
            "tree": str(self.workspace.tree),
            "root": str(self.workspace.root),
            "report": str(report),
            "jobs": self.jobs,
            "timeout": self.timeout,
        }
        task.write_text(dump(content), encoding="utf-8")
        process = self._pytest([f"--faultlab-mutants={task}"], log)
        lines, at = Lines(), 0
        try:
            over = False
            while not over:
                over = process.poll() is not None
                if not over:
                    time.sleep(_TICK)
                if report.exists():
                    with report.open("rb") as said_so_far:
                        said_so_far.seek(at)
                        data = said_so_far.read()
                    at += len(data)
                    for entry in lines.feed(data):
                        self._take(entry, hear)
        finally:
            processes.kill_group(process.pid)
            process.wait()
        if not self.suite.seconds:
            said = log.read_text(encoding="utf-8", errors="replace").strip()[-2000:]
            if self.suite.left_out:
                said = "\n".join(f"{test}: {why}" for test, why in list(self.suite.left_out.items())[:20])
            ended = f"pytest ended with status {process.returncode}"
            raise BaselineError(f"no test passes on the clean code ({ended})\n{said}{self._lacking()}", str(log))
        if process.returncode not in (0, 1, 5):
            raise BaselineError(
                f"pytest ended with status {process.returncode} before all mutants were judged", str(log)
            )

    def _lacking(self) -> str:
        names = ", ".join(self.workspace.left_behind())
        hint = f"\n    The copy lacks files that git ignores: {names}. Name those that tests need with --also-copy."
        return hint if names else ""

    def _take(self, entry: Mapping[str, Any], hear: Callable[[str, TestVerdict], None]) -> None:
        if "clean" in entry:
            clean = entry["clean"]
            if clean["strays"]:
                names = ", ".join(clean["strays"])
                raise BaselineError(
                    f"tests import the project's own {names}, not the copy that has the mutants\n"
                    "    Name the folder that tests import it from in PYTHONPATH: the copy's folder replaces it there."
                )
            self.suite = Suite(
                clean["seconds"],
                clean["left_out"],
                clean["modules"],
                set(clean["early"]),
                clean["heavy"],
                clean["whole"],
            )
        elif "mutant" in entry:
            fields = {key: value for key, value in entry.items() if key != "mutant"}
            hear(entry["mutant"], TestVerdict(**fields))

    def _arguments(self, options: Sequence[str]) -> list[str]:
        tree = self.workspace.tree
        settled = ["-q", "-p", "faultlab", "-p", "no:cacheprovider", f"--rootdir={tree}", f"--confcutdir={tree}"]
        return [*settled, *options, *self.files]

    def _first(self) -> list[str]:
        """Return the folders to put first on the module search path."""
        theirs = [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
        return list(dict.fromkeys([*self.path, *map(self.workspace.moved, theirs)]))

    def _pytest(self, options: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        environment = one_thread_environment()
        environment["PYTHONPATH"] = os.pathsep.join(self._first())
        environment["PY_IGNORE_IMPORTMISMATCH"] = "1"
        with log.open("wb") as output:
            return subprocess.Popen(
                [sys.executable, "-m", "pytest", *self._arguments(options)],
                cwd=self.workspace.tree,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
