"""Facts about a LightningModule's batch, loss and constructor, from its source."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from faultlab.discovery.project_index import Source

_LOSSES = {
    "classes": r"cross_?entropy|nll_loss|NLLLoss|CrossEntropy|multiclass|F1Score|Accuracy\(",
    "flags": r"binary_cross_entropy|BCE|task=.binary|multilabel",
    "target": r"mse|l1_loss|L1Loss|huber|MSELoss|gaussian_nll|MeanSquared|MeanAbsolute",
}
_LABELS = r"(y|ys|yb|label|labels|lbl|target|targets|gt|truth|tgt|cls|class_id|answer|mask|masks|seg|segmentation)"
_LABEL = re.compile(rf"^{_LABELS}(_.*|\d*)$|^.*_(label|labels|target|targets|y)$")
_UNUSED = re.compile(r"^(_\w*|idx|index|indices|ids?|name|names)$")
_MASK = re.compile(r"^(attention_?mask|attn_?mask|pad(ding)?_?mask|src_mask)$")
_TENSOR_ATTRIBUTES = {"size", "shape", "to", "float", "device", "view", "reshape", "flatten", "dim", "long", "type_as",
                      "get", "items", "keys", "values", "pop", "dtype", "permute", "unsqueeze", "squeeze"}  # fmt: skip


@dataclass
class Reading:
    """Facts from the source.

    ``batch`` is a name, a list of them or a mapping name -> role (see `roles`), or None if unknown.

    ``losses`` are the kinds of labels that the words in the source suggest, the most likely first; ``attributes`` are
    those read from a batch that is an object; ``needed`` maps the constructor's arguments without a default to their
    annotations.
    """

    batch: Any = None
    attributes: list[str] = field(default_factory=list)
    losses: list[str] = field(default_factory=list)
    needed: dict[str, str] = field(default_factory=dict)
    settings: dict[str, list[str]] = field(default_factory=dict)
    own_loaders: bool = False
    validates: bool = False

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def read_module(source: Source, name: str) -> Reading:
    """Read a class and its base classes in the same file."""
    methods = methods_of(source, name)
    text = "\n".join(ast.unparse(node) for node in _lineage(source, name))
    reading = Reading(own_loaders="train_dataloader" in methods, validates="validation_step" in methods)
    counts = {kind: len(re.findall(words, text)) for kind, words in _LOSSES.items()}
    reading.losses = sorted((kind for kind in counts if counts[kind]), key=lambda kind: -counts[kind])
    for step in ("training_step", "validation_step"):
        if reading.batch is None and not reading.attributes and step in methods:
            reading.batch, reading.attributes = _batch(methods, step)
    if (init := methods.get("__init__")) is not None:
        reading.needed = needed_arguments(init)
        for argument in reading.needed:
            reading.settings[argument] = sorted(set(_read_from(text, argument)))
    return reading


def methods_of(source: Source, name: str) -> dict[str, ast.FunctionDef]:
    """Return the methods of a class by name, including inherited ones of the same file."""
    found: dict[str, ast.FunctionDef] = {}
    for node in reversed(list(_lineage(source, name))):
        found.update({inner.name: inner for inner in node.body if isinstance(inner, ast.FunctionDef)})
    return found


def needed_arguments(init: ast.FunctionDef) -> dict[str, str]:
    """Return the arguments without a default, and their annotations."""
    positional = [*init.args.posonlyargs, *init.args.args][1:]
    required = positional[: len(positional) - len(init.args.defaults)] if init.args.defaults else positional
    required += [arg for arg, default in zip(init.args.kwonlyargs, init.args.kw_defaults) if default is None]
    return {arg.arg: ast.unparse(arg.annotation) if arg.annotation else "" for arg in required}


def role_of(name: str) -> str:
    """Return the role of a part of a batch by its name: input, label, unused or mask."""
    lower = name.lower()
    if _MASK.match(lower):
        return "mask"
    if _UNUSED.match(lower):
        return "unused"
    return "label" if _LABEL.match(lower) else "input"


def roles(batch: Any, nested: bool = False) -> Any:
    """Return the roles of a batch's parts in place of their names; without a label, the last of several is one."""
    if isinstance(batch, str):
        return "input"
    if isinstance(batch, dict):
        return {name: role_of(name) for name in batch}
    found = [roles(part, nested=True) if isinstance(part, list) else role_of(part) for part in batch]
    if len(found) > 1 and not nested and "label" not in found and found[-1] == "input":
        found[-1] = "label"
    if all(role != "input" for role in found if isinstance(role, str)) and isinstance(found[0], str):
        found[0] = "input"
    return found


