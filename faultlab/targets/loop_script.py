"""A training script without a Trainer, run as ``python train.py`` runs it."""

from __future__ import annotations

import ast
import contextlib
import importlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from faultlab.core.alert import safe_text
from faultlab.errors import TargetError
from faultlab.frameworks.loops.target import PREPARE
from faultlab.injection import mutant_activation


def run(script: str, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Run a training script from its first line to its last.

    Args:
        script: The file, seen from the folder that faultlab runs in.
        arguments: What follows the script's name on its command line.

    Returns:
        The numbers among the script's own variables, as metrics.

    Raises:
        TargetError: There is no such file, or it is not Python.
    """
    file = _found(script)
    try:
        code = compile(file.read_bytes(), str(file), "exec", dont_inherit=True)
    except (SyntaxError, ValueError) as error:
        message = f"{file.name} can't be parsed: {safe_text(error)}"
        raise TargetError(("train", "init_args", "script"), message, "Fix the file.") from None
    module = ModuleType("__main__")
    module.__file__ = str(file)
    before, argv = sys.modules["__main__"], sys.argv[:]
    sys.modules["__main__"] = module
    sys.argv[:] = [script, *map(str, arguments)]
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    try:
        exec(code, vars(module))
    except SystemExit as error:
        # A script that ends by `sys.exit(main())` has trained to its end.
        if error.code not in (None, 0):
            raise
    finally:
        sys.modules["__main__"] = before
        sys.argv[:] = argv
    return {name: value for name, value in vars(module).items() if isinstance(value, (int, float)) and name.islower()}


def prepare(where: tuple[str | int, ...], script: str, arguments: Sequence[str] = ()) -> None:
    """Import what the script imports at its top, once for all runs."""
    with contextlib.suppress(SyntaxError, ValueError, OSError):
        file = _found(script)
        mutant_activation.name_script(str(file), mutant_activation.module_name(file))
        sys.path.insert(0, str(file.parent))
        for node in ast.parse(file.read_bytes()).body:
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names = [node.module]
            for name in names:
                # What can't be imported the script itself reports, or does without.
                with contextlib.suppress(Exception):
                    importlib.import_module(name)


setattr(run, PREPARE, prepare)


def _found(script: str) -> Path:
    file = Path(script)
    if not file.is_file():
        message = f"no such script: {script}"
        raise TargetError(("train", "init_args", "script"), message, f"Give its path as seen from {os.getcwd()}.")
    return file.resolve()
