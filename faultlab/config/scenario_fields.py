"""The types of a scenario's keys, which validate a value while the file is read."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AfterValidator, Field, PlainValidator, StringConstraints, WithJsonSchema
from pydantic_core import PydanticCustomError

from faultlab.catalogue.failure_mode import SEVERITIES, nearest
from faultlab.config.fault_patterns import check_pattern
from faultlab.core import framework_names
from faultlab.core.fault import Trigger
from faultlab.errors import FaultlabError


def refused(message: str, remedy: str = "") -> PydanticCustomError:
    """Return the error for an invalid value, which `validation_messages` formats."""
    return PydanticCustomError("faultlab", "{message}", {"message": message, "remedy": remedy})


def _framework(name: str) -> str:
    if name not in (known := framework_names.known()):
        remedy = nearest(name, known) or f"Frameworks: {', '.join(known)}."
        raise refused(f"unknown framework {name!r}", remedy)
    return name


def _pattern(text: str) -> str:
    if wrong := check_pattern(text):
        raise refused(*wrong)
    return text


def _pattern_or_fault(text: str) -> str:
    if wrong := check_pattern(text, whole_faults=True):
        raise refused(*wrong)
    return text


def _trigger(text: str) -> str:
    try:
        Trigger.parse(text)
    except FaultlabError as error:
        raise refused(str(error)) from None
    return text


def _severity(word: str) -> str:
    if word not in SEVERITIES:
        raise refused(f"unknown severity {word!r}", f"Use {', '.join(SEVERITIES)}.")
    return word


def _paths(value: Any) -> Any:
    # Not a union, for which pydantic reports one error per member.
    if isinstance(value, str) or (isinstance(value, list) and all(isinstance(path, str) for path in value)):
        return value
    raise refused(f"invalid path into the batch {value!r}: expected a string or a list of strings", "Put it in quotes.")


_TEXTS = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}
Paths = Annotated[str | list[str], PlainValidator(_paths), WithJsonSchema(_TEXTS)]
Pattern = Annotated[str, AfterValidator(_pattern)]
PatternOrFault = Annotated[str, AfterValidator(_pattern_or_fault)]
TriggerText = Annotated[str, AfterValidator(_trigger)]
Triggers = Annotated[list[TriggerText], Field(min_length=1)]
Severity = Annotated[str, AfterValidator(_severity), WithJsonSchema({"type": "string", "enum": list(SEVERITIES)})]
Framework = Annotated[str, AfterValidator(_framework)]
Count = Annotated[int, Field(ge=0)]
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=3)]
