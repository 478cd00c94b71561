"""The catalogue, parsed from the injectors' source without importing it.

Importing an injector imports torch, which would slow `faultlab list` and `explain` down by seconds. A declaration
consists of literals, doses and an injection point, so the syntax tree contains all of it, and no generated file can
become stale. The class of the point is imported from the module that the file itself imports it from, which does not
import torch.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from faultlab.catalogue.failure_mode import Dose, FailureMode, declare
from faultlab.catalogue.injection_points import InjectionPoint
from faultlab.errors import CatalogueError

ENTRY_POINT_GROUP = "faultlab.injectors"
INJECTORS = Path(__file__).parents[1] / "injectors"


@lru_cache(maxsize=1)
def modes() -> Mapping[str, FailureMode]:
    """Return every failure mode, built in and of third parties, by id and sorted by it.

    Raises:
        CatalogueError: A declaration is invalid, or an id is declared twice.
    """
    found: dict[str, FailureMode] = {}
    for file, package in _files():
        for mode in read(file, package):
            if mode.id in found:
                raise CatalogueError(
                    f"duplicate failure mode {mode.id!r}: declared in {found[mode.id].file} and {mode.file}"
                )
            found[mode.id] = mode
    return dict(sorted(found.items()))


def read(file: Path, package: str = "") -> Iterator[FailureMode]:
    """Yield the failure modes that a source file declares; ``package`` is the base of its relative imports."""
    tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
    points = _Points(file, package, tree)
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and _name(decorator.func) == "failure_mode":
                    yield _mode(points, node, decorator)


def _files() -> Iterator[tuple[Path, str]]:
    for file in sorted(INJECTORS.glob("[!_]*.py")):
        yield file, "faultlab.injectors"
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        try:
            spec = importlib.util.find_spec(entry.module)
        except ImportError:  # raised by the package that contains it
            spec = None
        if spec is None or spec.origin is None:
            raise CatalogueError(
                f"the entry point {entry.name!r} names the module {entry.module!r}, which does not exist"
            )
        yield Path(spec.origin), spec.parent or ""


def _mode(points: _Points, function: ast.FunctionDef, call: ast.Call) -> FailureMode:
    file = points.file
    if len(call.args) != 1 or any(keyword.arg is None for keyword in call.keywords):
        raise CatalogueError(
            f"{file}:{call.lineno}: invalid declaration: expected the id, followed by keyword arguments"
        )
    fields: dict[str, Any] = {}
    for name, node in [("id", call.args[0]), *((str(keyword.arg), keyword.value) for keyword in call.keywords)]:
        try:
            if name == "seam":
                fields["point"] = points.made(node)
            else:
                fields[name] = _value(node)
        except (ValueError, TypeError):
            what = (
                f"invalid {name}: expected literals, which can be read without being executed, not {ast.unparse(node)}"
            )
            raise CatalogueError(f"{file}:{node.lineno}: {what}") from None
    line = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    return declare(docstring=ast.get_docstring(function, clean=False), file=str(file), line=line, **fields)


class _Points:
    """The injection points that a file of declarations names, resolved by its imports."""

    def __init__(self, file: Path, package: str, tree: ast.Module) -> None:
        self.file = file
        self._package = package
        # The imported module and the name in that module, by the name in the file.
        self._homes: dict[str, tuple[str, str]] = {}
        for node in tree.body:
            if isinstance(node, ast.ImportFrom):
                module = "." * node.level + (node.module or "")
                self._homes |= {alias.asname or alias.name: (module, alias.name) for alias in node.names}
            elif isinstance(node, ast.Import):
                for alias in node.names:
                    name = alias.asname or alias.name.partition(".")[0]
                    self._homes[name] = (alias.name if alias.asname else name, "")

    def made(self, node: ast.expr) -> InjectionPoint:
        """Return the point that the expression names, or constructs with arguments.

        Raises:
            CatalogueError: The expression does not give an injection point.
        """
        named = node.func if isinstance(node, ast.Call) else node
        values = [_value(one) for one in node.args] if isinstance(node, ast.Call) else []
        more = {str(one.arg): _value(one.value) for one in node.keywords} if isinstance(node, ast.Call) else {}
        point = self._class(named)
        try:
            return point(*values, **more)
        except TypeError as error:
            raise self._refused(node, f"cannot construct the seam {ast.unparse(node)}: {error}") from None

    def _class(self, node: ast.expr) -> type[InjectionPoint]:
        path = ast.unparse(node)
        first, *rest = path.split(".")
        if not all(part.isidentifier() for part in (first, *rest)):
            raise ValueError
        if first not in self._homes:
            remedy = (
                "Define it in a module that does not import torch, and import it from there at the top of this file."
            )
            raise self._refused(node, f"the seam {path} is not imported in this file. {remedy}")
        module, name = self._homes[first]
        heavy = "torch" in sys.modules
        try:
            found: Any = importlib.import_module(module, self._package or None)
            for part in (*filter(None, [name]), *rest):
                below = f"{getattr(found, '__name__', '')}.{part}"
                found = getattr(found, part) if hasattr(found, part) else importlib.import_module(below)
        except Exception as error:
            what = f"cannot import the seam {path}: {type(error).__name__}: {error}"
            raise self._refused(node, what) from None
        if not heavy and "torch" in sys.modules:
            remedy = (
                "Define the seam in a module that does not import torch, in a package that does not import it either."
            )
            raise self._refused(node, f"importing the seam {path} imports torch. {remedy}")
        if not (isinstance(found, type) and issubclass(found, InjectionPoint)):
            remedy = "expected one of faultlab.catalogue.injection_points, or a class derived from InjectionPoint"
            raise self._refused(node, f"the seam {path} is not an injection point: {remedy}")
        return found

    def _refused(self, node: ast.expr, why: str) -> CatalogueError:
        return CatalogueError(f"{self.file}:{node.lineno}: {why}")


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Call) and _name(node.func) == "Dose":
        return Dose(*map(_value, node.args), **{str(k.arg): _value(k.value) for k in node.keywords})
    if isinstance(node, ast.Tuple):
        return tuple(map(_value, node.elts))
    return ast.literal_eval(node)


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
