"""The imports and definitions of a training script, run without the rest of it, as those of a module."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from faultlab.core.alert import safe_text
from faultlab.errors import TargetError
from faultlab.frameworks.lightning.main_script import as_started, module_name


class ScriptParts:
    """What a script defines; ``skipped`` is what of it could not be run, a line each."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.skipped: list[str] = []
        self._module: ModuleType | None = None
        try:
            self._tree = ast.parse(file.read_bytes(), str(file))
        except (SyntaxError, ValueError) as error:
            where = ("module", "init_args", "script")
            raise TargetError(where, f"{file.name} is no Python that can be read: {error}") from None

    def define(self) -> dict[str, Any]:
        """Run imports, definitions and simple assignments alone; what fails is skipped and noted."""
        if self._module is None:
            name = module_name(self.file)
            self._module = ModuleType(name)
            self._module.__file__ = str(self.file)
            if str(self.file.parent) not in sys.path:
                sys.path.insert(0, str(self.file.parent))
            sys.modules[name] = self._module
            with as_started(str(self.file), ()):
                for statement in self._tree.body:
                    if _defines(statement):
                        self._execute(statement)
        return vars(self._module)

    def _execute(self, statement: ast.stmt) -> None:
        assert self._module is not None
        # Under the flags that the file itself asks for, each of which is a statement of its beginning.
        future = [one for one in self._tree.body if isinstance(one, ast.ImportFrom) and one.module == "__future__"]
        body: list[ast.stmt] = [*future, *(() if statement in future else (statement,))]
        try:
            exec(compile(ast.Module(body, []), str(self.file), "exec", dont_inherit=True), vars(self._module))
        except (Exception, SystemExit) as error:
            self.skipped.append(f"line {statement.lineno}: {type(error).__name__}: {safe_text(error)}")


def _defines(statement: ast.stmt) -> bool:
    """Whether a statement of a script is an import or a definition, and not what the script does."""
    if isinstance(statement, (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return True
    if isinstance(statement, (ast.If, ast.Try)):
        return all(_defines(inner) or isinstance(inner, ast.Pass) for inner in statement.body)
    if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or statement.value is None:
        return False
    # Constants, and what little is computed of them: a call may be what takes an hour, or a download.
    called = [node.func for node in ast.walk(statement.value) if isinstance(node, ast.Call)]
    return all(ast.unparse(call) in ("int", "float", "min", "max", "dict", "list", "os.cpu_count") for call in called)
