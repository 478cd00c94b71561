"""One source mutant in a fresh pytest, where every line runs mutated, also those that run at import."""

# faultlab: runs around each test while a mutant is on

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from faultlab.core.patching import Patches
from faultlab.core.user_code import UserCode
from faultlab.sandbox import file_calls
from faultlab.sandbox.overlay import Overlay
from faultlab.testing import isolated_cwd, randomness
from faultlab.testing.failures import Suspects
from faultlab.testing.test_runner import Conductor, Ended


class Killer:
    """A plugin that writes the first failed test, which kills the mutant, and its cause to a file.

    A file of the same name with ``.running`` has the current test, which may end the process or hang; a file with
    ``.done`` exists once all tests have ended.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._patches = Patches()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Have every test begin as in the clean passes: a test that draws random numbers must not kill by chance."""
        # Not before: pytest collects tests from the folder.
        isolated_cwd.enter(Path(f"{self._file}.cwd"))
        overlay = Overlay(lambda: f"{self._file}.written", [str(session.config.rootpath)], [str(self._file.parent)])
        file_calls.take_over(self._patches, overlay)
        suspects = Suspects(
            {Path(item.path) for item in session.items}, UserCode(frozenset(), (str(session.config.rootpath),))
        )
        conductor = Conductor(suspects, lambda unit: contextlib.nullcontext(), randomness.seeded())
        conductor.ends_session = True
        conductor.on_begin, conductor.on_end = self._begins, self._ends
        session.config.pluginmanager.register(conductor, "faultlab-conductor")

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            last = str(report.longreprtext).strip().splitlines()[-1:] or [""]
            self._say(report.nodeid, "framework", f"it can't be collected: {last[0]}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        self._patches.close()
        Path(f"{self._file}.done").touch()

    def _begins(self, test: Ended) -> None:
        Path(f"{self._file}.running").write_text(test.test, encoding="utf-8")

    def _ends(self, test: Ended) -> None:
        if test.outcome == "failed":
            self._say(test.test, test.kind, test.message)

    def _say(self, test: str, kind: str, message: str) -> None:
        if not self._file.exists():
            # Not with faultlab's own writer, which may be mutated in faultlab's repository.
            self._file.write_text(json.dumps({"test": test, "kind": kind, "message": message}), encoding="utf-8")
