"""The tokens of a function, including those within f-strings."""

from __future__ import annotations

import io
import sys
import tokenize
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_LAYOUT = (tokenize.NL, tokenize.NEWLINE, tokenize.COMMENT, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


@dataclass(frozen=True)
class Token:
    """A token and its place: lines count from 1, columns from 0."""

    string: str
    start: tuple[int, int]
    end: tuple[int, int]


def lines_of(source: str) -> list[str]:
    """Return the lines as Python counts them: a form feed does not end a line."""
    lines = source.split("\n")
    return [f"{line}\n" for line in lines[:-1]] + lines[-1:] * bool(lines[-1])


def tokens_of(source: str) -> list[Token]:
    """Return the tokens of a function, which may be indented, without comments and layout."""
    return [token for whole in _tokenized(source) for token in _parts(whole)]


def text_between(source: str, tokens: Sequence[Token]) -> str:
    """Return the source text from the first to the last token."""
    if not tokens:
        return ""
    (line, column), (end_line, end_column) = tokens[0].start, tokens[-1].end
    lines = lines_of(source)[line - 1 : end_line]
    lines[-1] = lines[-1][:end_column]
    lines[0] = lines[0][column:]
    return "".join(lines)


def _tokenized(source: str) -> Iterator[Token]:
    # A method's source is indented.
    shift = int(source[:1] in " \t")
    for token in tokenize.generate_tokens(io.StringIO("if 1:\n" * shift + source).readline):
        if token.type not in _LAYOUT and token.start[0] > shift:
            (line, column), (end_line, end_column) = token.start, token.end
            yield Token(token.string, (line - shift, column), (end_line - shift, end_column))


def _parts(token: Token) -> Iterator[Token]:
    """Yield the token itself; for an f-string its text and the tokens of its expressions."""
    if sys.version_info >= (3, 12):
        yield token
        return
    quote = min((at for mark in "'\"" if (at := token.string.find(mark)) >= 0), default=-1)
    if quote <= 0 or token.string[-1] not in "'\"" or "f" not in token.string[:quote].lower():
        yield token
        return
    for begin, end, is_expression in _pieces(token.string):
        piece = Token(token.string[begin:end], _place(token, begin), _place(token, end))
        yield from _of_expression(piece) if is_expression else [piece]


def _pieces(text: str) -> Iterator[tuple[int, int, bool]]:
    """Yield the begin and end of each part of an f-string, and whether it is an expression."""
    begin = at = 0
    while at < len(text):
        if text[at] == "{" and text[at + 1 : at + 2] != "{":
            yield begin, at + 1, False
            begin, at = at + 1, _end_of_expression(text, at + 1)
            yield begin, at, True
            begin = at
        at += 2 if text[at : at + 2] == "{{" else 1
    yield begin, len(text), False


def _end_of_expression(text: str, at: int) -> int:
    """Return the position of the brace that closes an expression, whose format may contain expressions."""
    depth, quote, is_format = 1, "", False
    while at < len(text):
        if quote:
            quote = "" if text[at] == quote else quote
        elif text[at] in "'\"" and not is_format:
            quote = text[at]
        else:
            is_format = is_format or (depth == 1 and text[at] == ":")
            depth += (text[at] in "{[(") - (text[at] in "}])")
        if depth == 0:
            return at
        at += 1
    return at


def _of_expression(piece: Token) -> list[Token]:
    bracketed = f"({piece.string})"
    lines = lines_of(bracketed)
    before = [sum(map(len, lines[:n])) - 1 for n in range(len(lines))]
    try:
        _, *within, last = _tokenized(bracketed)
    except (tokenize.TokenError, SyntaxError):
        return [piece]
    if last.string != ")":
        return [piece]
    found: list[Token] = []
    for token in within:
        (line, column), (end_line, end_column) = token.start, token.end
        start, end = _place(piece, before[line - 1] + column), _place(piece, before[end_line - 1] + end_column)
        found += _parts(Token(token.string, start, end))
    return found


def _place(token: Token, offset: int) -> tuple[int, int]:
    """Return the line and column of the character at an offset in a token."""
    before = token.string[:offset]
    line, column = token.start
    newline = before.rfind("\n")
    return (line + before.count("\n"), offset - newline - 1) if newline >= 0 else (line, column + offset)
