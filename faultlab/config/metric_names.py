"""The metric that a scenario measures harm by: whether the source that reports it spells it alike."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from difflib import get_close_matches
from pathlib import Path

from faultlab.config import module_lookup, named_files
from faultlab.config.scenario import Scenario, import_path
from faultlab.errors import Problem

_ALIKE = 0.85
"""How similar a name must be to be the one that was meant: one letter of six may differ."""
_HOLES = re.compile(r"%[-#0 +]*\d*(?:\.\d+)?[a-z]|\{[^{}]*\}")
_NAMED_ELSEWHERE = {"transformers", "trl", "sentence_transformers", "skorch", "ignite", "torchmetrics"}
"""Packages that make up names of metrics."""


def check(scenario: Scenario) -> list[Problem]:
    """Return an error if the metric's name is in no source of the target, and one that is almost the same is."""
    if scenario.monitor is None:
        return []
    metric, trees = scenario.monitor.metric, list(_sources(scenario))
    if not trees or any(_imports(tree) & _NAMED_ELSEWHERE for tree in trees):
        return []
    words, patterns = _words(trees)
    pattern = (scenario.metrics.model_dump() if scenario.metrics else {}).get("stdout")
    words |= set(re.compile(pattern).groupindex) if pattern else set()
    if metric in words or any(re.fullmatch(one, metric) for one in patterns):
        return []
    close = get_close_matches(metric, words, n=1, cutoff=_ALIKE)
    if not close:
        return []
    message = f"no metric of this name is in your code: {metric!r}"
    return scenario.problem(("monitor", "metric"), message, f"Did you mean {close[0]!r}?").problems


def _sources(scenario: Scenario) -> Iterator[ast.Module]:
    path = import_path(scenario.file)
    for key in ("module", "build", "train", "evaluate"):
        if (entry := getattr(scenario, key)) is None:
            continue
        if isinstance(script := entry.init_args.get("script"), str):
            if (file := named_files.find(script, path)) is not None and (tree := _tree(file)) is not None:
                yield from _with_imported(tree, path)
        elif (tree := module_lookup.source(entry.class_path.rpartition(".")[0], path)) is not None:
            yield from _with_imported(tree, path)


def _with_imported(tree: ast.Module, path: Sequence[str]) -> Iterator[ast.Module]:
    """Yield a source, and those of the modules beside it that it imports."""
    yield tree
    near = set(module_lookup.siblings("", path)) if path else set()
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [node.module]
        for name in names:
            if name.partition(".")[0] in near and (other := module_lookup.source(name, path)) is not None:
                yield other


def _tree(file: Path) -> ast.Module | None:
    try:
        return ast.parse(file.read_bytes())
    except (OSError, SyntaxError, ValueError):
        return None


def _imports(tree: ast.Module) -> set[str]:
    imported = {a.name.partition(".")[0] for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    return imported | {n.module.partition(".")[0] for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}


def _words(trees: Sequence[ast.Module]) -> tuple[set[str], list[str]]:
    """Return the names in some sources, and patterns of those that are made up when they run."""
    words: set[str] = set()
    patterns: list[str] = []
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 80:
            words.add(node.value)
            if _HOLES.search(node.value):
                patterns.append(".*".join(map(re.escape, _HOLES.split(node.value))))
        elif isinstance(node, ast.Name):
            words.add(node.id)
        elif isinstance(node, ast.keyword) and node.arg:
            words.add(node.arg)
        elif isinstance(node, ast.JoinedStr):
            parts = (re.escape(str(one.value)) if isinstance(one, ast.Constant) else ".*" for one in node.values)
            patterns.append("".join(parts))
        elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            sides = [one.value if isinstance(one, ast.Constant) else None for one in (node.left, node.right)]
            if any(isinstance(side, str) and side for side in sides):
                patterns.append("".join(re.escape(side) if isinstance(side, str) else ".*" for side in sides))
    return words, patterns
