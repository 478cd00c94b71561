"""``save_hyperparameters()`` in mutated classes finds what it finds in the user's, in each of Lightning's packages."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.generated_mutants import generated

ROOT = Path(__file__).parents[2]
PACKAGES = {"pytorch_lightning": "pytorch_lightning", "lightning": "lightning.pytorch"}

CODE = '''\
from argparse import Namespace

import {package} as pl
from {package}.core.mixins.hparams_mixin import HyperparametersMixin


class Plain(pl.LightningModule):
    def __init__(self, a, b=2, *, c=3):
        super().__init__()
        self.save_hyperparameters()
        self.sum = a + b


class Data(pl.LightningDataModule):
    def __init__(self, a, b=2):
        super().__init__()
        self.save_hyperparameters(logger=False)
        self.sum = a + b


class Mixed(HyperparametersMixin):
    def __init__(self, a, b=2):
        super().__init__()
        x = a + 1
        self.save_hyperparameters()


class Ignoring(pl.LightningModule):
    def __init__(self, a, b=2, net=None):
        super().__init__()
        self.save_hyperparameters(ignore=["net"])
        self.net = net or 3


class IgnoringOne(pl.LightningModule):
    def __init__(self, a, b=2, net=None):
        super().__init__()
        self.save_hyperparameters(ignore="net")
        self.net = net or 3


class Naming(pl.LightningModule):
    def __init__(self, a, b=2, net=None):
        super().__init__()
        self.save_hyperparameters("a", "b")
        self.net = net or 3


class Given(pl.LightningModule):
    def __init__(self, a, b=2):
        super().__init__()
        self.save_hyperparameters({{"d": a + 1}})


class Spaced(pl.LightningModule):
    def __init__(self, hparams):
        super().__init__()
        x = 1
        self.save_hyperparameters(hparams)


class Open(pl.LightningModule):
    def __init__(self, a, *args, b=2, **kwargs):
        super().__init__()
        self.rest = len(args) + 1
        self.save_hyperparameters()


class Changing(pl.LightningModule):
    def __init__(self, a, b=2):
        super().__init__()
        a = a + 1
        local = 3
        self.save_hyperparameters()


class Myself(pl.LightningModule):
    def __init__(this, a, b=2):
        super().__init__()
        this.save_hyperparameters()
        this.sum = a + b


class Base(pl.LightningModule):
    def __init__(self, a, b=2):
        super().__init__()
        self.save_hyperparameters()
        self.sum = a + b


class Child(Base):
    def __init__(self, a, extra=5):
        super().__init__(a + 1, b=7)
        self.extra = extra + 1


class Saving(Base):
    def __init__(self, a, extra=5, **more):
        super().__init__(a + 1)
        self.save_hyperparameters()
        self.extra = extra + 1


class First(Base):
    def __init__(self, a, extra=5):
        self.early = extra + 1
        super().__init__(a)
        self.save_hyperparameters(ignore=["extra"])


class Inheriting(Base):
    pass


class Passing(Base):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class Grandchild(Saving):
    def __init__(self, a=1, z=9):
        super().__init__(a, extra=z + 1, y=4)


class ByHelper(pl.LightningModule):
    def __init__(self, a, b=2):
        super().__init__()
        self.set_up(a + b)

    def set_up(self, total):
        self.save_hyperparameters({{"total": total + 1}})


class Making(pl.LightningModule):
    def __init__(self, a, b=2):
        super().__init__()
        self.inner = Plain(a + 1)
        self.save_hyperparameters()


class Made:
    """Not Lightning's, and makes one."""

    def __init__(self, a, b=2):
        self.x = 1
        self.hparams = Plain(a, c=b + 1).hparams


