"""Facts about a class, and the scripts around it, from their source. Only read, never run."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from faultlab.core import packages
from faultlab.doctor import statements

_LEFT_OUT = {"node_modules", "site-packages", "build", "dist", "venv", "mutants", "__pycache__"}
_MOST_FILES = 400
# Common names whose closest match is not always the intended one.
_MEANT = {
    "train_step": "training_step", "training_steps": "training_step", "trainstep": "training_step",
    "trainingstep": "training_step", "train_loop": "training_step", "val_step": "validation_step",
    "valid_step": "validation_step", "validate_step": "validation_step", "valid_dataloader": "val_dataloader",
    "validation_dataloader": "val_dataloader", "training_dataloader": "train_dataloader",
    "get_optimizer": "configure_optimizers", "configure_optimiser": "configure_optimizers",
    "on_epoch_start": "on_train_epoch_start", "on_epoch_end": "on_train_epoch_end",
    "on_batch_end": "on_train_batch_end", "on_batch_start": "on_train_batch_start",
    "training_epoch_end": "on_train_epoch_end", "validation_epoch_end": "on_validation_epoch_end",
    "training_step_end": "on_train_batch_end", "validation_step_end": "on_validation_batch_end",
    "training_batch_end": "on_train_batch_end", "validation_batch_end": "on_validation_batch_end",
    "on_pretrain_routine_start": "on_fit_start", "on_pretrain_routine_end": "on_fit_start",
    "on_train_begin": "on_train_start", "on_validation_begin": "on_validation_start",
    "on_epoch_begin": "on_train_epoch_start", "on_batch_begin": "on_train_batch_start",
}  # fmt: skip
Function = (ast.FunctionDef, ast.AsyncFunctionDef)


def meant(name: str, hooks: Collection[str]) -> str:
    """Return the hook that a method's name was probably meant to be, or an empty string."""
    if name in hooks or name.startswith("__"):
        return ""
    if _MEANT.get(name.lower()) in hooks:
        return _MEANT[name.lower()]
    close = get_close_matches(name.lower(), sorted(hooks), n=1, cutoff=0.88)
    return close[0] if close else ""


def class_facts(text: str, name: str, hooks: Collection[str]) -> dict[str, Any]:
    """Return the suspicious places in a class's source, by kind: lists of entries with a ``line``."""
    tree = ast.parse(text)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name]
    facts: dict[str, Any] = {
        "nested": [], "outside": [], "twice": [], "near": [], "swallows": [], "ignores_closure": [],
        "unpacks": [], "cuts": [], "steps_itself": [], "manual_names": [], "literal_rates": [],
        "past_the_trainer": [],
        "classes": [node.lineno for node in classes],
    }  # fmt: skip
    if not classes:
        return facts
    node = classes[-1]
    methods = [item for item in node.body if isinstance(item, Function)]
    by_name: dict[str, list[int]] = {}
    for method in methods:
        if not any("setter" in ast.unparse(one) or "overload" in ast.unparse(one) for one in method.decorator_list):
            by_name.setdefault(method.name, []).append(method.lineno)
        if hook := meant(method.name, hooks):
            facts["near"].append({"name": method.name, "hook": hook, "line": method.lineno})
        for inner in ast.walk(method):
            if (
                inner is not method
                and isinstance(inner, Function)
                and (inner.name in hooks or meant(inner.name, hooks))
            ):
                facts["nested"].append({"hook": inner.name, "line": inner.lineno, "inside": method.name})
        if method.name == "training_step":
            facts["swallows"] += _swallows(method)
            facts["unpacks"] += statements.unpackings(method)
            facts["steps_itself"] += statements.own_steps(method)
        if method.name not in hooks or method.name == "training_step":
            facts["cuts"] += statements.cuts(method)
        facts["past_the_trainer"] += statements.past_the_trainer(method)
        facts["manual_names"] += statements.near_manual(method)
        if method.name == "configure_optimizers":
            facts["literal_rates"] += statements.literal_rates(method)
        if method.name == "optimizer_step" and not _uses_closure(method):
            facts["ignores_closure"].append({"line": method.lineno})
    facts["twice"] = [{"hook": hook, "lines": lines} for hook, lines in by_name.items()
                      if len(lines) > 1 and hook in hooks]  # fmt: skip
    for item in tree.body:
        if isinstance(item, Function) and item.name in hooks and item.args.args[:1] and item.args.args[0].arg == "self":
            facts["outside"].append({"hook": item.name, "line": item.lineno})
    return facts


