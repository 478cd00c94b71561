"""Facts about the user's files as a whole: what they set, define or catch and never use. Only read, never run."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Iterator
from typing import Any

from faultlab.doctor import slips
from faultlab.doctor.statements import called, cuts
from faultlab.doctor.whole import compared, vain

Facts = dict[str, list[dict[str, Any]]]
Function = (ast.FunctionDef, ast.AsyncFunctionDef)
# Settings of a training: one that is kept and never read is lost. Other attributes may be for other scripts.
_SETTINGS = {
    "lr", "learning_rate", "weight_decay", "wd", "momentum", "betas", "eps", "gamma", "dropout", "dropout_rate",
    "p_drop", "warmup", "warmup_steps", "warmup_epochs", "label_smoothing", "pos_weight", "class_weights",
    "class_weight",
    "temperature", "beta", "kl_weight", "ignore_index", "pad_idx", "padding_idx", "freeze", "freeze_backbone",
    "gradient_clip", "clip_grad", "accumulate", "ema_decay", "scheduler_gamma", "step_size",
}  # fmt: skip
_COEFFICIENT = re.compile(r"(^|_)(coeff?|coefficient|weight|lambda|alpha)$")
# Methods that keep something up to date, and do nothing unless they are called.
_KEEPING = {
    "Callback": ("update", "step", "reset", "clear", "restore", "sync", "load", "apply", "freeze", "unfreeze"),
    "Module": ("update", "freeze", "unfreeze"),
}
# Counts of Lightning's loops that decide about the end of the training.
_COUNTS = {"epoch_progress", "batch_progress", "optim_progress", "_batches_that_stepped", "epoch_loop", "fit_loop"}
_OF_TRAINERS = {"current_epoch", "global_step", "should_stop"}
_LOADS = {"load_state_dict"}
# Objects that act only where they are passed on or returned.
_PASSED_ON = ("LR", "Scheduler", "EarlyStopping", "ModelCheckpoint", "Callback", "Sampler", "Monitor", "Finetuning",
              "ReduceLROnPlateau", "Averaging", "CosineAnnealingWarmRestarts")  # fmt: skip
_SEEDS = ("torch.manual_seed", "np.random.seed", "numpy.random.seed", "random.seed", "seed_everything",
          "pl.seed_everything", "L.seed_everything")  # fmt: skip
_AGAIN_AND_AGAIN = ("__getitem__", "training_step", "validation_step", "forward", "on_train_batch_start",
                    "on_train_epoch_start", "train_dataloader")  # fmt: skip


def facts(texts: dict[str, str], hooks: Callable[[str], bool]) -> Facts:
    """Return the suspicious places in a training's files, by kind: lists of entries with ``file`` and ``line``.

    Args:
        texts: The sources by file.
        hooks: Whether a method of that name is called by Lightning or torch.
    """
    trees = {}
    for file, text in texts.items():
        try:
            trees[file] = ast.parse(text)
        except (SyntaxError, ValueError):
            continue
    found: Facts = {}
    read = _read(trees.values())
    for file, tree in trees.items():
        for kind, entries in (
            ("unused", _unused(tree, read)),
            ("uncalled", _uncalled(tree, read, hooks)),
            ("unordered", _unordered(tree)),
            ("counts", _counts(tree)),
            ("guarded", _guarded(tree)),
            ("made", _made(tree)),
            ("reseeded", _reseeded(tree)),
            ("cuts", _cuts(tree)),
            ("resplit", _resplit(tree)),
            *slips.facts(tree).items(),
            *vain.facts(tree).items(),
            *compared.facts(tree).items(),
        ):
            found.setdefault(kind, []).extend({"file": file, **entry} for entry in entries)
    return found


def _read(trees: Any) -> set[str]:
    """Return every name that is read, called or named in a string somewhere."""
    names: set[str] = set()
    for tree in trees:
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                names.add(node.attr)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                names.add(f"name {node.id}")
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.add(f"text {node.value}")
            elif isinstance(node, ast.Call) and called(node) in ("lr_find", "LearningRateFinder", "scale_batch_size"):
                names |= {"lr", "learning_rate"}
    return names


def is_setting(name: str) -> bool:
    """Return whether an attribute or argument of that name is a setting of the training, as a rate or coefficient."""
    return name in _SETTINGS or bool(_COEFFICIENT.search(name))


def _unused(tree: ast.Module, read: set[str]) -> Iterator[dict[str, Any]]:
    """Yield settings that ``__init__`` keeps as attributes, or takes, and that nothing reads."""
    for cls in ast.walk(tree):
        if not isinstance(cls, ast.ClassDef):
            continue
        for method in cls.body:
            if not isinstance(method, Function) or method.name != "__init__":
                continue
            for node in ast.walk(method):
                if not isinstance(node, ast.Assign):
                    continue
                for target in node.targets:
                    if (
                        isinstance(target, ast.Attribute)
                        and ast.unparse(target) == f"self.{target.attr}"
                        and is_setting(target.attr)
                        and target.attr not in read
                        and f"text {target.attr}" not in read
                    ):
                        yield {"line": node.lineno, "name": target.attr, "class": cls.name, "kept": True}
            yield from _idle_arguments(cls, method, read)


def _idle_arguments(cls: ast.ClassDef, method: Any, read: set[str]) -> Iterator[dict[str, Any]]:
    used = {node.id for node in ast.walk(method) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    for argument in [*method.args.args[1:], *method.args.kwonlyargs]:
        name = argument.arg
        # save_hyperparameters makes attributes of hparams from the arguments.
        if is_setting(name) and name not in used and name not in read and f"text {name}" not in read:
            yield {"line": argument.lineno, "name": name, "class": cls.name, "kept": False}


def _uncalled(tree: ast.Module, read: set[str], hooks: Callable[[str], bool]) -> Iterator[dict[str, Any]]:
    """Yield methods that keep state up to date, of classes whose other methods run, and that nothing calls."""
    for cls in ast.walk(tree):
        if not isinstance(cls, ast.ClassDef):
            continue
        bases = " ".join(ast.unparse(base) for base in cls.bases)
        words = [word for kind, keeping in _KEEPING.items() if kind in bases for word in keeping]
        for method in cls.body:
            if (
                isinstance(method, Function)
                and not method.decorator_list
                and any(method.name == word or method.name.startswith(f"{word}_") for word in words)
                and method.name not in read
                and f"text {method.name}" not in read
                and not hooks(method.name)
            ):
                yield {"line": method.lineno, "name": method.name, "class": cls.name}


def _unordered(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield where positions are taken from a set, whose order for strings is another one in each process."""
    sets: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and _is_unordered(node.value):
            sets.update({ast.unparse(target): node.lineno for target in node.targets})
    assigned = [
        ast.unparse(target) for node in ast.walk(tree) if isinstance(node, ast.Assign) for target in node.targets
    ]
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = called(node)
        taken = node.args[0] if name == "enumerate" and node.args else None
        if name == "index" and isinstance(node.func, ast.Attribute):
            taken = node.func.value
        if taken is None:
            continue
        text = ast.unparse(taken)
        if _is_unordered(taken) or (text in sets and assigned.count(text) == 1 and not _sorted_in_place(tree, text)):
            yield {"line": sets.get(text, node.lineno), "name": text, "how": name, "used": node.lineno}
            return


