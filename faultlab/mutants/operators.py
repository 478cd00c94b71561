"""The mutation operator of a mutant, from the tokens that differ, since mutmut does not record it."""

from __future__ import annotations

from collections.abc import Sequence
from keyword import iskeyword

_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_LOGICAL = ("and", "or")
_JUMPS = ("break", "continue", "return")
_AUGMENTED = ("+=", "-=", "*=", "/=", "//=", "%=", "**=", "<<=", ">>=", "&=", "|=", "^=", "@=")
_OPENING, _CLOSING = "([{", ")]}"


def operator_of(old: Sequence[str], new: Sequence[str], first: int, last: int) -> str:
    """Return the operator's name. The first ``first`` and the last ``last`` tokens are equal."""
    before, after = list(old[first : len(old) - last]), list(new[first : len(new) - last])
    if [*before, *after] == ["not"]:
        if old[first - 1] == "is":
            return "identity"
        return "membership" if old[len(old) - last] == "in" else "negation"
    if before == ["~"] and not after:
        return "negation"
    if after == ["None"] or (before == ["None"] and after == ["0"]):
        return _to_none(old, first)
    if after[-2:] in (["and", "False"], ["or", "True"]):
        return "condition fixed"
    if len(before) == len(after) == 1:
        return _replaced(before[0], after[0])
    if not after and _within_call(old, first):
        return "argument removed"
    return "case removed" if before[:1] == ["case"] and not after else "code replaced"


def _to_none(old: Sequence[str], first: int) -> str:
    if old[first - 1] == ":":
        return "body of lambda"
    return "argument to None" if _within_call(old, first) else "assignment to None"


def _replaced(before: str, after: str) -> str:
    if before == "None" and after == '""':
        return "None to text"
    if {before, after} == {"True", "False"}:
        return "boolean"
    if before[:1].isdigit() or before[:1] == ".":
        return "number"
    if before[-1:] in ("'", '"'):
        return "text"
    if before in _AUGMENTED:
        return "assignment instead of update" if after == "=" else "update operator"
    if before in _COMPARISONS:
        return "comparison"
    if before in _LOGICAL:
        return "logical operator"
    if before in _JUMPS:
        return "jump"
    if before == f"{after}XX" or after == f"{before}XX":
        return "name of argument"
    return "called function" if before.isidentifier() else "arithmetic operator"


def _within_call(tokens: Sequence[str], at: int) -> bool:
    """Return whether the innermost bracket around the token is a call's."""
    calls: list[bool] = []
    for index, token in enumerate(tokens[:at]):
        if token in _OPENING:
            called = tokens[index - 1] if index else ""
            named = (called.isidentifier() and not iskeyword(called)) or called in ("]", ")")
            calls.append(token == "(" and named and tokens[index - 2] not in ("def", "class"))
        elif token in _CLOSING and calls:
            calls.pop()
    return bool(calls) and calls[-1]
