"""In the victim: exceptions that are raised and caught again in the user's code, watched while steps run."""

from __future__ import annotations

import ast
import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import CodeType, FrameType
from typing import Any

from faultlab.core.alert import safe_text
from faultlab.core.user_code import UserCode
from faultlab.doctor.swallowed import BETWEEN

# Part of the language: loops and context managers use them.
_ORDINARY = (StopIteration, StopAsyncIteration, GeneratorExit, KeyboardInterrupt)
_LONGEST = 15.0
_MOST_LINES = 50_000
# Context managers that let every exception through, as torch's do.
_LETS_THROUGH = frozenset(("autocast", "no_grad", "enable_grad", "inference_mode", "set_grad_enabled", "device",
                           "record_function", "profile", "open", "closing", "redirect_stdout", "toggled_optimizer",
                           "nullcontext", "Lock", "catch_warnings", "sdpa_kernel"))  # fmt: skip


@dataclass
class _Raised:
    error: BaseException
    code: CodeType
    line: int
    outermost: CodeType
    outermost_line: int
    thread: threading.Thread


class Swallowing:
    """Traces the user's frames; ``found`` has the exceptions that were caught and not raised again, an entry per place.

    It includes threads started meanwhile: an exception that is never fetched from a thread is lost with it. Tracing
    slows Python down, so it stops after some seconds, and does not start if another trace function (a debugger,
    coverage) is set.

    ``lines`` has the lines that have run meanwhile, as file and number; ``files`` the files with lines that are missed.

    Args:
        code: The user's code.
        tried: Returns whether faultlab itself is running the code, such as the step of a copy of the module, whose
            exceptions don't belong to the training.
    """

    def __init__(self, code: UserCode, tried: Callable[[], bool]) -> None:
        self.found: list[dict[str, Any]] = []
        self.lines: set[tuple[str, int]] = set()
        self.files: set[str] = set()
        self._again: dict[CodeType, int] = {}
        self._user = code
        self._tried = tried
        self._known: dict[CodeType, bool] = {}
        self._raised: dict[int, _Raised] = {}
        self._passed: dict[int, _Raised] = {}
        self._left = _LONGEST

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch raised exceptions inside the context."""
        if self._left <= 0 or sys.gettrace() is not None:
            yield
            return
        begun = time.perf_counter()
        threads = threading.gettrace()
        threading.settrace(self._called)
        sys.settrace(self._called)
        try:
            yield
        finally:
            sys.settrace(None)
            threading.settrace(threads)
            self._left -= time.perf_counter() - begun

    def begin(self, step: int) -> None:
        """Settle before a hook: exceptions swallowed by then belong to a loader or a sampler, not to the hook."""
        if self._raised:
            self.settle(BETWEEN, step, None)

    def end(self, step: int, raised: BaseException | None) -> BaseException | None:
        """Settle after fit; return an exception that the user's code around the training swallowed."""
        held = [one.error for one in self._raised.values() if id(one.error) in self._passed]
        self.settle("fit" if held else BETWEEN, step, raised)
        return held[-1] if held and raised is None else None

    def settle(self, hook: str, step: int, raised: BaseException | None) -> None:
        """Settle after a hook: exceptions that have not left it were swallowed within."""
        held, self._raised = self._raised, {}
        passed_on = set()
        error: BaseException | None = raised
        while error is not None and id(error) not in passed_on:
            passed_on.add(id(error))
            error = error.__cause__ or error.__context__
        for one in held.values():
            # An exception that is raised again in another form continues as that one.
            others = (other.error for other in held.values() if other is not one)
            if id(one.error) in passed_on or any(one.error in (o.__context__, o.__cause__) for o in others):
                # Code further out may swallow it.
                self._passed = {id(one.error): one}
                continue
            if caught := handler(one.outermost, one.outermost_line, type(one.error)):
                self._note(one, caught, hook, step)
            elif passed := unknown_exit(one.outermost, one.outermost_line):
                self._note(one, passed, hook, step)
            elif one.thread is not threading.current_thread():
                line = one.outermost.co_firstlineno
                lost = {"line": line, "how": "the end of its thread", "words": True, "broad": True}
                self._note(one, lost, hook, step)
            elif one.outermost.co_name == hook and raised is None:
                line = one.outermost.co_firstlineno
                self._note(one, {"line": line, "how": "a wrapper around it", "words": True}, hook, step)

    def _note(self, one: _Raised, caught: dict[str, Any], hook: str, step: int) -> None:
        entry = {
            "type": type(one.error).__name__,
            "message": safe_text(one.error, 300).partition("\n")[0],
            "file": one.code.co_filename,
            "line": one.line,
            "handler_file": one.outermost.co_filename,
            "handler": caught["line"],
            # Code as in the source, or a description.
            "how": caught["how"] if caught.get("words") else f"`{caught['how']}`",
            "broad": bool(caught.get("broad")),
            "hook": hook,
        }
        for known in self.found:
            if all(known[key] == value for key, value in entry.items() if key != "message"):
                known["times"] += 1
                return
        self.found.append({**entry, "step": step, "times": 1})

    def _called(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        code = frame.f_code
        if (mine := self._known.get(code)) is None:
            mine = self._known[code] = self._user.holds(frame)
        if not mine:
            return None
        frame.f_trace_lines = self._again.get(code, 0) < _MOST_LINES
        return self._local

    def _local(self, frame: FrameType, event: str, argument: Any) -> Callable[..., Any]:
        if event == "line":
            self._ran(frame)
        if event == "exception" and not self._tried():
            error = argument[1]
            if isinstance(error, BaseException) and not isinstance(error, _ORDINARY):
                known = self._raised.get(id(error))
                if known is None and (known := self._passed.get(id(error))) is not None:
                    self._raised[id(error)] = known
                if known is None:
                    code, line = frame.f_code, frame.f_lineno
                    self._raised[id(error)] = _Raised(error, code, line, code, line, threading.current_thread())
                else:
                    known.outermost, known.outermost_line = frame.f_code, frame.f_lineno
        return self._local

    def _ran(self, frame: FrameType) -> None:
        code, before = frame.f_code, len(self.lines)
        self.lines.add((code.co_filename, frame.f_lineno))
        if len(self.lines) == before:
            again = self._again[code] = self._again.get(code, 0) + 1
            if again >= _MOST_LINES:
                # Each line costs time, and one that comes later is missed.
                frame.f_trace_lines = False
                self.files.add(code.co_filename)


def handler(code: CodeType, line: int, raised: type[BaseException]) -> dict[str, Any] | None:
    """Return what catches such an exception on the way out of a line of a function: its line, and its source."""
    for node in reversed(_around(code.co_filename, code.co_firstlineno, line)):
        if isinstance(node, (ast.With, ast.AsyncWith)):
            if suppressing := _suppresses(node, raised):
                return {"line": node.lineno, "how": suppressing}
            continue
        assert isinstance(node, ast.Try)
        if any(one.lineno <= line <= (one.end_lineno or one.lineno) for one in node.body):
            for one in node.handlers:
                names = _names(one.type)
                if names is None or names & {cls.__name__ for cls in raised.__mro__}:
                    how = f"except {ast.unparse(one.type)}" if one.type is not None else "except"
                    broad = names is None or bool(names & {"Exception", "BaseException"})
                    return {"line": one.lineno, "how": how, "broad": broad}
        if returns := [inner for one in node.finalbody for inner in ast.walk(one) if isinstance(inner, ast.Return)]:
            return {"line": returns[0].lineno, "how": "return in finally", "broad": True}
    return None


def unknown_exit(code: CodeType, line: int) -> dict[str, Any] | None:
    """Return the innermost context manager around a line that may have kept an exception."""
    for node in reversed(_around(code.co_filename, code.co_firstlineno, line)):
        if isinstance(node, (ast.With, ast.AsyncWith)):
            for item in reversed(node.items):
                made = item.context_expr.func if isinstance(item.context_expr, ast.Call) else item.context_expr
                name = ast.unparse(made).rpartition(".")[2]
                if name not in _LETS_THROUGH and not name.lower().endswith("lock"):
                    return {"line": node.lineno, "how": f"with {ast.unparse(item.context_expr)}", "broad": True}
    return None


def _suppresses(node: ast.With | ast.AsyncWith, raised: type[BaseException]) -> str:
    for item in node.items:
        call = item.context_expr
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("suppress"):
            names = {ast.unparse(one).rpartition(".")[2] for one in call.args}
            if names & {cls.__name__ for cls in raised.__mro__}:
                return f"with {ast.unparse(call)}"
    return ""


def _names(node: ast.expr | None) -> set[str] | None:
    if node is None:
        return None
    parts = node.elts if isinstance(node, ast.Tuple) else [node]
    return {ast.unparse(part).rpartition(".")[2] for part in parts}


def _around(file: str, first: int, line: int) -> list[ast.AST]:
    """Return the try and with statements around a line of a function, the outermost first."""
    tree = _tree(file)
    if tree is None:
        return []
    found: list[ast.AST] = [
        node
        for node in ast.walk(tree)
        if isinstance(node, (ast.Try, ast.With, ast.AsyncWith))
        and first <= node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return sorted(found, key=lambda node: (node.lineno, -(node.end_lineno or 0)))  # type: ignore[attr-defined]


@cache
def _tree(file: str) -> ast.Module | None:
    try:
        with open(file, "rb") as source:
            return ast.parse(source.read())
    except (OSError, SyntaxError, ValueError):
        return None
