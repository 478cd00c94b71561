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

from faultlab.config import named_files
from faultlab.core.alert import safe_text
from faultlab.core.close_files import did_you_mean
from faultlab.errors import TargetError
from faultlab.frameworks.loops.interruption import AnotherTraining
from faultlab.frameworks.loops.target import PREPARE
from faultlab.injection import mutant_activation

_CLOCKS = {"time", "time_ns", "perf_counter", "monotonic", "process_time", "default_timer", "now", "elapsed_time"}
"""The names that clocks are read by."""


def run(script: str, arguments: Sequence[str] = ()) -> dict[str, Any]:
    """Run a training script from its first line to its last.

    Args:
        script: The file, seen from the folder that faultlab runs in.
        arguments: What follows the script's name on its command line.

    Returns:
        The numbers among the script's own variables, without its settings and times, as metrics.

    Raises:
        TargetError: There is no such file, or it is not Python.
    """
    file = _found(script)
    try:
        tree = ast.parse(file.read_bytes(), str(file))
        code = compile(tree, str(file), "exec", dont_inherit=True)
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
    except AnotherTraining:
        # What it has reported so far is that of the training that ended.
        pass
    except SystemExit as error:
        # A script that ends by `sys.exit(main())` has trained to its end.
        if error.code not in (None, 0):
            raise
    finally:
        sys.modules["__main__"] = before
        sys.argv[:] = argv
    numbers = {name: value for name, value in vars(module).items() if isinstance(value, (int, float))}
    others = _settings(tree) | _timed(tree)
    return {name: value for name, value in numbers.items() if name.islower() and name not in others}


def _settings(tree: ast.Module) -> set[str]:
    """Return the variables of a script that are set only once, at its top level, and to a constant."""
    constant: set[str] = set()
    for node in tree.body:
        values = [node.value] if isinstance(node, (ast.Assign, ast.AnnAssign)) and node.value is not None else []
        values = [one for value in values for one in (value.elts if isinstance(value, ast.Tuple) else [value])]
        if values and all(isinstance(_unsigned(value), ast.Constant) for value in values):
            constant |= set(_stored(node))
    stores = _stored(tree)
    return {name for name in constant if stores.count(name) == 1}


def _timed(tree: ast.Module) -> set[str]:
    """Return the variables of a script that are read from a clock, or computed from such: no two runs agree in them."""
    timed: set[str] = set()
    assigning = (ast.Assign, ast.AnnAssign, ast.AugAssign, ast.NamedExpr)
    sources = [
        (set(_stored(node)), {one.attr if isinstance(one, ast.Attribute) else one.id for one in _named(node.value)})
        for node in ast.walk(tree)
        if isinstance(node, assigning) and node.value is not None
    ]
    before = -1
    while len(timed) != before:
        before = len(timed)
        for names, used in sources:
            if used & (_CLOCKS | timed):
                timed |= names
    return timed


def _named(value: ast.expr) -> list[ast.Attribute | ast.Name]:
    return [node for node in ast.walk(value) if isinstance(node, (ast.Attribute, ast.Name))]


def _unsigned(value: ast.expr) -> ast.expr:
    return value.operand if isinstance(value, ast.UnaryOp) else value


def _stored(tree: ast.AST) -> list[str]:
    """Return the names that are assigned to, once for each place, in functions as well."""
    nodes = ast.walk(tree)
    return [node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)]


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
    file = named_files.find(script, sys.path)
    if file is None:
        message = f"no such script: {script}"
        remedy = did_you_mean(Path(script), "*.py") or f"Name it relative to {os.getcwd()}, the folder of this run."
        raise TargetError(("train", "init_args", "script"), message, remedy)
    return file.resolve()
