"""Where each mutant stands in the user's source and what it changes, which mutmut itself does not record.

mutmut writes the original of every function and its mutants one after the other, each under a name of its own; token
by token the original is the user's function, and what differs in a mutant is what was changed.
"""

from __future__ import annotations

import ast
import difflib
import hashlib
import io
import json
import tokenize
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import dedent

from faultlab.errors import FaultlabError
from faultlab.mutants.mutant import MARK, Mutant, dotted, mangled_of
from faultlab.mutants.operators import operator_of

_LAYOUT = (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
_SPANS_VERSION = 1
Token = tokenize.TokenInfo


@dataclass(frozen=True)
class Function:
    """A function of the user's file: its lines from ``def`` on, and where ``def`` stands."""

    name: str
    line: int
    source: str
    decorators: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """Changes with the source of the function, and with nothing else in the file."""
        return hashlib.sha256(dedent(self.source).encode()).hexdigest()[:16]


def functions_of(source: str) -> dict[str, Function]:
    """The functions that mutmut considers, those of a module and of its classes, by their dotted names."""
    tree, lines = ast.parse(source), _lines(source)
    found: dict[str, Function] = {}

    def add(body: Sequence[ast.stmt], within: str) -> None:
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                text = "".join(lines[node.lineno - 1 : node.end_lineno])
                decorators = tuple(ast.unparse(decorator) for decorator in node.decorator_list)
                # The first of several of one name: mutmut gives its number to that one too.
                found.setdefault(within + node.name, Function(within + node.name, node.lineno, text, decorators))
            elif isinstance(node, ast.ClassDef) and not within:
                add(node.body, f"{node.name}.")

    add(tree.body, "")
    return found


def locate(file: str, source: str, mutated: Path, names: Sequence[str]) -> list[Mutant]:
    """The mutants of one file. ``mutated`` is what mutmut wrote, beside it lies its index of lines (``.spans``).

    Raises FaultlabError where the index is none that is understood.
    """
    spans = _spans(mutated.with_name(mutated.name + ".spans"))
    lines = _lines(mutated.read_text(encoding="utf-8"))
    functions = functions_of(source)
    found = []
    for name in names:
        mangled, short = mangled_of(name), name.rpartition(".")[2]
        function = functions.get(dotted(mangled))
        if function is None or short not in spans or f"{mangled}{MARK}orig" not in spans:
            continue
        original = _text(lines, spans[f"{mangled}{MARK}orig"], f"{mangled}{MARK}orig", function)
        changed = _text(lines, spans[short], short, function)
        found.append(_mutant(name, file, function, original, changed))
    return found


def _mutant(name: str, file: str, function: Function, original: str, changed: str) -> Mutant:
    old, new = _tokens(original), _tokens(changed)
    texts = [token.string for token in old], [token.string for token in new]
    first = next((i for i, (a, b) in enumerate(zip(*texts)) if a != b), min(len(old), len(new)))
    shared = min(len(old), len(new)) - first
    last = next((i for i, (a, b) in enumerate(zip(texts[0][::-1], texts[1][::-1])) if a != b or i >= shared), shared)
    if first < len(old) - last and first >= len(new) - last:
        first, last = _slid(texts[0], first, last)
    before, after = old[first : len(old) - last], new[first : len(new) - last]
    operator = operator_of(texts[0], texts[1], first, last)
    # What is only put in stands before the token that follows.
    start = (before or old[first:] or old[-1:])[0].start
    end = before[-1].end if before else start
    line = function.line - 1
    return Mutant(
        name=name,
        file=file,
        function=function.name,
        operator=operator,
        line=line + start[0],
        column=start[1] + 1,
        end_line=line + end[0],
        end_column=end[1] + 1,
        before=_between(original, before),
        after=_between(changed, after),
        diff=_diff(file, line, original, changed),
        digest=hashlib.sha256((function.digest + dedent(changed)).encode()).hexdigest()[:16],
    )


def _slid(texts: Sequence[str], first: int, last: int) -> tuple[int, int]:
    """Of ``nn.ReLU(), nn.`` the removal is told as that of ``nn.ReLU(),``: from where an argument begins."""
    slide = 0
    while texts[first - slide - 1] not in ("(", ",", "["):
        if texts[first - slide - 1] != texts[len(texts) - last - slide - 1]:
            return first, last
        slide += 1
    return first - slide, last + slide


def _spans(file: Path) -> Mapping[str, tuple[int, int]]:
    data = json.loads(file.read_text(encoding="utf-8"))
    if data.get("version") != _SPANS_VERSION:
        raise FaultlabError(f"mutmut's index of lines is of version {data.get('version')}; {_SPANS_VERSION} is known")
    return {name: (start, end) for name, (start, end) in data["spans"].items()}


def _text(lines: Sequence[str], span: tuple[int, int], name: str, function: Function) -> str:
    """A generated function as the user would have written it: from ``def`` on, under its own name."""
    text = "".join(lines[span[0] - 1 : span[1]])
    own = function.name.rpartition(".")[2]
    at = text.index(f"def {name}")
    begin = text.rfind("\n", 0, at) + 1
    return (text[begin:at] + text[at:].replace(f"def {name}", f"def {own}", 1)).rstrip() + "\n"


def _tokens(source: str) -> list[Token]:
    return [token for token in _tokenized(source) if token.type not in _LAYOUT]


def _tokenized(source: str) -> Iterator[Token]:
    # A method stands indented, which is no fault here.
    indent = len(source) - len(source.lstrip(" \t"))
    lead = source[:indent]
    for token in tokenize.generate_tokens(io.StringIO(f"if 1:\n{source}" if lead else source).readline):
        if not lead:
            yield token
        elif token.start[0] > 1:
            yield token._replace(start=(token.start[0] - 1, token.start[1]), end=(token.end[0] - 1, token.end[1]))


def _between(source: str, tokens: Sequence[Token]) -> str:
    """The text from the first to the last token, as it stands."""
    if not tokens:
        return ""
    (line, column), (end_line, end_column) = tokens[0].start, tokens[-1].end
    lines = _lines(source)[line - 1 : end_line]
    lines[-1] = lines[-1][:end_column]
    lines[0] = lines[0][column:]
    return "".join(lines)


def _diff(file: str, line: int, original: str, changed: str) -> str:
    """A unified diff of the function, with the numbers that the lines have in the file."""
    made = list(difflib.unified_diff(original.split("\n")[:-1], changed.split("\n")[:-1], file, file, lineterm="", n=3))
    return "\n".join(_moved(text, line) if text.startswith("@@") else text for text in made)


def _lines(source: str) -> list[str]:
    """The lines as Python and mutmut count them: a form feed, or another character that parts text, ends none."""
    return io.StringIO(source).readlines()


def _moved(hunk: str, by: int) -> str:
    def part(text: str) -> str:
        start, comma, count = text[1:].partition(",")
        return f"{text[0]}{int(start) + by}{comma}{count}"

    _, old, new, _ = hunk.split(" ")
    return f"@@ {part(old)} {part(new)} @@"