def _lineage(source: Source, name: str) -> Iterator[ast.ClassDef]:
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        one = waiting.pop(0)
        if one in source.classes and one not in seen:
            seen.add(one)
            yield source.classes[one]
            waiting += [ast.unparse(base) for base in source.classes[one].bases]


def _batch(methods: dict[str, ast.FunctionDef], step: str) -> tuple[Any, list[str]]:
    """Return how a step takes its batch apart, itself or in a method that it passes the batch to."""
    arguments = [arg.arg for arg in methods[step].args.args]
    waiting = [(step, arguments[1])] if len(arguments) > 1 else []
    seen: set[tuple[str, str]] = set()
    keys: list[str] = []
    indices: list[int] = []
    attributes: list[str] = []
    unpacked: list[Any] = []
    whole = False
    while waiting:
        method, name = waiting.pop(0)
        if (method, name) in seen or method not in methods:
            continue
        seen.add((method, name))
        for node in ast.walk(methods[method]):
            if isinstance(node, ast.Assign) and _is(node.value, name) and isinstance(node.targets[0], ast.Tuple):
                unpacked = unpacked or _names(node.targets[0], methods[method])
            elif isinstance(node, ast.Subscript) and _is(node.value, name) and isinstance(node.slice, ast.Constant):
                key = node.slice.value
                keys += [key] if isinstance(key, str) and key not in keys else []
                indices += [key] if isinstance(key, int) else []
            elif isinstance(node, ast.Attribute) and _is(node.value, name):
                attributes += [node.attr] if node.attr not in {*_TENSOR_ATTRIBUTES, *attributes} else []
            elif isinstance(node, ast.Call):
                whole = whole or any(_is(arg, name) for arg in node.args)
                if any(keyword.arg is None and _is(keyword.value, name) for keyword in node.keywords):
                    keys += [key for key in ("input_ids", "attention_mask", "labels") if key not in keys]
                called = node.func
                if isinstance(called, ast.Attribute) and _is(called.value, "self") and called.attr in methods:
                    taken = [arg.arg for arg in methods[called.attr].args.args][1:]
                    waiting += [(called.attr, to) for arg, to in zip(node.args, taken) if _is(arg, name)]
    if unpacked:
        return unpacked, []
    if keys:
        return dict.fromkeys(keys), []
    if indices:
        return ["x", "y", "z", "w"][: max(indices) + 1], []
    if attributes:
        return None, attributes
    return ("x" if whole else None), []


def _names(target: ast.Tuple | ast.List, method: ast.FunctionDef) -> list[Any]:
    read = [node.id for node in ast.walk(method) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    found: list[Any] = []
    for element in target.elts:
        if isinstance(element, (ast.Tuple, ast.List)):
            found.append(_names(element, method))
        else:
            name = element.id if isinstance(element, ast.Name) else ast.unparse(element).lstrip("*")
            found.append(name if name in read or not isinstance(element, ast.Name) else "_")
    return found


def _is(node: ast.expr, name: str) -> bool:
    return isinstance(node, ast.Name) and node.id == name


def _read_from(text: str, argument: str) -> Iterator[str]:
    """Yield the settings that are read from an argument that holds several: `args.lr`, `config["lr"]`."""
    for owner in (re.escape(argument), rf"self\.{re.escape(argument)}", r"self\.hparams"):
        yield from re.findall(rf"\b{owner}\.(\w+)\b(?!\()", text)
        yield from re.findall(rf"\b{owner}\[['\"](\w+)['\"]\]", text)
