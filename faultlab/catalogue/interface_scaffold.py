"""The scaffolds of engines and frameworks: classes with every member of the interfaces, to fill in."""

from __future__ import annotations

import ast
import builtins
import keyword
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faultlab.catalogue import import_lines
from faultlab.core import atomic_write
from faultlab.errors import UsageError

_PACKAGE = Path(__file__).parents[1]
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_HEADER = '"""{name}: describe in a few words {what}."""\n\nfrom __future__ import annotations\n'
_ENGINE = """\
    def __init__(self, jobs: int) -> None:
        self.jobs, self.alone = jobs, False
"""
_FRAMEWORK = '''"""{title}.

It imports no other framework, except `faultlab.frameworks.torch`.
"""
'''
_SEAMS = '''"""The hooks of {title} for injection points that can't be attached with torch alone.

They import no injector.
"""
'''


@dataclass(frozen=True)
class _Class:
    """A class to write: the file and name of its interface, its own name, and what differs from the interface.

    ``summary`` replaces the first line of the docstring, ``attributes`` has values by name, and ``start`` is the
    constructor, which sets the attributes that ``set_there`` names.
    """

    file: Path
    protocol: str
    name: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    summary: str = ""
    start: str = ""
    set_there: tuple[str, ...] = ()


def add_engine(name: str, folder: Path) -> list[Path]:
    """Write the scaffold of an engine; in faultlab's own package, list it there. Return the files that were written.

    Raises:
        UsageError: The name is invalid, or the file exists.
    """
    title, file = _title(name), folder / f"{name}.py"
    _refuse(name, file)
    engine = _Class(
        _PACKAGE / "engines" / "__init__.py",
        "Engine",
        f"{title}Engine",
        summary="Describe in one sentence where it executes runs.",
        start=_ENGINE,
        set_there=("jobs", "alone"),
    )
    text = _implementing(_HEADER.format(name=title, what="how it executes runs"), [engine])
    atomic_write.write(file, text)
    return [file, *_list(folder / "__init__.py", name, f"faultlab.engines.{name}:{title}Engine")]


def add_framework(name: str, folder: Path) -> list[Path]:
    """Write the scaffold of a framework, a package; in faultlab's own, list it there. Return the files written.

    Raises:
        UsageError: The name is invalid, or the package exists.
    """
    title, package = _title(name), folder / name
    _refuse(name, package)
    frameworks = _PACKAGE / "frameworks"
    base = frameworks / "base.py"
    own = {"name": f'"{name}"', "joins": "False", "foreign": "None  # type: ignore[assignment]"}
    text = _implementing(
        _HEADER.format(name=title, what="what it trains"),
        [
            _Class(base, "Built", f"{title}Built"),
            _Class(base, "Target", f"{title}Target"),
            _Class(frameworks / "profiling.py", "Profiling", f"{title}Profiling"),
            _Class(base, "Training", f"{title}Training"),
            _Class(base, "Framework", title, own, "Describe in one sentence whose trainings these are."),
        ],
    )
    text = import_lines.importing(text, "faultlab.frameworks.base", "Framework")
    written = {
        package / "__init__.py": _FRAMEWORK.format(title=title),
        package / "framework.py": f"{text}\n\nFRAMEWORK: Framework = {title}()\n",
        package / "seams" / "__init__.py": _SEAMS.format(title=title),
    }
    for file, content in written.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic_write.write(file, content)
    names = folder.parent / "core" / "framework_names.py"
    return [*written, *_list(names, name, f"faultlab.frameworks.{name}.framework")]


def _title(name: str) -> str:
    return "".join(word.capitalize() for word in name.split("_"))


def _refuse(name: str, path: Path) -> None:
    if not _NAME.fullmatch(name) or keyword.iskeyword(name):
        raise UsageError(f"invalid name {name!r}: expected a module's name in lower case, such as my_cluster")
    if path.exists():
        raise UsageError(f"{name!r} can't be added: {path} already exists")


def _list(file: Path, name: str, value: str) -> list[Path]:
    """Add an entry to the table BUILT_IN of a file, and return the file; none if it has no such table."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    for node in ast.parse(text).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "BUILT_IN":
            assert isinstance(node.value, ast.Dict)
            entries = [
                f"    {ast.get_source_segment(text, key)}: {ast.get_source_segment(text, held)},"
                for key, held in zip(node.value.keys, node.value.values)
                if key is not None
            ]
            lines = text.splitlines()
            table = ["BUILT_IN = {", *entries, f'    "{name}": "{value}",', "}"]
            lines[node.lineno - 1 : node.end_lineno] = table
            atomic_write.write(file, "\n".join(lines) + "\n")
            return [file]
    return []


def _implementing(text: str, wanted: Sequence[_Class]) -> str:
    """Return the source with these classes, and the imports that they need."""
    classes = []
    for one in wanted:
        tree = ast.parse(one.file.read_text(encoding="utf-8"))
        (protocol,) = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == one.protocol]
        classes.append(_written(protocol, one))
        for module, imported in _needed(tree, _dotted(one.file), classes[-1]):
            text = import_lines.importing(text, module, imported)
    return text.rstrip("\n") + "\n" + "".join(f"\n\n{one}" for one in classes)


def _written(protocol: ast.ClassDef, wanted: _Class) -> str:
    fields, methods = [], []
    for member in protocol.body:
        if isinstance(member, ast.AnnAssign) and (name := ast.unparse(member.target)) not in wanted.set_there:
            value = f" = {wanted.attributes[name]}" if name in wanted.attributes else ""
            fields.append(f"    {name}: {ast.unparse(member.annotation)}{value}\n")
        elif isinstance(member, ast.FunctionDef):
            methods.append(_method(member))
    head = f'class {wanted.name}:\n    """{wanted.summary or _first_line(protocol)}"""\n'
    return "\n".join(filter(None, [head, "".join(fields), wanted.start, *methods]))


def _method(declared: ast.FunctionDef) -> str:
    decorators = "".join(f"    @{ast.unparse(one)}\n" for one in declared.decorator_list)
    returns = f" -> {ast.unparse(declared.returns)}" if declared.returns is not None else ""
    # Every parameter is annotated, so its default has spaces around it.
    parameters = ast.unparse(declared.args).replace("=", " = ")
    return (
        f"{decorators}    def {declared.name}({parameters}){returns}:\n"
        f'        """{_first_line(declared)}"""\n        raise NotImplementedError\n'
    )


def _first_line(documented: ast.ClassDef | ast.FunctionDef) -> str:
    return (ast.get_docstring(documented) or "").partition("\n")[0]


def _needed(tree: ast.Module, module: str, code: str) -> Iterator[tuple[str, str]]:
    """Yield the names that the code uses of the interface's module, each with the module to import it from."""
    parsed = ast.parse(code)
    used = {node.id for node in ast.walk(parsed) if isinstance(node, ast.Name)} - set(vars(builtins))
    homes = {
        alias.asname or alias.name: node.module or ""
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    own = {getattr(node, "name", "") for node in tree.body}
    own |= {ast.unparse(node.targets[0]) for node in tree.body if isinstance(node, ast.Assign)}
    for name in sorted(used):
        if name in homes:
            yield homes[name], name
        elif name in own:
            yield module, name


def _dotted(file: Path) -> str:
    parts = file.relative_to(_PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
