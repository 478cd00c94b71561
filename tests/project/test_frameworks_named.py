"""The modules that name Lightning: those that must, and no more than there are."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache

import pytest

from tests.project.test_architecture import modules

# In code and in sentences for users together. May only shrink: lower it whenever the count is lower.
MOST = 41

_NAME = re.compile("lightning", re.IGNORECASE)
# The reports of a failure, such as "Owner/repository#12": they are cited like a docstring's links.
_CITED = re.compile(r"[\w.-]+/[\w.-]+(#\d+)?")

ALLOWED = {
    "frameworks.lightning": "it is Lightning's package",
    "guards": "they are callbacks of its Trainer, and read it through one view",
    "doctor": "it examines trainings by its Trainer, and explains its errors",
    "discovery": "it finds its modules, scripts and configs in the user's source",
    "core.framework_names": "scenarios name the framework, and what reads them imports none",
    "core.packages": "the names of installed packages are data, which every layer compares with",
    "targets.script": "scenarios name its functions by the path of this file",
    "cli.demo.model": "the model of the demo is one of its modules",
}


def _strings(tree: ast.AST) -> Iterator[str]:
    """Yield the strings that are neither docstrings nor the frameworks of a failure mode's declared effect."""
    left_out = {node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "effect" and isinstance(node.value, ast.Dict):
            left_out.update(key for key in node.value.keys if key is not None)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node not in left_out:
            yield node.value


def _identifiers(tree: ast.AST, module: str) -> Iterator[str]:
    """Yield what the code imports, defines and accesses by name."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            # A package names its own modules by their address.
            if not (within("frameworks.lightning", module) and f"{node.module}.".startswith("faultlab.")):
                yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Name):
            yield node.id
        elif isinstance(node, ast.Attribute):
            yield node.attr
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.arg, ast.keyword)):
            yield node.arg or ""


def within(package: str, module: str) -> bool:
    return f"{module}.".startswith(f"{package}.")


def names(source: str, module: str = "") -> tuple[bool, bool]:
    """Return whether code names Lightning, and whether a sentence for users does."""
    tree = ast.parse(source)
    strings = [text for text in _strings(tree) if _NAME.search(_CITED.sub("", text))]
    sentences = [text for text in strings if " " in text]
    identified = any(_NAME.search(name) for name in _identifiers(tree, module))
    return identified or len(strings) > len(sentences), bool(sentences)


@cache
def naming() -> list[str]:
    """Return the modules that name Lightning, in code or in a sentence for users."""
    return [module for module, file in modules().items() if any(names(file.read_text(encoding="utf-8"), module))]


def test_no_more_modules_name_lightning() -> None:
    packages = Counter(one.partition(".")[0] for one in naming())
    assert len(naming()) == MOST, ", ".join(f"{package} {count}" for package, count in packages.most_common())


def test_lightning_is_named_where_there_is_a_reason() -> None:
    assert [module for module in naming() if not any(within(package, module) for package in ALLOWED)] == []


@pytest.mark.parametrize("package", ALLOWED)
def test_there_is_no_reason_without_a_module(package: str) -> None:
    assert any(within(package, module) for module in naming())


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import lightning.pytorch", (True, False)),
        ("from pytorch_lightning import Trainer", (True, False)),
        ("is_lightnings(cls)", (True, False)),
        ("trainer.lightning_module", (True, False)),
        ("def fit(lightning): pass", (True, False)),
        ("make(lightning=1)", (True, False)),
        ("find('pytorch_lightning')", (True, False)),
        ("raise ValueError('expected a Trainer of Lightning')", (False, True)),
        ("'''Lightning's Trainer.'''\n# of Lightning", (False, False)),
        ("cause = 'Lightning-AI/pytorch-lightning#12'", (False, False)),
        ("failure_mode(effect={'lightning>=2.7': 'raises'})", (False, False)),
        ("failure_mode(other={'lightning': 'raises'})", (True, False)),
    ],
)
def test_names_are_found_in_code_and_in_sentences(source: str, expected: tuple[bool, bool]) -> None:
    assert names(source) == expected