def _swallows(method: ast.FunctionDef | ast.AsyncFunctionDef) -> list[dict[str, Any]]:
    """Return handlers that catch everything and re-raise nothing: errors of the step are never seen."""
    return [
        {"line": handler.lineno}
        for handler in ast.walk(method)
        if isinstance(handler, ast.ExceptHandler)
        and (handler.type is None or ast.unparse(handler.type) in ("Exception", "BaseException"))
        and not any(isinstance(inner, ast.Raise) for inner in ast.walk(handler))
    ]


def _uses_closure(method: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    names = [argument.arg for argument in [*method.args.args, *method.args.kwonlyargs]]
    closure = next((name for name in names if "closure" in name), names[4] if len(names) > 4 else "")
    used = {node.id for node in ast.walk(method) if isinstance(node, ast.Name)}
    passed_on = {argument.arg for argument in (method.args.vararg, method.args.kwarg) if argument}
    return closure in used or bool(passed_on & used)


def scripts(root: Path, name: str, script: Path | None = None) -> list[dict[str, Any]]:
    """Return the Trainers and their calls in Python files that mention a class: file, line, call, literal arguments.

    Only the given ``script`` is read if there is one: other files may have a class of the same name.
    """
    found: list[dict[str, Any]] = []
    for file in [script] if script else _python_files(root):
        try:
            text = file.read_text(encoding="utf-8")
            if "Trainer" not in text and not (name in text and ".fit(" in text):
                continue
            tree = ast.parse(text)
        except (OSError, SyntaxError, ValueError):
            continue
        if name not in text:
            continue
        where = file.as_posix() if script else file.relative_to(root).as_posix()
        found += [{"file": where, **call} for call in _calls(tree)]
        found += [{"file": where, **entry} for entry in _imports(tree)]
    return found


def _calls(tree: ast.Module) -> Iterator[dict[str, Any]]:
    trainers = {"trainer"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and _called(node.value) == "Trainer":
            trainers.update(target.id for target in node.targets if isinstance(target, ast.Name))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = _called(node)
        owner = node.func.value if isinstance(node.func, ast.Attribute) else None
        of_trainer = (isinstance(owner, ast.Name) and owner.id in trainers) or (
            isinstance(owner, ast.Call) and _called(owner) == "Trainer"
        )  # fmt: skip
        if name in ("Trainer", "lr_find") or (of_trainer and name in ("fit", "validate", "test", "predict")):
            arguments = {k.arg: _literal(k.value) for k in node.keywords if k.arg}
            known = {key: value for key, value in arguments.items() if value is not None}
            yield {"call": name, "line": node.lineno, "arguments": known}


def _imports(tree: ast.Module) -> Iterator[dict[str, Any]]:
    for node in ast.walk(tree):
        names = (
            [alias.name for alias in node.names] if isinstance(node, ast.Import)
            else [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        )  # fmt: skip
        for name in names:
            if name.partition(".")[0] in packages.TOPS:
                yield {"call": "import", "line": node.lineno, "arguments": {"package": name.partition(".")[0]}}  # type: ignore[attr-defined]


def _called(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else getattr(call.func, "attr", "")


def _literal(node: ast.expr) -> Any:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return None
    return value if isinstance(value, (bool, int, float, str)) else None


def _python_files(root: Path) -> Iterator[Path]:
    count = 0
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            entries = sorted(folder.iterdir())
        except OSError:
            continue
        for entry in entries:
            if entry.is_dir() and not entry.is_symlink():
                if entry.name not in _LEFT_OUT and not entry.name.startswith("."):
                    folders.append(entry)
            elif entry.suffix == ".py":
                count += 1
                if count > _MOST_FILES:
                    return
                yield entry