def _is_unordered(node: ast.expr) -> bool:
    """Return whether this is a set, or a list or tuple of one."""
    if isinstance(node, (ast.Set, ast.SetComp)):
        return True
    if not isinstance(node, ast.Call):
        return False
    if called(node) in ("list", "tuple") and isinstance(node.func, ast.Name) and len(node.args) == 1:
        return _is_unordered(node.args[0])
    return called(node) == "set" and isinstance(node.func, ast.Name) and bool(node.args)


def _sorted_in_place(tree: ast.Module, text: str) -> bool:
    return any(
        isinstance(node, ast.Call)
        and called(node) == "sort"
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == text
        for node in ast.walk(tree)
    )


def _counts(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield assignments to the counts of Lightning's loops."""
    for node in ast.walk(tree):
        if not isinstance(node, (ast.Assign, ast.AugAssign)):
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if not isinstance(target, ast.Attribute):
                continue
            parts = ast.unparse(target).split(".")
            of_trainer = "trainer" in parts[:-1] and parts[-1] in _OF_TRAINERS - {"should_stop"}
            if of_trainer or (set(parts) & _COUNTS and ("fit_loop" in parts or "epoch_loop" in parts)):
                yield {"line": node.lineno, "name": ".".join(parts)}


def _guarded(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield loads of weights whose exceptions are caught and not raised again."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Try):
            continue
        loads = [
            inner.lineno
            for one in node.body
            for inner in ast.walk(one)
            if isinstance(inner, ast.Call) and called(inner) in _LOADS
        ]
        for handler in node.handlers:
            again = any(isinstance(inner, ast.Raise) or _loads_otherwise(inner) for inner in ast.walk(handler))
            if loads and not again:
                kind = f"except {ast.unparse(handler.type)}" if handler.type is not None else "except"
                yield {"line": loads[0], "handler": handler.lineno, "how": kind, "lines": loads}
                break


def _made(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield schedulers, callbacks and samplers that a function or the file makes and then never names again."""
    for scope in (tree, *(node for node in ast.walk(tree) if isinstance(node, Function))):
        within = list(ast.walk(scope))
        if scope is tree and not any(isinstance(node, ast.Call) and called(node) == "fit" for node in within):
            continue  # another file may import what this one makes
        read = {node.id for node in within if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
        for node in scope.body:
            if not (isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and len(node.targets) == 1):
                continue
            target, cls = node.targets[0], called(node.value)
            if (
                isinstance(target, ast.Name)
                and target.id not in read
                and cls[:1].isupper()
                and cls.endswith(_PASSED_ON)
            ):
                yield {"line": node.lineno, "name": target.id, "class": cls, "in": getattr(scope, "name", "")}


def _reseeded(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield where a method that runs again and again sets a generator to the same seed each time."""
    for method in ast.walk(tree):
        if isinstance(method, Function) and method.name in _AGAIN_AND_AGAIN:
            for node in ast.walk(method):
                if (
                    isinstance(node, ast.Call)
                    and ast.unparse(node.func) in _SEEDS
                    and all(isinstance(one, ast.Constant) or ast.unparse(one).startswith("self.") for one in node.args)
                ):
                    yield {"line": node.lineno, "name": ast.unparse(node.func), "in": method.name}


def _cuts(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield what cuts gradients off in the forward passes of layers."""
    for cls in ast.walk(tree):
        for method in cls.body if isinstance(cls, ast.ClassDef) else ():
            if isinstance(method, Function) and method.name in ("forward", "encode", "decode", "embed", "extract"):
                yield from cuts(method)


def _resplit(tree: ast.Module) -> Iterator[dict[str, Any]]:
    """Yield random splits in ``setup`` that are made again for each stage, where something is tested afterwards."""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    tested = any(called(node) in ("test", "validate", "predict") and "trainer" in ast.unparse(node.func).lower()
                 for node in calls)  # fmt: skip
    if not tested or any(called(node) == "seed_everything" for node in calls):
        return
    for method in ast.walk(tree):
        if not isinstance(method, Function) or method.name != "setup":
            continue
        text = ast.unparse(method)
        for node in ast.walk(method):
            if isinstance(node, ast.Call) and called(node) in ("random_split", "train_test_split"):
                fixed = {word.arg for word in node.keywords} & {"generator", "random_state"} or len(node.args) > 2
                if (
                    not fixed
                    and "stage ==" not in text
                    and "stage in" not in text
                    and " is None" not in text.replace("stage is None", "")
                    and "if not " not in text
                    and "hasattr" not in text
                ):
                    yield {"line": node.lineno, "name": called(node)}


def _loads_otherwise(node: ast.AST) -> bool:
    """Return whether a handler tries to load in another way."""
    return isinstance(node, ast.Call) and ("load" in called(node) or "exit" in called(node))
