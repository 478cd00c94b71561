"""The page of a running campaign: the static page, written again while verdicts arrive, which reloads by itself.

It needs no server: a browser opens the file. The page that the campaign ends with replaces it; if the campaign fails,
it is removed.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from faultlab.campaign.campaign import Listener, Options
from faultlab.campaign.provenance import now
from faultlab.core.report import Baseline, FaultResult, Report
from faultlab.core.version import __version__
from faultlab.report.html import document

_INTERVAL = 2.0
"""The least seconds between two writes of the page."""
_SHARE = 10
"""Between two writes passes at least so many times what a write takes, so that writing takes a tenth of the time."""


class Live:
    """A listener that passes everything on to another one and keeps the scenario's page up to date.

    ``announce`` is called once for each scenario, with the page's address.
    """

    def __init__(self, listener: Listener, options: Options, announce: Callable[[str], None]) -> None:
        self._listener = listener
        self._options = options
        self._announce = announce
        self._report: Report | None = None
        self._planned = 0
        self._due = 0.0

    def __enter__(self) -> Live:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        """Remove the page if the campaign failed; otherwise its last page is written next, in the same place."""
        if kind is not None and self._report is not None:
            self._page.unlink(missing_ok=True)

    @property
    def _page(self) -> Path:
        assert self._report is not None
        return self._options.folder(self._report.scenario) / "index.html"

    def started(self, scenario: str) -> None:
        self._listener.started(scenario)
        self._planned = 0
        self._report = Report(scenario, faultlab=__version__, date=now(), selection=self._options.selection)

    def measured(self, baseline: Baseline) -> None:
        self._listener.measured(baseline)
        if self._report is not None:
            self._report.baseline = baseline

    def settled(self, result: FaultResult) -> None:
        self._listener.settled(result)
        self._planned += 1
        if self._report is not None:
            self._report.faults.append(result)

    def planned(self, total: int) -> None:
        self._listener.planned(total)
        self._planned += total
        if self._report is not None and not self._page.exists():
            self._write()
            self._announce(self._page.resolve().as_uri())

    def judged(self, result: FaultResult) -> None:
        self._listener.judged(result)
        if self._report is not None:
            self._report.faults.append(result)
            if time.monotonic() >= self._due:
                self._write()

    def testing(self) -> None:
        self._listener.testing()
        if self._report is not None:
            self._write()

    def _write(self) -> None:
        assert self._report is not None
        begun = time.monotonic()
        # A page that can't be written costs no verdict; a full disk fails the report.
        with contextlib.suppress(OSError):
            document.write_live(self._report, self._page, document.Live(len(self._report.faults), self._planned))
        ended = time.monotonic()
        self._due = ended + max(_INTERVAL, _SHARE * (ended - begun))
