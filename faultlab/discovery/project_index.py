"""A project's LightningModules, data and training scripts, found by reading its source."""

from __future__ import annotations

import ast
import contextlib
import re
import sys
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

from faultlab.catalogue.failure_mode import nearest
from faultlab.core import packages
from faultlab.core.close_files import did_you_mean, misspelled
from faultlab.discovery import cli_config
from faultlab.errors import UsageError

_SKIPPED = {"__pycache__", "build", "dist", "env", "node_modules", "site-packages", "venv", packages.OUTPUT_FOLDERS[0]}
_MOST_FILES, _MOST_CLIS = 400, 2
_LARGEST = 500_000
_HELPFUL = "Name a training script (faultlab init train.py) or a class (file.py:LitModel, package.module:LitModel)."
_FITS = re.compile(r"\.fit\s*\(|LightningCLI\s*\(")


@dataclass(frozen=True)
class Source:
    """A parsed Python file."""

    file: Path
    text: str
    tree: ast.Module

    @cached_property
    def classes(self) -> dict[str, ast.ClassDef]:
        """The classes at top level, by name."""
        return {node.name: node for node in self.tree.body if isinstance(node, ast.ClassDef)}

    @property
    def fits(self) -> bool:
        """True if the file trains something when it is run as a script."""
        own = self.subclasses("LightningCLI")
        return self.acts and any(_trains(node, own) for node in ast.walk(self.tree))

    @property
    def acts(self) -> bool:
        """True if the file does anything when it is run."""
        return any(_acts(statement) for statement in self.tree.body)

    @property
    def imports_quietly(self) -> bool:
        """True if importing the file only defines things."""
        return not any(_acts(statement) for statement in self.tree.body if not _is_main(statement))

    def subclasses(self, base: str) -> list[str]:
        """Return the names of classes that derive, directly or not, from Lightning's class of that name."""
        found: list[str] = []
        for name, node in self.classes.items():
            bases = [ast.unparse(one).partition("[")[0].rpartition(".")[2] for one in node.bases]
            if base in bases or any(one in found for one in bases):
                found.append(name)
        return found

    @property
    def modules(self) -> list[str]:
        """The LightningModules: derived from the class, or with the methods of one."""
        found = self.subclasses("LightningModule")
        for name, node in self.classes.items():
            methods = {inner.name for inner in node.body if isinstance(inner, ast.FunctionDef)}
            if node.bases and {"training_step", "configure_optimizers"} <= methods and name not in found:
                found.append(name)
        return found

    @property
    def loader_functions(self) -> list[str]:
        """The functions without required arguments that return DataLoaders."""
        found = []
        for node in self.tree.body:
            if isinstance(node, ast.FunctionDef) and len(node.args.defaults) == len(node.args.args):
                returned = [ast.unparse(part.value) for part in ast.walk(node) if _returns(part)]  # type: ignore[attr-defined]
                makes = "DataLoader(" in ast.unparse(node) and not _FITS.search(ast.unparse(node))
                if makes and returned and not node.args.kwonlyargs:
                    found.append(node.name)
        return found

    def class_path(self, name: str) -> str:
        """Return the dotted path of a class or function of this file, or an empty string if it has none."""
        for folder in (Path.cwd(), Path.cwd() / "src", *map(Path, filter(None, sys.path))):
            with contextlib.suppress(ValueError):
                parts = self.file.resolve().relative_to(folder.resolve()).with_suffix("").parts
                if all(map(str.isidentifier, parts)):
                    return ".".join([*(parts[:-1] if parts[-1] == "__init__" else parts), name])
        return ""

    @property
    def shown(self) -> str:
        """The path as the user would write it."""
        with contextlib.suppress(ValueError):
            return self.file.resolve().relative_to(Path.cwd()).as_posix()
        return str(self.file)


@dataclass(frozen=True)
class Found:
    """The requested LightningModule. ``source`` is None if its file was not found: importing may find it.

    ``script`` is the training script that was named instead of it, ``config`` the config file of LightningCLI. If those
    take the class from outside the project, there is neither source nor class path, and ``name`` is the file's name
    until it has been run. ``asked`` is False if the class is only the most likely of several in a file: the class that
    the file trains as a script takes precedence.
    """

    name: str
    source: Source | None
    class_path: str = ""
    script: Source | None = None
    config: str = ""
    asked: bool = True

    @property
    def known(self) -> bool:
        """True if the class is known."""
        return self.source is not None or bool(self.class_path)

    @property
    def shown(self) -> str:
        if self.script is not None or self.config:
            return self.config or self.script.shown  # type: ignore[union-attr]
        inside = (
            self.source is not None and not self.source.shown.startswith(("/", "\\")) and ":" not in self.source.shown
        )
        return (
            f"{self.source.shown}:{self.name}" if self.source and (inside or not self.class_path) else self.class_path
        )


