"""The rules of the house: layers, and who may import what."""

from __future__ import annotations

import ast
import itertools
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from faultlab.report.docs import module_pages
from tests import warm

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "faultlab"

# Top first. A package may import those below its own row, itself, and the packages that stand alone.
LAYERS = (
    {"__main__"},
    {"cli", "pytest_plugin"},
    {"api", "testing"},
    {"mutants", "doctor"},
    {"discovery"},
    {"campaign"},
    {"engines"},
    {"worker"},
    {"injectors", "detectors"},
    {"targets", "report"},
    {"frameworks", "gate"},
    {"config", "injection"},
    {"sandbox", "ranks"},
    {"catalogue"},
    {"core"},
    {"errors"},
)
# Users import it alone, so it imports nothing else of faultlab; and whoever needs a guard may import it.
ALONE = "guards"
ROOT_FILES = {"__init__", "__main__", "api", "errors", "pytest_plugin"}

DRIVER = ("core", "catalogue", "config", "gate", "report", "campaign", "cli", "errors")
VICTIM = (
    "core",
    "catalogue",
    "injection",
    "sandbox",
    "ranks",
    "frameworks",
    "injectors",
    "detectors",
    "targets",
    "worker",
    "guards",
)
HEAVY = ("click", "rich", "pydantic", "jinja2")
LIGHTNING = ("pytorch_lightning", "lightning", "lightning_fabric")
# Only commands and tests need these; a training with guards must not pay for them.
NOT_FOR_GUARDS = ("pytest", "_pytest", "mutmut", *HEAVY)


class Import(NamedTuple):
    """One module imported by another; both by dotted names below faultlab, or the other's own name."""

    by: str
    what: str
    own: bool


def dotted(file: Path) -> str:
    parts = file.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


@cache
def modules() -> dict[str, Path]:
    return {dotted(file): file for file in sorted(PACKAGE.rglob("*.py"))}


def home(module: str) -> str:
    return module.partition(".")[0]


