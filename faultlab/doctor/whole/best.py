"""Best values that are compared and never updated, so that each epoch counts as the best. Only read, never run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from typing import Any

_KEEPS = ("state_dict(", "deepcopy(", ".save(", "save_model(", "save_checkpoint(", "save_pretrained(")
_INFINITE = re.compile(r"-?(float\(['\"]-?\+?inf(inity)?['\"]\)|(math|np|numpy|torch)\.inf|inf|sys\.maxsize|1e\d\d?)$")
_NAMED = re.compile(r"best|lowest|highest|record|min_|max_")
_SMALLEST = ("0", "0.0", "-1", "-1.0")


def facts(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield where weights are kept if a value beats a bound that is set once, to the worst value there is."""
    stored = _stored(tree)
    for node in ast.walk(tree):
        if not (isinstance(node, ast.If) and isinstance(node.test, ast.Compare) and len(node.test.ops) == 1):
            continue
        keeps = next((text for one in node.body if any(word in (text := ast.unparse(one)) for word in _KEEPS)), "")
        left, right, op = node.test.left, node.test.comparators[0], node.test.ops[0]
        if not keeps or not isinstance(op, (ast.Lt, ast.LtE, ast.Gt, ast.GtE)):
            continue
        for value, bound, larger in ((left, right, (ast.Gt, ast.GtE)), (right, left, (ast.Lt, ast.LtE))):
            begins = stored.get(name := _last(bound), [])
            if name.isupper():  # a constant of the user's settings
                continue
            if len(begins) == 1 and begins[0] and _always(begins[0], bound, isinstance(op, larger)):
                yield {"line": node.lineno, "text": ast.unparse(node.test), "bound": ast.unparse(bound),
                       "value": ast.unparse(value), "begins": begins[0], "keeps": keeps[:80]}  # fmt: skip
                break


def _always(begins: str, bound: ast.expr, larger: bool) -> bool:
    """Return whether every value beats the bound that a name has from the beginning."""
    if _INFINITE.match(begins):
        return larger == (begins.startswith("-") or "-inf" in begins)
    # An accuracy beats 0, and so does what is compared with a constant on purpose.
    return larger and begins in _SMALLEST and bool(_NAMED.search(ast.unparse(bound).lower()))


def _stored(tree: ast.Module) -> dict[str, list[str]]:
    """Return all values that a file gives each name, attribute or item, whatever object it is of.

    It has an empty text for a value that is not known, and for each call that is given the name.
    """
    found: dict[str, list[str]] = {}

    def note(target: ast.expr, value: str) -> None:
        if isinstance(target, (ast.Tuple, ast.List)):
            for one in target.elts:
                note(one, "")
        elif isinstance(target, ast.Starred):
            note(target.value, "")
        else:
            found.setdefault(_last(target), []).append(value)

    for node in ast.walk(tree):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for one, value in _paired(target, node.value):
                    note(one, value)
        elif isinstance(node, (ast.AnnAssign, ast.NamedExpr)) and node.value is not None:
            note(node.target, ast.unparse(node.value))
        elif isinstance(node, (ast.AugAssign, ast.For, ast.AsyncFor, ast.comprehension)):
            note(node.target, "")
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            note(node.optional_vars, "")
        elif isinstance(node, (ast.arg, ast.keyword)) and node.arg:
            found.setdefault(node.arg, []).append("")
        elif isinstance(node, ast.Call):
            for name in (one.value for one in node.args if isinstance(one, ast.Constant)):
                found.setdefault(str(name), []).append("")
        elif isinstance(node, ast.Dict):
            for key, item in zip(node.keys, node.values, strict=True):
                if isinstance(key, ast.Constant):
                    found.setdefault(str(key.value), []).append(ast.unparse(item))
        elif isinstance(node, (ast.Global, ast.Nonlocal)):
            for name in node.names:
                found.setdefault(name, []).append("")
    return found


def _last(target: ast.expr) -> str:
    """Return the name, the attribute's name, or the key of an item; its text if that is not a constant."""
    if isinstance(target, ast.Attribute):
        return target.attr
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        return str(target.slice.value)
    return ast.unparse(target)


def _paired(target: ast.expr, value: ast.expr) -> list[tuple[ast.expr, str]]:
    """Return the parts of an assignment, such as those of ``a, b = 0, inf``."""
    both = isinstance(target, (ast.Tuple, ast.List)) and isinstance(value, (ast.Tuple, ast.List))
    if both and len(target.elts) == len(value.elts):  # type: ignore[attr-defined]
        return [(one, ast.unparse(given)) for one, given in zip(target.elts, value.elts, strict=True)]  # type: ignore[attr-defined]
    return [(target, ast.unparse(value))]
