"""The lines of the user's functions that the lines of their mutants stand for.

mutmut writes every mutant of a function as a function of its own, and a change may take lines away. What a training is
recognized by has to be the same in all of them.
"""

from __future__ import annotations

import difflib
import linecache
from collections.abc import Iterator, Mapping
from types import CodeType, FrameType
from typing import Any

_TRAMPOLINE = "_mutmut_mutated"
_MARK, _ORIGINAL = "__mutmut_", "__mutmut_orig"
_Pairs = dict[int, tuple[CodeType, CodeType]]
_known: dict[tuple[int, int], _Pairs] = {}


def line_of(frame: FrameType) -> int:
    """Return the line that a frame is at; in a mutant, the same line of the function without the change."""
    if _TRAMPOLINE not in frame.f_globals:
        return frame.f_lineno
    mutant, original = _functions(frame).get(id(frame.f_code), (None, None))
    if mutant is None or original is None or mutant is original:
        return frame.f_lineno
    return original.co_firstlineno + _moved(_lines(mutant), _lines(original), frame.f_lineno - mutant.co_firstlineno)


def _functions(frame: FrameType) -> _Pairs:
    """Return, for each code within a mutant in the frame's module, the mutant's code and that of its original."""
    # A script defines its functions anew in each run, and calls some before it defines the others.
    module, file = frame.f_globals, frame.f_code.co_filename
    key = id(module), len(module)
    if key not in _known:
        spaces = [module, *(vars(one) for one in list(module.values()) if isinstance(one, type))]
        _known[key] = {id(code): pair for space in spaces for pair in _pairs(space, file) for code in _within(pair[0])}
    return _known[key]


def _pairs(space: Mapping[str, Any], file: str) -> Iterator[tuple[CodeType, CodeType]]:
    for name, value in list(space.items()):
        mangled, mark, _ = name.partition(_MARK)
        code, own = (
            getattr(getattr(one, "__func__", one), "__code__", None) for one in (value, space.get(mangled + _ORIGINAL))
        )
        if mark and isinstance(code, CodeType) and isinstance(own, CodeType) and code.co_filename == file:
            yield code, own


def _within(code: CodeType) -> Iterator[CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _within(constant)


def _lines(code: CodeType) -> list[str]:
    last = max(line for part in _within(code) for _, _, line in part.co_lines() if line is not None)
    return [line.strip() for line in linecache.getlines(code.co_filename)[code.co_firstlineno - 1 : last]]


def _moved(mutant: list[str], original: list[str], line: int) -> int:
    """Return the index in the original of a line of the mutant."""
    for _, start, end, begins, ends in difflib.SequenceMatcher(None, mutant, original, autojunk=False).get_opcodes():
        if start <= line < end:
            return min(begins + line - start, max(begins, ends - 1))
    return line