def _named(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


@cache
def imports() -> tuple[Import, ...]:
    """All imports, those within functions and for type checkers too."""
    found = []
    for by, file in modules().items():
        for name in _named(ast.parse(file.read_text(encoding="utf-8"))):
            top, _, rest = name.partition(".")
            if top != "faultlab":
                found.append(Import(by, name, own=False))
                continue
            while rest not in modules() and rest:
                rest = rest.rpartition(".")[0]
            found.append(Import(by, rest or "__init__", own=True))
    return tuple(found)


def _level(package: str) -> int:
    return next(len(LAYERS) - row for row, layer in enumerate(LAYERS) if package in layer)


def test_every_package_stands_in_a_layer() -> None:
    assert {home(module) for module in modules()} == {*set().union(*LAYERS), ALONE, "__init__"}


def test_imports_go_down_the_layers() -> None:
    wrong = set()
    for found in imports():
        by, what = home(found.by), home(found.what)
        if not found.own or by in (what, "__init__") or (what == ALONE and by in set().union(*LAYERS)):
            continue
        if by == ALONE or what == "__init__" or _level(by) <= _level(what):
            wrong.add((found.by, found.what))
    assert wrong == set()


def test_what_the_driver_runs_imports_neither_torch_nor_lightning() -> None:
    heavy = {
        (found.by, found.what)
        for found in imports()
        if home(found.by) in DRIVER and not found.own and home(found.what) in ("torch", *LIGHTNING)
    }
    assert {by for by, _ in heavy} <= {"cli.demo.model"}, "only the model of the demo, which a victim imports"


def test_lightning_is_imported_where_its_hooks_are_and_nowhere_else() -> None:
    for found in imports():
        if not found.own and home(found.what) in LIGHTNING:
            assert found.by.startswith(("frameworks.lightning", "guards", "cli.demo.model")), found


def test_the_trainer_of_transformers_is_imported_where_its_loop_is_followed_and_nowhere_else() -> None:
    named = {found.by for found in imports() if not found.own and home(found.what) in ("transformers", "accelerate")}
    assert named == {"frameworks.hf.loop", "frameworks.hf.solitude"}


def test_injectors_name_no_framework_and_attach_nothing() -> None:
    named = {found.what for found in imports() if home(found.by) == "injectors" and home(found.what) == "frameworks"}
    assert [what for what in named if not what.startswith("frameworks.torch.") or "seams" in what] == []
    assert not any(found.by.startswith("injectors.") and found.what == "injection.hooks" for found in imports())


def test_what_runs_in_a_victim_imports_none_of_the_drivers_libraries() -> None:
    assert [found for found in imports() if home(found.by) in VICTIM and home(found.what) in HEAVY] == []


def test_guards_need_nothing_but_torch_numpy_and_lightning() -> None:
    foreign = {home(found.what) for found in imports() if home(found.by) == ALONE and not found.own}
    assert foreign - sys.stdlib_module_names <= {"torch", "numpy", *LIGHTNING}


def test_importing_the_guards_imports_no_library_of_commands_or_tests() -> None:
    code = f"""
import json, sys
import pytorch_lightning
def imported():
    return [name for name in sys.modules if name.partition(".")[0] in {NOT_FOR_GUARDS}]
before = imported()
for name in before:
    del sys.modules[name]
from faultlab import guards
print(json.dumps([before, imported()]))
"""
    # A fresh interpreter, since copies of a warm one have imported all these.
    with warm.FRESH([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        by_lightning, by_guards = json.loads(process.communicate()[0])
    assert by_guards == []
    assert {home(name) for name in by_lightning} <= {"rich"}, "Lightning itself imports rich where it is installed"


def test_core_rests_on_the_standard_library_alone() -> None:
    foreign = {home(found.what) for found in imports() if home(found.by) == "core" and not found.own}
    assert foreign <= sys.stdlib_module_names


def test_what_faults_are_made_of_does_not_know_the_guards() -> None:
    for module, file in modules().items():
        if home(module) in ("core", "injection", "ranks", "sandbox"):
            named = [text for text in _strings_and_attributes(file) if text.startswith("faultlab.guards")]
            assert named == [], module


def test_texts_become_faults_in_one_module() -> None:
    reading = {
        module
        for module, file in modules().items()
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and ast.unparse(node) == "Fault.parse"
    }
    assert reading == {"config.fault_patterns"}


def test_pytests_private_names_stand_in_one_file() -> None:
    private = r"\b_pytest\.|\b(_fixtureinfo|_setupstate|_initrequest|_pyfuncitem|_global_capturing|_basetemp)\b"
    poking = {name for name, file in modules().items() if re.search(private, file.read_text(encoding="utf-8"))}
    assert poking == {"testing.pytest_internals"}


# Whose each is: of the guards' own view, of what a profile shows, and of what mutated classes need in a victim.
_PRIVATE = {"guards.support.trainer_view", "core.packages", "injection.init_arguments"}
_OTHERS = {"_getframe", "_get_iterator", "_update_count"}


def _strings_and_attributes(file: Path) -> Iterator[str]:
    """Yield strings, and the attributes of others than the object or class itself."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) not in ("self", "cls", "super()"):
            yield node.attr


def test_lightnings_private_names_stand_in_one_file() -> None:
    private = r"_{1,2}[a-z]\w*[a-z]|(trainer|loops|core|strategies|utilities)[a-z_.]*:\w+"
    home = "frameworks.lightning.private_api"
    names = {name for name in _strings_and_attributes(modules()[home]) if re.fullmatch(private, name)}
    assert len(names) > 40
    for module, file in modules().items():
        used = {name for name in _strings_and_attributes(file) if re.fullmatch(private, name)}
        if module != home and module not in _PRIVATE:
            of_lightning = module.startswith("frameworks.lightning")
            assert {name for name in used if name in names or of_lightning} <= _OTHERS, module


def test_five_files_lie_at_the_root() -> None:
    assert {file.stem for file in PACKAGE.glob("*.py")} == ROOT_FILES


@pytest.mark.parametrize("package", sorted({file.parent for file in PACKAGE.rglob("*.py")}), ids=lambda p: p.name)
def test_a_package_says_in_a_sentence_what_lives_there_and_what_it_may_not_import(package: Path) -> None:
    told = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
    assert re.match(r"\S.*\.$", told, re.MULTILINE), package
    assert re.search(r"\bimports?\b", told, re.IGNORECASE), package


def test_the_first_line_of_a_module_stands_by_itself() -> None:
    # The table of modules ends it there.
    lines = {name: module_pages.first_line(file) for name, file in modules().items()}
    assert {name: line for name, line in lines.items() if not re.fullmatch(r"\S.*[.?]", line)} == {}


def test_the_picture_in_the_design_shows_these_layers() -> None:
    design = (ROOT / "docs" / "DESIGN.md").read_text(encoding="utf-8")
    picture = design.partition("```mermaid\n")[2].partition("```")[0]
    labels: dict[str, str] = {}
    arrows: dict[str, str] = {}
    for line in picture.partition("flowchart TB\n")[2].splitlines():
        nodes = re.findall(r'(\w+)(?:\(?\["(.*?)"\]\)?)?(?: -->|$)', line)
        for (above, _), (below, _) in itertools.pairwise(nodes):
            assert arrows.setdefault(above, below) == below, "each row stands on one other"
        labels |= {node: label.partition("<br/>")[0] or labels.get(node, node) for node, label in nodes}
    rows = [next(node for node in arrows if node not in arrows.values())]
    while rows[-1] in arrows:
        rows.append(arrows[rows[-1]])
    assert [{*labels[row].split(" · ")} for row in rows] == list(LAYERS)
    assert labels.keys() - rows == {ALONE}