@cache
def read(file: Path) -> Source:
    """Return the parsed file.

    Raises:
        UsageError: The file can't be read, or is not valid Python.
    """
    try:
        # Like Python: a file may declare its own encoding.
        with tokenize.open(file) as stream:
            text = stream.read()
        return Source(file, text, ast.parse(text, str(file)))
    except SyntaxError as error:
        where = f"{file}:{error.lineno}" if error.lineno else str(file)
        raise UsageError(f"{where}: {error.msg}. Fix the file first.") from None
    except UnicodeDecodeError:
        raise UsageError(
            f"{_undecodable(file)}. Save it as UTF-8, or declare its encoding in the first line."
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"{file}: can't be read: {error}") from None


def find(target: str | None) -> Found:
    """Return the LightningModule that a command line names.

    Raises:
        UsageError: It names none, or one of several.
    """
    if not target:
        return _in_project()
    path, _, name = target.partition(":") if not re.match(r"^[A-Za-z]:[\\/]", target) else (target, "", "")
    if Path(path).is_dir():
        return _in_project(Path(path))
    if path.endswith(".py"):
        return _in_file(Path(path), name)
    if path.endswith((".yaml", ".yml")):
        return Found(cli_config.module_of(Path(path)), None, config=path)
    if hint := misspelled(path, "*.py", "*.yaml", "*.yml"):
        raise UsageError(f"{path}: no such file. {hint}")
    dotted = path if name else path.rpartition(".")[0]
    name = name or path.rpartition(".")[2]
    if not re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", path):
        raise UsageError(f"{target!r}: expected a file or the path of a class. {_HELPFUL}")
    if ":" not in target and (whole := _file_of(path)) is not None:
        return _in_file(whole, "")
    file = _file_of(dotted) if dotted else None
    if file is None:
        if not dotted:
            raise UsageError(f"no module {path!r} found here. {_HELPFUL}")
        return Found(name, None, f"{dotted}.{name}")
    source = read(file)
    # It may be imported there from elsewhere.
    known = name in source.classes
    if not known and name not in source.text:
        hint = nearest(name, source.classes) or f"Its classes: {', '.join(source.classes) or 'none'}."
        raise UsageError(f"{source.shown}: no class {name!r}. {hint}")
    return Found(name, source if known else None, f"{dotted}.{name}")


def project_files(folder: Path | None = None) -> Iterator[Path]:
    """Yield the project's Python files below a folder (default: the working folder), shallow ones first."""
    waiting, count = [folder or Path.cwd()], 0
    while waiting and count < _MOST_FILES:
        here = waiting.pop(0)
        with contextlib.suppress(OSError):
            for entry in sorted(here.iterdir()):
                if entry.is_dir():
                    environment = (entry / "pyvenv.cfg").exists()
                    if entry.name not in _SKIPPED and not entry.name.startswith(".") and not environment:
                        waiting.append(entry)
                elif entry.suffix == ".py" and entry.stat().st_size < _LARGEST:
                    count += 1
                    yield entry


def sources(folder: Path | None = None) -> Iterator[Source]:
    """Yield the project's readable files."""
    for file in project_files(folder):
        with contextlib.suppress(UsageError):
            yield read(file)


def scripts_for(found: Found) -> list[Source]:
    """Return the scripts that train something of that name; the class's own file comes first."""
    if found.script is not None:
        return [found.script]
    if found.config:
        return [source for source in sources() if "LightningCLI" in source.text and source.fits][:_MOST_CLIS]
    if found.source is None:
        return []
    mentions = re.compile(rf"\b{re.escape(found.name)}\b")
    own = [found.source] if found.source.fits else []
    if not found.source.file.resolve().is_relative_to(Path.cwd()):
        return own
    others = [
        source
        for source in sources()
        if source.file.resolve() != found.source.file.resolve()
        and _FITS.search(source.text)
        and mentions.search(source.text)
        and found.name not in source.classes
        and not _is_test(source.file)
        and source.fits
    ]
    return own + sorted(
        others, key=lambda source: (not re.search("train|main|fit|run", source.file.stem), source.shown)
    )


def tests_for(found: Found) -> list[str]:
    """Return the project's test files that mention the class."""
    if found.source is None or not found.source.file.resolve().is_relative_to(Path.cwd()):
        return []
    mentions = re.compile(rf"\b{re.escape(found.name)}\b")
    return [source.shown for source in sources() if _is_test(source.file) and mentions.search(source.text)]


