"""The schemas that other tools publish, and whether a document is what they say."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import xmlschema

SCHEMAS = Path(__file__).parent / "schemas"


def violations(name: str, document: Any) -> list[str]:
    """What is wrong with a JSON document by the schema of that file, each with its place."""
    return violations_of(_schema(name), document)


def violations_of(schema: Any, document: Any) -> list[str]:
    """What is wrong with a JSON document by a schema, each with its place."""
    validator = jsonschema.validators.validator_for(schema)
    validator.check_schema(schema)
    formats = validator.FORMAT_CHECKER
    return [
        f"{error.json_path}: {error.message[:300]}"
        for error in validator(schema, format_checker=formats).iter_errors(document)
    ]


def junit_violations(text: str) -> list[str]:
    """What is wrong with a junit.xml."""
    return [str(error.reason) for error in _junit().iter_errors(text)]


@cache
def _schema(name: str) -> Any:
    return json.loads((SCHEMAS / name).read_text(encoding="utf-8"))


@cache
def _junit() -> Any:
    return xmlschema.XMLSchema(SCHEMAS / "junit-10.xsd")
