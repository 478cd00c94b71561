"""Texts that name failure modes or faults: their validation, and the only place where they become faults."""

from __future__ import annotations

from collections.abc import Collection

from faultlab.catalogue import index
from faultlab.catalogue.failure_mode import matching, nearest
from faultlab.core.fault import Fault
from faultlab.errors import FaultlabError, UsageError

_LIST = "List them with `faultlab list`."


def check_pattern(pattern: str, whole_faults: bool = False) -> tuple[str, str] | None:
    """Return the error in a glob of failure modes (or in the text of a fault) and its remedy, or None."""
    modes = index.modes()
    if whole_faults and any(mark in pattern for mark in ":@"):
        try:
            fault = Fault.parse(pattern)
            if fault.mode in modes:
                modes[fault.mode].complete(fault, 1)
                return None
        except FaultlabError as error:
            return str(error), ""
        return f"unknown failure mode {fault.mode!r}", nearest(fault.mode, modes) or _LIST
    if matching(pattern, modes):
        return None
    of_families = pattern.endswith(".*")
    # The ending that all of them share makes any two alike.
    families = [f"{mode.family}.*" for mode in modes.values()]
    close = nearest(pattern, families, cutoff=0.65) if of_families else nearest(pattern, modes)
    return f"no failure mode matches {pattern!r}", close or _LIST


def requested(entry: str | Fault, ids: Collection[str]) -> list[Fault]:
    """Return the faults that an entry of a selection means, of the failure modes with these ids."""
    if isinstance(entry, Fault):
        return [entry]
    if any(mark in entry for mark in ":@") or entry in ids:
        return [Fault.parse(entry)]
    return [Fault(id) for id in matching(entry, ids)]


def parse_fault(text: str) -> Fault:
    """Return the fault of a text. Raises UsageError if it is not one of this catalogue."""
    if (wrong := check_pattern(text, whole_faults=True)) is not None:
        raise UsageError(". ".join(filter(None, wrong)))
    try:
        return Fault.parse(text)
    except FaultlabError as error:  # a glob of several
        raise UsageError(str(error)) from None