def _in_project(folder: Path | None = None) -> Found:
    candidates = [(source, name) for source in sources(folder) if not _is_test(source.file) for name in source.modules]
    where = folder or "this folder"
    if not candidates:
        raise UsageError(f"no LightningModule found in the Python files of {where} and below. {_HELPFUL}")
    if len(candidates) > 1:
        lines = "".join(f"\n    faultlab init {source.shown}:{name}" for source, name in candidates[:20])
        raise UsageError(f"there are {len(candidates)} LightningModules in {where}. Name one:{lines}")
    source, name = candidates[0]
    return Found(name, source, source.class_path(name))


def _in_file(file: Path, name: str) -> Found:
    if not file.is_file():
        raise UsageError(f"{file}: no such file. {did_you_mean(file, '*.py') or _HELPFUL}")
    source = read(file)
    if not name:
        if len(source.modules) == 1:
            name = source.modules[0]
        elif not source.modules and source.acts:
            return _trained_by(source)
        elif not source.modules:
            classes = f" (its classes: {', '.join(source.classes)})" if source.classes else ""
            raise UsageError(f"{file}: defines no LightningModule{classes}. {_HELPFUL}")
        else:
            derived = _last_derived(source)
            if derived is None and source.fits:
                # The script itself decides which one it trains first.
                return Found(file.stem, None, script=source)
            if derived is None:
                lines = "".join(f"\n    faultlab init {file}:{one}" for one in source.modules)
                raise UsageError(f"{file}: defines {len(source.modules)} LightningModules. Name one:{lines}")
            return Found(derived, source, source.class_path(derived), asked=False)
    elif name not in source.classes:
        hint = nearest(name, source.classes) or f"Its classes: {', '.join(source.classes) or 'none'}."
        raise UsageError(f"{file}: no class {name!r}. {hint}")
    return Found(name, source, source.class_path(name))


def _trained_by(script: Source) -> Found:
    """Return the module that a script without one trains: the one that it imports from the project, if there is only
    one."""
    imported: dict[str, Found] = {}
    for node in ast.walk(script.tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            file = _file_of(node.module)
            if file is None or not file.resolve().is_relative_to(Path.cwd()):
                continue
            with contextlib.suppress(UsageError):
                source = read(file)
                for name in {alias.name for alias in node.names} & set(source.modules):
                    imported[name] = Found(name, source, source.class_path(name), script)
    return imported.popitem()[1] if len(imported) == 1 else Found(script.file.stem, None, script=script)


def _last_derived(source: Source) -> str | None:
    """Return the only module of a file that no other derives from."""
    bases = {ast.unparse(base) for name in source.modules for base in source.classes[name].bases}
    left = [name for name in source.modules if name not in bases]
    return left[0] if len(left) == 1 else None


def _file_of(dotted: str) -> Path | None:
    for folder in (Path.cwd(), Path.cwd() / "src", *map(Path, filter(None, sys.path))):
        base = folder / dotted.replace(".", "/")
        for file in (base.with_suffix(".py"), base / "__init__.py"):
            if file.is_file():
                return file
    return None


def _undecodable(file: Path) -> str:
    """Return the place of bytes that are invalid in the file's encoding."""
    with file.open("rb") as stream:
        encoding, _ = tokenize.detect_encoding(stream.readline)
    for number, line in enumerate(file.read_bytes().splitlines(), 1):
        try:
            line.decode(encoding)
        except UnicodeDecodeError as error:
            return f"{file}:{number}: byte 0x{line[error.start]:02x} is not valid {encoding}"
    return f"{file}: not valid {encoding}"


def _trains(node: ast.AST, own: list[str]) -> bool:
    """Return whether a node calls fit or a LightningCLI, or passes fit on to be called elsewhere."""
    if isinstance(node, ast.Call):
        called = ast.unparse(node.func) + "("
        handed = [value.value if isinstance(value, ast.Starred) else value for value in node.args]
        handed += [keyword.value for keyword in node.keywords]
        return (
            bool(_FITS.search(called))
            or called[:-1] in own
            or any(isinstance(value, ast.Attribute) and value.attr == "fit" for value in handed)
        )
    return False


def _is_test(file: Path) -> bool:
    return file.name.startswith("test_") or file.name.endswith("_test.py") or file.name == "conftest.py"


def _is_main(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test)


def _acts(statement: ast.stmt) -> bool:
    """Return whether a statement at top level does more than define something."""
    if isinstance(statement, (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return False
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return False
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        return any(isinstance(node, ast.Call) for node in ast.walk(statement))
    return True


def _returns(node: ast.AST) -> bool:
    return isinstance(node, ast.Return) and node.value is not None
