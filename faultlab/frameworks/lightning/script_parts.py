"""The imports and definitions of a training script, run as a module without the rest of the script."""

from __future__ import annotations

import ast
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from faultlab.core.alert import safe_text
from faultlab.errors import TargetError
from faultlab.frameworks.lightning.main_script import as_started
from faultlab.injection.mutant_activation import module_name


class ScriptParts:
    """The definitions of a script; ``skipped`` has a line for each part that could not be run."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.skipped: list[str] = []
        self._module: ModuleType | None = None
        try:
            self._tree = ast.parse(file.read_bytes(), str(file))
        except (SyntaxError, ValueError) as error:
            where = ("module", "init_args", "script")
            raise TargetError(where, f"{file.name} is not valid Python: {error}") from None

    def define(self) -> dict[str, Any]:
        """Run only imports, definitions and simple assignments; skip and record those that fail."""
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
        # With the file's own __future__ flags, which are separate statements at its beginning.
        future = [one for one in self._tree.body if isinstance(one, ast.ImportFrom) and one.module == "__future__"]
        body: list[ast.stmt] = [*future, *(() if statement in future else (statement,))]
        try:
            exec(compile(ast.Module(body, []), str(self.file), "exec", dont_inherit=True), vars(self._module))
        except (Exception, SystemExit) as error:
            self.skipped.append(f"line {statement.lineno}: {type(error).__name__}: {safe_text(error)}")


def _defines(statement: ast.stmt) -> bool:
    """Return True for an import or a definition, False for a statement that does work."""
    if isinstance(statement, (ast.Import, ast.ImportFrom, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return True
    if isinstance(statement, (ast.If, ast.Try)):
        return all(_defines(inner) or isinstance(inner, ast.Pass) for inner in statement.body)
    if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or statement.value is None:
        return False
    # Constants and simple computations: any other call may take an hour, or download something.
    called = [node.func for node in ast.walk(statement.value) if isinstance(node, ast.Call)]
    return all(ast.unparse(call) in ("int", "float", "min", "max", "dict", "list", "os.cpu_count") for call in called)
