"""pydantic's errors in a scenario file, as problems with place and remedy."""

from __future__ import annotations

import reprlib
from types import UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel

from faultlab.catalogue.failure_mode import nearest
from faultlab.config.yaml_source import Key, YamlFile
from faultlab.errors import Problem


def explain(yaml: YamlFile, detail: Any, model: type[BaseModel]) -> Problem:
    """Return an error that pydantic found in a file of that model as a problem."""
    where = tuple(detail["loc"])
    key = where[-1] if where else ""
    if detail["type"] == "faultlab":
        return yaml.problem(where, detail["ctx"]["message"], detail["ctx"]["remedy"])
    if detail["type"] == "extra_forbidden":
        fields = _fields_at(where[:-1], model)
        remedy = nearest(str(key), fields) or f"Known keys: {', '.join(fields)}."
        return yaml.problem(where, f"unknown key {key!r}", remedy)
    if detail["type"] == "missing":
        return yaml.problem(where[:-1], f"missing key {key!r}", f"Add `{key}:`.")
    name = ".".join(map(str, yaml.nearest(where)))
    kind = "date_type" if detail["type"].startswith("date") else detail["type"]
    expected, remedy = _EXPECTED.get(kind, ("", ""))
    if kind == "string_pattern_mismatch":
        pattern = "package.module.Class" if key == "class_path" else "letters, digits, '.', '_' and '-'"
        return yaml.problem(where, f"invalid {key} {detail['input']!r}: expected {pattern}")
    if not expected:
        return yaml.problem(where, f"{name}: {detail['msg'][0].lower()}{detail['msg'][1:]}")
    expected = expected.format(**detail.get("ctx", {}))
    return yaml.problem(where, f"{name}: expected {expected}, got {reprlib.repr(detail.get('input'))}", remedy)


# By the types of pydantic's errors: what was expected, and a remedy.
_EXPECTED = {
    "string_type": ("a string", "Write a string, in quotes if it looks like a number."),
    "list_type": ("a list", "Write a list: [...]."),
    "dict_type": ("a mapping", "Write a mapping: {...}."),
    "model_type": ("a mapping", "Write a mapping: {...}."),
    "int_type": ("an integer", ""),
    "float_type": ("a number", ""),
    "date_type": ("a date", "Write a date such as 2027-06-30."),
    "literal_error": ("{expected}", ""),
    "greater_than_equal": ("at least {ge}", ""),
    "less_than_equal": ("at most {le}", ""),
    "too_short": ("at least {min_length} item", ""),
    "string_too_short": ("at least {min_length} characters", ""),
}


def _fields_at(where: Key, within: Any) -> list[str]:
    for part in where:
        if isinstance(part, int):
            continue
        if get_origin(within) is dict:
            within = get_args(within)[1]
            continue
        model = _model_in(within)
        fields = model.model_fields.items() if model is not None else ()
        within = next((field.annotation for name, field in fields if part in (name, field.alias)), None)
    model = _model_in(within)
    return [field.alias or name for name, field in model.model_fields.items()] if model is not None else []


def _model_in(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, UnionType, list):
        return next((found for part in get_args(annotation) if (found := _model_in(part)) is not None), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None
