"""The catalogue read without importing it: the declarations are parsed from the injectors' source.

Importing an injector imports torch, seconds that `faultlab list` and `explain` must not cost. A declaration is made of
literals, doses and an injection point, so the syntax tree holds all of it, and no generated file can go stale. The
point's class is imported from where the file itself imports it, a module that imports no torch.
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
    """Every failure mode by id, built in and of third parties, in order."""
    found: dict[str, FailureMode] = {}
    for file, package in _files():
        for mode in read(file, package):
            if mode.id in found:
                raise CatalogueError(f"{mode.id} is declared twice: in {found[mode.id].file} and {mode.file}")
            found[mode.id] = mode
    return dict(sorted(found.items()))


def read(file: Path, package: str = "") -> Iterator[FailureMode]:
    """The failure modes that one source file declares; ``package`` is what its relative imports start from."""
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
        except ImportError:  # of the package that holds it
            spec = None
        if spec is None or spec.origin is None:
            raise CatalogueError(f"the entry point {entry.name} names {entry.module}, which can't be found")
        yield Path(spec.origin), spec.parent or ""


def _mode(points: _Points, function: ast.FunctionDef, call: ast.Call) -> FailureMode:
    file = points.file
    if len(call.args) != 1 or any(keyword.arg is None for keyword in call.keywords):
        raise CatalogueError(f"{file}:{call.lineno}: a declaration is the id and then arguments by name")
    fields: dict[str, Any] = {}
    for name, node in [("id", call.args[0]), *((str(keyword.arg), keyword.value) for keyword in call.keywords)]:
        try:
            if name == "seam":
                fields["point"] = points.made(node)
            else:
                fields[name] = _value(node)
        except (ValueError, TypeError):
            what = f"{name} is made of literals, so that it can be read without being run, not of {ast.unparse(node)}"
            raise CatalogueError(f"{file}:{node.lineno}: {what}") from None
    line = min([function.lineno, *(decorator.lineno for decorator in function.decorator_list)])
    return declare(docstring=ast.get_docstring(function, clean=False), file=str(file), line=line, **fields)


class _Points:
    """The injection points that a file of declarations names, by its own imports."""

    def __init__(self, file: Path, package: str, tree: ast.Module) -> None:
        self.file = file
        self._package = package
        # By the name in the file, the module that is imported and the name in that.
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
        """The point that the expression names, or makes with arguments of its own."""
        named = node.func if isinstance(node, ast.Call) else node
        values = [_value(one) for one in node.args] if isinstance(node, ast.Call) else []
        more = {str(one.arg): _value(one.value) for one in node.keywords} if isinstance(node, ast.Call) else {}
        point = self._class(named)
        try:
            return point(*values, **more)
        except TypeError as error:
            raise self._refused(node, f"the seam {ast.unparse(node)} can't be made: {error}") from None

    def _class(self, node: ast.expr) -> type[InjectionPoint]:
        path = ast.unparse(node)
        first, *rest = path.split(".")
        if not all(part.isidentifier() for part in (first, *rest)):
            raise ValueError
        if first not in self._homes:
            remedy = "define it in a module that imports no torch, and import it from there at the top of this one"
            raise self._refused(node, f"the seam {path} is not imported in this file; {remedy}")
        module, name = self._homes[first]
        heavy = "torch" in sys.modules
        try:
            found: Any = importlib.import_module(module, self._package or None)
            for part in (*filter(None, [name]), *rest):
                below = f"{getattr(found, '__name__', '')}.{part}"
                found = getattr(found, part) if hasattr(found, part) else importlib.import_module(below)
        except Exception as error:
            what = f"the seam {path} can't be imported: {type(error).__name__}: {error}"
            raise self._refused(node, what) from None
        if not heavy and "torch" in sys.modules:
            remedy = "define the seam in a module that imports no torch, of a package that imports none"
            raise self._refused(node, f"importing the seam {path} imports torch; {remedy}")
        if not (isinstance(found, type) and issubclass(found, InjectionPoint)):
            remedy = "one is of faultlab.catalogue.injection_points, or derived from its InjectionPoint"
            raise self._refused(node, f"the seam {path} is no injection point; {remedy}")
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
