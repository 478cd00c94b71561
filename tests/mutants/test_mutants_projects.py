"""``faultlab mutate`` on projects whose tests and modules are not of the simplest kind."""

from __future__ import annotations

from pathlib import Path

from tests.generated_mutants import project
from tests.mutants import commands


@commands.MORE
def test_neither_chance_nor_coverage_kills_in_a_fresh_process(tmp_path: Path) -> None:
    source = 'def unit(name):\n    return name.lower()\n\n\nUNIT = unit("Slope")\n'
    tests = "import random\nimport model\n\ndef test_it():\n    assert model.UNIT and random.random() > 0.8\n"
    settings = '[tool.pytest.ini_options]\naddopts = "--cov=model --cov-fail-under=100"\n'
    project(tmp_path, {"pyproject.toml": settings, "model.py": source, "test_model.py": tests})
    found = commands.mutate(tmp_path, "model.py", "--json").report["faults"]
    assert [f["status"] for f in found if f["mutant"]["after"] == "upper"] == ["silent"]


@commands.MORE
def test_a_test_that_is_known_to_fail_kills_what_makes_it_pass_and_recursion_goes_as_deep(tmp_path: Path) -> None:
    source = "def after(x):\n    return x + 1\n\n\ndef depth(n):\n    return depth(n - 1) if n else 0\n"
    tests = "import pytest\nfrom model import after, depth\n\ndef test_deep():\n    assert depth(700) == 0\n"
    tests += "@pytest.mark.xfail(strict=True)\ndef test_known():\n    assert after(1) == 0\n"
    project(tmp_path, {"pyproject.toml": "", "model.py": source, "test_model.py": tests})
    done = commands.mutate(tmp_path, "model.py", "--json")
    assert (done.status, done.report["baseline"]["false_alarms"]) == (0, [])
    found = {(f["mutant"]["before"], f["mutant"]["after"]): f for f in done.report["faults"]}
    assert [by["name"] for by in found["+", "-"]["detected_by"]] == ["test_model.py::test_known"]
    assert found["1", "2"]["status"] == "silent"


@commands.MORE
def test_what_one_mutant_leaves_in_the_working_folder_no_other_finds(tmp_path: Path) -> None:
    source = "def saved(x):\n    return x * 2 + 1\n\n\ndef kept(x):\n    return x * 2 + 1\n\n\nKEPT = kept(1)\n"
    tests = (
        "import os\nimport model\n\ndef test_it():\n    assert os.path.exists('data/a.csv') and not os.path.exists('x')"
    )
    tests += "\n    open('x', 'w').close()\n    model.saved(1)\n"
    project(tmp_path, {"pyproject.toml": "", "model.py": source, "test_model.py": tests, "data/a.csv": ""})
    done = commands.mutate(tmp_path, "model.py", "--json", "--jobs=2")
    assert done.report["baseline"]["false_alarms"] == []
    silent = {f["mutant"]["function"] for f in done.report["faults"] if f["status"] == "silent"}
    assert silent == {"saved", "kept"}
    assert {f["status"] for f in done.report["faults"]} == {"silent"}


@commands.MORE
def test_a_file_that_is_imported_under_two_names_is_mutated_in_both(tmp_path: Path) -> None:
    source = "def after(x):\n    return x + 1\n\n\ndef before(x):\n    return x - 1\n"
    tests = (
        "import pathlib, sys\nfrom pkg.model import before\nsys.path.append(str(pathlib.Path(__file__).parent / 'pkg'))"
    )
    tests += "\nimport model\n\ndef test_one():\n    assert before(3) == 2\n"
    tests += "def test_other():\n    assert model.after(3) == 4\n"
    files = {"pyproject.toml": "", "pkg/__init__.py": "", "pkg/model.py": source, "test_model.py": tests}
    done = commands.mutate(project(tmp_path, files), "pkg/model.py", "--json")
    assert set(done.verdicts.values()) == {"detected"}


@commands.MORE
def test_functions_that_mutmut_does_not_reach_are_told_beside_the_score(tmp_path: Path) -> None:
    hidden = "def seen(x):\n    return x + 1\n\n\nif True:\n    def unseen(x):\n        return x - 1\n\n\n"
    hidden += "class Outer:\n    class Inner:\n        def method(self):\n            return 3\n"
    tests = "from hidden import seen\n\ndef test_it():\n    assert seen(3) == 4\n"
    root = project(tmp_path, {"pyproject.toml": "", "hidden.py": hidden, "test_hidden.py": tests})
    done = commands.mutate(root, "hidden.py", "--jobs=2")
    unseen = "hidden.py:6 unseen: it is under `if`, where mutmut does not look"
    inner = "hidden.py:12 Outer.Inner.method: it is in a class of a class, where mutmut does not look"
    assert f"not mutated {unseen}" in done.out
    assert f"not mutated {inner}" in done.out
    assert "mutation score 1.000 of 2 mutants (2 functions out of mutmut's reach): 2 killed" in done.out
    # Of what was not asked for nothing is said.
    assert "out of mutmut's reach" not in commands.mutate(root, "hidden.py", "--function=seen").out
    page = next((root / "reports").glob("*/index.html")).read_text(encoding="utf-8")
    assert "Functions without a mutant (2)" in page
    none = commands.mutate(root, "hidden.py", "--function=unseen")
    assert (none.status, unseen in none.err) == (2, True)


SCRIPT = """\
import pytorch_lightning as pl
import torch
from parts import loader


class Lit(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, index):
        return self.layer(batch).square().mean()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Watch(pl.Callback):
    def on_train_end(self, trainer, pl_module):
        assert trainer.global_step > 0


if __name__ == "__main__":
    pl.Trainer(max_epochs=1, callbacks=[Watch()]).fit(Lit(), loader())
"""
PARTS = """\
import torch


class Rows(torch.utils.data.Dataset):
    def __len__(self):
        return 8

    def __getitem__(self, index):
        return torch.ones(4)


def loader():
    return torch.utils.data.DataLoader(Rows(), batch_size=4)
"""


@commands.MORE
def test_a_scenario_around_a_script_has_the_scripts_code_and_what_it_makes_mutated(tmp_path: Path) -> None:
    scenario = "schema: 1\nname: s\nbuild: {class_path: faultlab.targets.script.build, init_args: {script: train.py}}\n"
    root = project(tmp_path, {"pyproject.toml": "", "train.py": SCRIPT, "parts.py": PARTS, "s.yaml": scenario})
    asked = ["--function=Rows.__len__", "--function=Lit.training_step", "--function=Watch.*"]
    done = commands.mutate(root, "s.yaml", "--json", "--no-advice", *asked)
    assert done.report["mutants"]["files"] == ["train.py", "parts.py"]
    found = {(f["mutant"]["function"], f["status"]) for f in done.report["faults"]}
    # A guard's own code is not equivalent because the training is the same.
    assert ("Watch.on_train_end", "silent") in found, found
    assert ("Watch.on_train_end", "no_effect") not in found
    assert {function for function, _ in found} == {"Rows.__len__", "Lit.training_step", "Watch.on_train_end"}
    assert ("Lit.training_step", "detected") in found
