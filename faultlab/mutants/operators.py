"""What kind of change a mutant is, told from the tokens that differ, since mutmut does not say."""

from __future__ import annotations

from collections.abc import Sequence

_COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
_LOGICAL = ("and", "or")
_JUMPS = ("break", "continue", "return")
_AUGMENTED = ("+=", "-=", "*=", "/=", "//=", "%=", "**=", "<<=", ">>=", "&=", "|=", "^=", "@=")
_MEMBERSHIP = ("in", "not", "is")


def operator_of(old: Sequence[str], new: Sequence[str], first: int, last: int) -> str:
    """The operator's name. The tokens differ from the ``first`` on, up to the ``last`` ones of each."""
    before, after = old[first : len(old) - last], new[first : len(new) - last]
    one = (before[0], after[0]) if len(before) == len(after) == 1 else None
    if one is not None:
        return _replaced(*one, old, first)
    if any(token in _MEMBERSHIP for token in [*before, *after]) and len(before) <= 2 and len(after) <= 2:
        return "negation" if sorted([*before, *after]) == ["not"] else "membership"
    if before == ["~"] and not after:
        return "negation"
    if "None" in after and len(after) == 1:
        return "argument to None" if _within_call(old, first) else "assignment to None"
    if after[-2:] in (["and", "False"], ["or", "True"]) or after[-3:-1] in (["and", "False"], ["or", "True"]):
        return "condition fixed"
    if "case" in before and not after:
        return "case removed"
    if not after or len(after) < len(before):
        return "argument removed" if _within_call(old, first) else "code removed"
    return "code replaced"


def _replaced(before: str, after: str, old: Sequence[str], first: int) -> str:
    if after == "None":
        return "argument to None" if _within_call(old, first) else "assignment to None"
    if before == "None" and after == '""':
        return "None to text"
    if {before, after} == {"True", "False"}:
        return "boolean"
    if before[:1].isdigit() or before[:1] == ".":
        return "number"
    if before[-1:] in "'\"":
        return "text"
    if before in _AUGMENTED:
        return "assignment instead of update" if after == "=" else "update operator"
    if before in _COMPARISONS:
        return "comparison"
    if before in _LOGICAL:
        return "logical operator"
    if before in _JUMPS:
        return "jump"
    if before in _MEMBERSHIP:
        return "membership"
    if before.isidentifier():
        return "name"
    return "arithmetic operator"


def _within_call(tokens: Sequence[str], at: int) -> bool:
    """Whether the token stands within the parentheses of a call."""
    depth = 0
    for index in range(at - 1, 0, -1):
        if tokens[index] in ")]}":
            depth += 1
        elif tokens[index] in "([{":
            if depth == 0:
                called = tokens[index - 1]
                return tokens[index] == "(" and (called.isidentifier() or called in ")]") and tokens[index - 2] != "def"
            depth -= 1
        elif tokens[index] == "=" and depth == 0 and not _within_call(tokens, index):
            return False
    return False
