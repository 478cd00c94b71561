"""The parts of a scenario that only a training loop has."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainValidator,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema, core_schema

from faultlab.config.scenario_fields import refused
from faultlab.config.yaml_source import Key

LOOP = "torch"
SCRIPT = "faultlab.targets.loop_script.run"
"""The function that runs a training script, which `script` in a scenario stands for."""


def _argument(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        raise refused(f"arguments: expected strings and numbers, got {value!r}", "Put it in quotes.")
    return str(value)


Argument = Annotated[str, PlainValidator(_argument), WithJsonSchema({"type": ["string", "number"]})]
"""One word of a command line; YAML reads many of them as numbers."""


class OrItsPath:
    """Marks the mapping of a function that its path alone may name, as in `evaluate: pkg.train:evaluate`."""

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(self._mapping, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [handler(schema), {"type": "string"}]}

    @staticmethod
    def _mapping(value: Any) -> Any:
        return {"class_path": dotted(value)} if isinstance(value, str) else value


def dotted(path: Any) -> Any:
    """Return a path with a dot for the colon between module and function, as in `pkg.train:train_step`."""
    return path.replace(":", ".", 1) if isinstance(path, str) else path


class Part(BaseModel):
    """A mapping of a scenario file."""

    # Editors show the texts below the fields as descriptions of the keys.
    model_config = ConfigDict(extra="forbid", strict=True, use_attribute_docstrings=True)


class Resumption(Part):
    """How a training loop continues from its checkpoints."""

    init_args: dict[str, Any] = {}
    """The arguments of `train` that differ then, such as `{resume: true}`; none if it looks for checkpoints itself."""


class Reported(Part):
    """Where a training loop reports its metrics, besides what its functions return and what it logs."""

    stdout: str | None = None
    """A regular expression for a printed line; each named group is a metric, as in `val loss (?P<val_loss>\\S+)`."""
    jsonl: str | None = None
    """A file to which it writes one JSON object a line; each number in it is a metric."""

    @model_validator(mode="after")
    def _is_complete(self) -> Reported:
        if self.stdout is None and self.jsonl is None:
            raise refused("`metrics` must have `stdout` or `jsonl`", "Give one of them.")
        try:
            named = self.stdout is None or bool(re.compile(self.stdout).groupindex)
        except re.error as error:
            raise refused(f"invalid regular expression in `stdout`: {error}", "Fix it.") from None
        if not named:
            raise refused("`stdout` names no metric", "Name a group, as in `loss (?P<val_loss>\\S+)`.")
        return self


def inconsistencies(data: Mapping[str, Any]) -> list[tuple[Key, str, str]]:
    """Return what is wrong between the keys of a scenario whose training is a loop."""
    found: list[tuple[Key, str, str]] = []
    if data.get("train") is None and data.get("script") is None:
        remedy = "Name a function that trains, as `train: {class_path: pkg.main}`, or a script, as `script: train.py`."
        found.append(((), "missing key 'train' or 'script'", remedy))
    elif data.get("train") is not None and data.get("script") is not None:
        found.append((("script",), "`script` can't be combined with `train`, which trains, too", "Remove one of them."))
    if data.get("arguments") and data.get("script") is None:
        remedy = "Name the script as `script: train.py`, or give a function its arguments under `init_args`."
        found.append((("arguments",), "`arguments` are those of a script", remedy))
    found += [
        ((key,), f"`{key}` is not for `framework: {LOOP}`", f"Remove `{key}`: the function of `train` makes it.")
        for key in ("module", "data", "build", "trainer")
        if data.get(key)
    ]
    found += [
        (("guards", number, "trainer_flag"), "a training loop has no Trainer", "Remove `trainer_flag`.")
        for number, guard in enumerate(data.get("guards") or ())
        if isinstance(guard, Mapping) and guard.get("trainer_flag")
    ]
    return found
