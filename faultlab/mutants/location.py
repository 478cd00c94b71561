"""The places and changes of mutants in the user's source, which mutmut does not record.

mutmut writes the original of every function and its mutants one after the other, each under its own name. Token by
token the original equals the user's function, so that a mutant's change is the difference from it.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from faultlab.errors import FaultlabError
from faultlab.mutants.mutant import MARK, Mutant, dotted, mangled_of
from faultlab.mutants.operators import operator_of
from faultlab.mutants.tokens import Token, lines_of, text_between, tokens_of

_SPANS_VERSION = 1


@dataclass(frozen=True)
class Function:
    """A function of the user's file: its source from ``def`` on, the line of ``def``, and whether its body is empty."""

    name: str
    line: int
    source: str
    decorators: tuple[str, ...] = ()
    empty: bool = False

    @property
    def digest(self) -> str:
        """A hash that changes only with the function and its decorators."""
        return hashlib.sha256("\n".join([*self.decorators, dedent(self.source)]).encode()).hexdigest()[:16]


def functions_of(source: str) -> list[Function]:
    """Return the functions that mutmut considers: those of the module and of its classes. Names may repeat."""
    return [function for function, where in _walked(source) if not where]


def beyond_reach(source: str) -> list[tuple[Function, str]]:
    """Return the functions that mutmut does not consider, except those within functions, and their surroundings."""
    return [(function, where) for function, where in _walked(source) if where]


def _walked(source: str) -> Iterator[tuple[Function, str]]:
    tree, lines = ast.parse(source), lines_of(source)

    def walk(body: Sequence[ast.AST], within: str, where: str) -> Iterator[tuple[Function, str]]:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                text = "".join(lines[node.lineno - 1 : node.end_lineno])
                decorators = tuple(ast.unparse(decorator) for decorator in node.decorator_list)
                empty = all(map(_does_nothing, node.body))
                yield Function(within + node.name, node.lineno, text, decorators, empty), where
            elif isinstance(node, ast.ClassDef):
                yield from walk(
                    node.body, f"{within}{node.name}.", where or ("in a class of a class" if within else "")
                )
            elif isinstance(node, (ast.stmt, ast.ExceptHandler, ast.match_case)):
                word = type(node).__name__.removeprefix("Async").removesuffix("Star").lower()
                yield from walk(list(ast.iter_child_nodes(node)), within, where or f"under `{word}`")

    return walk(tree.body, "", "")


def _does_nothing(statement: ast.stmt) -> bool:
    constant = isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
    return constant or isinstance(statement, ast.Pass)


def owner(mutant: Mutant, functions: Iterable[Function]) -> Function | None:
    """Return the function that a mutant changes; None if it is not among these."""
    above = [one for one in functions if one.name == mutant.function and one.line <= mutant.line]
    return max(above, key=lambda one: one.line, default=None)


def locate(file: str, source: str, mutated: Path, names: Sequence[str]) -> list[Mutant]:
    """Return the mutants of one file.

    Args:
        file: The file, relative to the project's root.
        source: The file's text.
        mutated: The file that mutmut wrote; its index of lines (``.spans``) is beside it.
        names: The mutants' names.

    Raises:
        FaultlabError: The index has an unknown format.
    """
    spans = _spans(mutated.with_name(mutated.name + ".spans"))
    lines = lines_of(mutated.read_text(encoding="utf-8"))
    by_name: dict[str, list[Function]] = {}
    for function in functions_of(source):
        by_name.setdefault(function.name, []).append(function)
    originals: dict[str, _Original] = {}
    found = []
    for name in names:
        mangled, short = mangled_of(name), name.rpartition(".")[2]
        span, clean = spans[short], spans[f"{mangled}{MARK}orig"]
        if span[0] < clean[0]:
            # It belongs to an earlier function of the same name, whose number the later one reuses.
            continue
        if mangled not in originals:
            text = _text(lines, clean, f"{mangled}{MARK}orig", dotted(mangled))
            originals[mangled] = _Original(file, _the_same(text, by_name.get(dotted(mangled), [])), text)
        found.append(originals[mangled].mutant(name, _text(lines, span, short, dotted(mangled))))
    return found


def _the_same(original: str, functions: Sequence[Function]) -> Function:
    tokens = _strings(tokens_of(original))
    for function in reversed(functions):
        if _strings(tokens_of(function.source)) == tokens:
            return function
    raise FaultlabError("a function in the mutated file is not in the source")


