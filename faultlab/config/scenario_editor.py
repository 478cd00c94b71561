"""Adding guards to a scenario file line by line, so that comments and layout stay unchanged."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from faultlab.config.scenario import load
from faultlab.core import atomic_write
from faultlab.errors import UsageError


def lines(guards: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the guards as items of a YAML list, one per line."""
    return [f"- {_flow(guard)}" for guard in guards]


def add_guards(file: Path, guards: Sequence[Mapping[str, Any]]) -> None:
    """Add the guards to the scenario file. Raises UsageError if that fails; the file is then unchanged."""
    # As bytes, so that line ends are not converted.
    old = file.read_bytes().decode("utf-8")
    ends = "\r\n" if "\r\n" in old else "\n"
    before = [entry.model_dump(mode="json", exclude_unset=True) for entry in load(file).guards]
    new = _with(old.replace("\r\n", "\n"), guards).replace("\n", ends)
    try:
        with atomic_write.writing(file) as edited:
            edited.write(new)
            edited.flush()
            after = [entry.model_dump(mode="json", exclude_unset=True) for entry in load(Path(edited.name)).guards]
            if after != [*before, *guards]:
                raise UsageError("the edited file would not have the same guards")
    except Exception as error:
        remedy = "Add the lines by hand."
        raise UsageError(f"{file}: the guards could not be added ({error})\n    {remedy}") from None


def _with(text: str, guards: Sequence[Mapping[str, Any]]) -> str:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    assert isinstance(root, yaml.MappingNode)
    found = next(((key, value) for key, value in root.value if key.value == "guards"), None)
    if found is None:
        return text.rstrip("\n") + "\nguards:\n" + "".join(f"  {line}\n" for line in lines(guards))
    key, node = found
    if isinstance(node, yaml.SequenceNode) and node.value and not node.flow_style:
        last = node.value[-1]
        indent = " " * (node.start_mark.column)
        end = text.index("\n", _content_end(text, last)) if "\n" in text[_content_end(text, last) :] else len(text)
        added = "".join(f"\n{indent}{line}" for line in lines(guards))
        return text[:end] + added + text[end:]
    kept = node.value if isinstance(node, yaml.SequenceNode) else []
    items = [text[item.start_mark.index : item.end_mark.index] for item in kept]
    block = "".join(f"\n  - {item}" for item in items) + "".join(f"\n  {line}" for line in lines(guards))
    return text[: key.end_mark.index] + ":" + block + text[node.end_mark.index :]


def _content_end(text: str, node: yaml.Node) -> int:
    """Return where the text of a node ends; the end mark of a block is at the beginning of the next node."""
    before: str = text[: node.end_mark.index]
    held = before.rstrip()
    # Comments after the last item belong to the next node.
    while held.rpartition("\n")[2].lstrip().startswith("#"):
        held = held.rpartition("\n")[0].rstrip()
    return len(held)


def _flow(value: Any) -> str:
    """Return YAML in one line, with quotes only where they are needed."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and value.replace(".", "").replace("_", "").replace("-", "").isalnum():
        return value if yaml.safe_load(value) == value else json.dumps(value)
    return json.dumps(value)