CASES = {{
    "positional": lambda: Plain(1, 5),
    "keywords": lambda: Plain(a=1, c=7),
    "data": lambda: Data(1, b=5),
    "mixed": lambda: Mixed(1),
    "ignoring": lambda: Ignoring(1, 5, net=[1]),
    "ignoring one": lambda: IgnoringOne(1, 5, [1]),
    "naming": lambda: Naming(1, net=[1]),
    "given": lambda: Given(1),
    "spaced": lambda: Spaced(Namespace(x=3, y=4)),
    "open": lambda: Open(1, 2, 3, b=4, z=5),
    "open, nothing given": lambda: Open(1),
    "changing": lambda: Changing(1),
    "myself": lambda: Myself(1),
    "child": lambda: Child(1, extra=6),
    "saving": lambda: Saving(1, 6, more_yet=7),
    "first": lambda: First(1),
    "inheriting": lambda: Inheriting(1, b=3),
    "passing": lambda: Passing(1, b=3),
    "grandchild": lambda: Grandchild(z=2),
    "by a helper": lambda: ByHelper(1),
    "making": lambda: Making(1),
    "made": lambda: Made(1),
}}
'''

TRIAL = """
import importlib.util, json, sys
from pathlib import Path
from faultlab.injection import mutant_activation

mutant_activation.install(mutant_activation.Executions(Path("ran")))
mutant_activation.switch_to("")

def load(name, file):
    spec = importlib.util.spec_from_file_location(name, file)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module

def hparams(module):
    return {name: dict(make().hparams) for name, make in module.CASES.items()}

found = {}
for package in sys.argv[2:]:
    clean = load(f"clean_{package}", Path(sys.argv[1], f"on_{package}.py"))
    mutated = load(f"on_{package}", f"on_{package}.py")
    entry = {"clean": hparams(clean), "mutated": hparams(mutated)}
    mutant_activation.switch_to(mutant_activation.STATS)
    entry["while noting"] = hparams(mutated)
    switched = {}
    for name in [name for name in vars(mutated.Changing) if "__init____mutmut_" in name and name[-1].isdigit()]:
        mutant_activation.switch_to(f"on_{package}.{name}")
        switched[name] = dict(mutated.Changing(1).hparams)
    mutant_activation.switch_to("")
    entry["switched"] = switched
    found[package] = entry
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("init")
    sources = {f"on_{name}.py": CODE.format(package=package) for name, package in PACKAGES.items()}
    made, workspace = generated(folder, sources)
    assert {mutant.function.partition(".")[0] for mutant in made.mutants} >= {"Plain", "Data", "Mixed", "Grandchild"}
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    environment.pop("MUTANT_UNDER_TEST", None)
    ran = warm.run(["-c", TRIAL, workspace.root, *PACKAGES], cwd=workspace.tree, env=environment)
    assert ran.returncode == 0, ran.stderr
    read: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return read


@pytest.mark.parametrize("package", PACKAGES)
def test_a_mutated_class_has_the_hyperparameters_of_the_users(package: str, found: dict[str, Any]) -> None:
    clean = found[package]["clean"]
    assert clean["positional"] == {"a": 1, "b": 5, "c": 3}
    assert clean["grandchild"] == {"a": 1, "b": 2, "extra": 3, "y": 4, "z": 2}
    assert found[package]["mutated"] == clean


@pytest.mark.parametrize("package", PACKAGES)
def test_so_it_has_while_what_runs_is_noted(package: str, found: dict[str, Any]) -> None:
    assert found[package]["while noting"] == found[package]["clean"]


@pytest.mark.parametrize("package", PACKAGES)
def test_a_mutant_of_the_constructor_has_what_its_own_code_saves(package: str, found: dict[str, Any]) -> None:
    by_mutant = found[package]["switched"]
    saved = [(hparams["a"], hparams["b"]) for _, hparams in sorted(by_mutant.items())]
    # b=3 in the signature, a = None, a - 1, a + 2, and two of what is not saved.
    assert saved == [(2, 3), (None, 2), (0, 2), (3, 2), (2, 2), (2, 2)]