class _Original:
    """A function in mutmut's file, which equals the user's token by token."""

    def __init__(self, file: str, function: Function, text: str) -> None:
        self._file = file
        self._function = function
        self._text = text
        self._tokens = tokens_of(text)

    def mutant(self, name: str, changed: str) -> Mutant:
        old, new = self._tokens, tokens_of(changed)
        texts = _strings(old), _strings(new)
        first, last = _region(*texts)
        before, after = old[first : len(old) - last], new[first : len(new) - last]
        # An insertion is placed before the token that follows.
        start = (before or old[first:] or old[-1:])[0].start
        end = before[-1].end if before else start
        line = self._function.line - 1
        return Mutant(
            name=name,
            file=self._file,
            function=self._function.name,
            operator=operator_of(*texts, first, last),
            line=line + start[0],
            column=start[1] + 1,
            end_line=line + end[0],
            end_column=end[1] + 1,
            before=text_between(self._text, before),
            after=text_between(changed, after),
            diff=_diff(self._file, line, self._text, changed),
            digest=hashlib.sha256((self._function.digest + dedent(changed)).encode()).hexdigest()[:16],
        )


def _region(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    """Return how many tokens are equal at the beginning and at the end, so that the intended change is between them."""
    shortest = min(len(old), len(new))
    first = next((i for i, (a, b) in enumerate(zip(old, new)) if a != b), shortest)
    most = shortest - first
    last = next((i for i, (a, b) in enumerate(zip(old[::-1], new[::-1])) if a != b or i >= most), most)
    gone = old[first : len(old) - last]
    if len(new) > first + last or gone in ([], ["not"], ["~"]):
        return first, last
    if "," not in (gone[0], gone[-1]) or old[first - 1] == "=":
        # If `a or None` becomes `None`, the end is equal by chance; in `None if a else b` the beginning is.
        if old[-last or len(old) :][:1] == ["None"]:
            return first, last - 1
        if old[first - 1] == "None":
            return first - 1, last
    return _slid(old, first, last)


def _slid(texts: Sequence[str], first: int, last: int) -> tuple[int, int]:
    """Shift a removal, such as ``nn.ReLU(), nn.``, to where an argument or a case begins: ``nn.ReLU(),``."""
    begin, end = first, len(texts) - last
    while not (_is_whole(texts[begin:end]) and (texts[begin - 1] in ("(", ",") or texts[begin] == "case")):
        if texts[begin - 1] != texts[end - 1]:
            return first, last
        begin, end = begin - 1, end - 1
    return begin, len(texts) - end


def _is_whole(texts: Sequence[str]) -> bool:
    """Return whether the brackets are balanced."""
    depth = 0
    for text in texts:
        depth += (text in ("(", "[", "{")) - (text in (")", "]", "}"))
        if depth < 0:
            return False
    return depth == 0


def _strings(tokens: Sequence[Token]) -> list[str]:
    return [token.string for token in tokens]


def _spans(file: Path) -> Mapping[str, tuple[int, int]]:
    data = json.loads(file.read_text(encoding="utf-8"))
    if data.get("version") != _SPANS_VERSION:
        raise FaultlabError(f"mutmut's index of lines has version {data.get('version')}: expected {_SPANS_VERSION}")
    return {name: (start, end) for name, (start, end) in data["spans"].items()}


def _text(lines: Sequence[str], span: tuple[int, int], name: str, function: str) -> str:
    """Return a generated function as the user would write it: from ``def`` on, under its own name."""
    text = "".join(lines[span[0] - 1 : span[1]])
    found = re.search(rf"\bdef[\s\\]+({name})\b", text)
    if found is None:
        raise FaultlabError(f"{name} is not at the place in mutmut's index of lines")
    own = text[: found.start(1)] + function.rpartition(".")[2] + text[found.end(1) :]
    return own[text.rfind("\n", 0, found.start()) + 1 :].rstrip() + "\n"


def _diff(file: str, line: int, original: str, changed: str) -> str:
    """Return a unified diff of the function, with the file's line numbers."""
    made = list(difflib.unified_diff(_plain(original), _plain(changed), file, file, lineterm="", n=3))
    return "\n".join(_moved(text, line) if text.startswith("@@") else text for text in made)


def _plain(text: str) -> list[str]:
    return [line.removesuffix("\n") for line in lines_of(text)]


def _moved(hunk: str, by: int) -> str:
    def part(text: str) -> str:
        start, comma, count = text[1:].partition(",")
        return f"{text[0]}{int(start) + by}{comma}{count}"

    _, old, new, _ = hunk.split(" ")
    return f"@@ {part(old)} {part(new)} @@"
