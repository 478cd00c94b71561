"""The modules of faultlab as a page: a table for each package, from the first lines of docstrings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from faultlab.catalogue import index
from faultlab.report.formats.markdown import cell, inline

NAME = "modules.md"
MARK = "<!-- Made by `faultlab dev docs` from the modules' docstrings: change those, not this page. -->"
PACKAGE = index.INJECTORS.parent


def page(package: Path = PACKAGE) -> str:
    """Return the page in Markdown: a heading for each package below ``package``, and a row for each of its modules."""
    return "\n".join(_page(package))


def first_line(file: Path) -> str:
    """Return the first line of a module's docstring, or an empty string."""
    return _docstring(file).partition("\n")[0]


def _page(root: Path) -> Iterator[str]:
    folders = sorted({file.parent for file in root.rglob("*.py")}, key=lambda folder: folder.parts)
    yield f"# The modules\n\n{MARK}\n"
    yield "What lives where, package by package. [Design](DESIGN.md) has the layers and the imports that they allow.\n"
    for folder in folders:
        name = folder.relative_to(root.parent).as_posix()
        yield f"## `{name}`\n\n{inline(_docstring(folder / '__init__.py'))}\n"
        modules = [file for file in sorted(folder.glob("*.py")) if file.name != "__init__.py"]
        if modules:
            yield "| module | what it holds |\n| --- | --- |"
            yield from (f"| `{file.name}` | {cell(first_line(file))} |" for file in modules)
            yield ""


def _docstring(file: Path) -> str:
    if not file.is_file():
        return ""
    return ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
