"""junit.xml: one test case for each fault, for tools that show test results."""

from __future__ import annotations

from xml.etree import ElementTree

from faultlab.core.report import INCONCLUSIVE, FaultResult, Report, Status
from faultlab.report.overview import cost
from faultlab.report.reporters import Format
from faultlab.report.text import harmless

_SKIPPED = (Status.NOT_APPLICABLE, Status.NO_EFFECT, Status.IGNORED)
_SILENT = (Status.SILENT, Status.WARNED)


def render(report: Report) -> str:
    """Return the document: undetected faults fail, inconclusive ones are errors, uncounted ones are skipped."""
    everything = [*report.faults, *report.mutants]
    suite = ElementTree.Element("testsuite", name=harmless(report.scenario))
    for fault in everything:
        suite.append(_case(fault))
    kinds = {"failures": _fails, "errors": _errs, "skipped": lambda fault: fault.status in _SKIPPED}
    numbers = {"tests": len(everything), **{kind: sum(map(of, everything)) for kind, of in kinds.items()}}
    for name, number in numbers.items():
        suite.set(name, str(number))
    suite.set("time", f"{report.timing.get('total', 0.0):.3f}")
    root = ElementTree.Element("testsuites")
    root.append(suite)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _fails(fault: FaultResult) -> bool:
    # No test checks a mutant that nothing runs: that is a failure, not an error.
    return fault.status in _SILENT or (fault.mutant is not None and fault.status is Status.NOT_ACTIVATED)


def _errs(fault: FaultResult) -> bool:
    return fault.status in INCONCLUSIVE and not _fails(fault)


def _case(fault: FaultResult) -> ElementTree.Element:
    name = fault.id if fault.mutant is None else f"{fault.id} {fault.mutant['file']}:{fault.mutant['line']}"
    case = ElementTree.Element(
        "testcase", classname=f"faultlab.{fault.family}", name=harmless(name), time=f"{fault.seconds:.3f}"
    )
    if _fails(fault):
        said = (
            "; ".join(fault.warnings)
            if fault.status is Status.WARNED
            else fault.reason
            if fault.mutant
            else cost(fault)
        )
        failure = ElementTree.SubElement(case, "failure", message=harmless(said), type=fault.status.value)
        failure.text = harmless(fault.mutant["diff"] if fault.mutant else "\n".join(fault.warnings))
    elif _errs(fault):
        ElementTree.SubElement(case, "error", message=harmless(fault.reason), type=fault.status.value)
    elif fault.status in _SKIPPED:
        ElementTree.SubElement(case, "skipped", message=harmless(f"{fault.status.value}: {fault.reason}"))
    else:
        detected = ElementTree.SubElement(case, "system-out")
        detected.text = harmless("\n".join(f"{d.kind} {d.name}: {d.message}" for d in fault.detected_by))
    return case


FORMAT = Format("junit.xml", render)
