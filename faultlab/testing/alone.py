"""One source mutant in a fresh pytest, where its every line runs mutated, those that run at import too."""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from faultlab.detectors.exceptions import UserCode
from faultlab.testing.failures import Suspects, told, why


class Killer:
    """A plugin that writes down which test failed first, and why: the one that kills the mutant.

    Which test runs, and may end the process or never end, is written beside it, in a file of the same name and
    ``.running``, which is gone when all have ended.
    """

    def __init__(self, file: Path) -> None:
        self._file = file

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        Path(f"{self._file}.running").write_text(nodeid, encoding="utf-8")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: pytest.Item, call: Any) -> Generator[None, Any, Any]:
        report = yield
        if report.failed:
            error = call.excinfo.value if call.excinfo is not None else None
            suspects = Suspects({Path(item.path)}, UserCode(frozenset(), (str(item.config.rootpath),)))
            kind = why(error, suspects) if error is not None else "test"
            self._say(item.nodeid, kind, told(error) if error is not None else str(report.longrepr))
        return report

    def pytest_collectreport(self, report: Any) -> None:
        if report.failed:
            last = str(report.longreprtext).strip().splitlines()[-1:] or [""]
            self._say(report.nodeid, "framework", f"it can't be collected: {last[0]}")

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self) -> None:
        Path(f"{self._file}.running").unlink(missing_ok=True)

    def _say(self, test: str, kind: str, message: str) -> None:
        if not self._file.exists():
            # Not faultlab's own writer: within its repository that may be what is mutated.
            self._file.write_text(json.dumps({"test": test, "kind": kind, "message": message}), encoding="utf-8")
