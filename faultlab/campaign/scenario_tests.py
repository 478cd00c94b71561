"""The user's tests as detectors: run in a pytest process, joined with the campaign's verdicts here.

The driver's side: it never imports torch.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faultlab.config.fault_patterns import parse_fault
from faultlab.core.detection import Detection
from faultlab.core.fault import Fault
from faultlab.core.reason import Reason, ReasonKind
from faultlab.core.report import FaultResult, Report, Status
from faultlab.core.run_folder import LOGS, REPORT_FILE, TESTS_FILE
from faultlab.core.threads import one_thread_environment
from faultlab.engines import processes

# Verdicts that a test can turn into detected: no effect on the training, or undetected by guards.
_OPEN = (Status.DETECTED, Status.WARNED, Status.SILENT, Status.NO_EFFECT)


@dataclass(frozen=True)
class Judged:
    """The result of the tests: detections by fault (mode and dose), tests left out with reasons, and problems."""

    detections: Mapping[Fault, Sequence[Detection]] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[Reason] = ()


@dataclass(frozen=True)
class Tests:
    """The tests of a scenario; ``folder`` is its run folder, ``path`` has the import paths of its code."""

    __test__ = False

    files: Sequence[str]
    folder: Path
    path: Sequence[str]
    jobs: int
    timeout: float | None = None

    def judge(self, results: Mapping[Fault, FaultResult], target: str) -> Judged:
        """Run every test under each of these faults that it reaches.

        ``target`` is the dotted path of the class; if it is empty, all modules that the tests train are broken.

        For faults that a guard detects with every trigger, the tests run only until one fails.
        """
        asked: dict[Fault, bool] = {}
        for fault, result in results.items():
            # Tests train for as long as they like: a step of the scenario's training is none of theirs.
            bare, settled = fault.at_any_time(), any(one.kind == "guard" for one in result.detected_by)
            asked[bare] = settled and asked.get(bare, True)
        found = self.folder / TESTS_FILE
        found.unlink(missing_ok=True)
        if not asked:
            return Judged()
        log = self.folder / LOGS / "tests.log"
        with log.open("wb") as output:
            status = self._run(asked, target, output)
        if not found.is_file():
            said = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            why = next((line for line in reversed(said) if "FAULTLAB" in line or "ERROR" in line), "")
            text = f"inconclusive: pytest ended with status {status} and judged nothing: {why} (see {log})"
            return Judged(problems=[Reason(ReasonKind.TESTS_UNPROVEN, text)])
        report = Report.read(self.folder / "tests" / REPORT_FILE)
        return Judged(
            detections={
                parse_fault(fault.id).at_any_time(): fault.detected_by for fault in report.faults if fault.detected_by
            },
            left_out=json.loads(found.read_text(encoding="utf-8"))["left_out"],
            problems=[
                Reason(
                    ReasonKind.TESTS_UNPROVEN,
                    f"inconclusive: under the tests {fault.id} is {fault.status.value} ({fault.reason})",
                )
                for fault in report.faults
                if fault.status in (Status.ERROR, Status.TIMEOUT)
            ],
        )

    def _run(self, asked: Mapping[Fault, bool], target: str, output: Any) -> int:
        options = ["--faultlab", "--faultlab-no-ini", "--faultlab-matrix", "--faultlab-leave-out"]
        options.append(f"--faultlab-jobs={self.jobs}")
        options += [f"--faultlab-out={self.folder / 'tests'}", *(f"--faultlab-select={fault}" for fault in asked)]
        options += [f"--faultlab-settled={fault}" for fault, settled in asked.items() if settled]
        if target and "<locals>" not in target:
            options.append(f"--faultlab-target={target}")
        if self.timeout:
            options.append(f"--faultlab-timeout={self.timeout}")
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, *self.files]
        environment = one_thread_environment()
        environment["PYTHONPATH"] = os.pathsep.join([*self.path, *filter(None, [os.environ.get("PYTHONPATH")])])
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment, start_new_session=True
        )
        try:
            process.wait()
        except BaseException:
            processes.kill_group(process.pid)
            process.wait()
            raise
        written = self.folder / "tests" / TESTS_FILE
        if written.is_file():
            os.replace(written, self.folder / TESTS_FILE)
        return process.returncode


def join(fault: Fault, result: FaultResult, judged: Judged) -> FaultResult:
    """Return the joint verdict of a campaign's run with a fault and of the tests."""
    found = [
        detection
        for detection in judged.detections.get(fault.at_any_time(), ())
        if not any((detection.kind, detection.name) == (known.kind, known.name) for known in result.detected_by)
    ]
    if not found or result.status not in _OPEN:
        return result
    everybody = sorted([*result.detected_by, *found], key=lambda detection: (detection.worth, detection.step))
    activations = max(result.activations, 1)
    # A detected fault needs no guard.
    return replace(
        result,
        status=Status.DETECTED,
        reason="",
        activations=activations,
        detected_by=everybody,
        prescription=[],
    )
