"""Which mutants are asked for: files, functions, what has changed since a commit, and shares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import faultlab
from faultlab.config.scenario import Scenario, load
from faultlab.core.shard import Shard
from faultlab.errors import ScenarioError, UsageError
from faultlab.mutants.mutant import Mutant
from faultlab.mutants.scope import (
    JUDGES_MARK,
    Built,
    GuardCode,
    changed_since,
    check_judges,
    chosen,
    files_at,
    guards_code,
    sources_of,
)
from tests.generated_mutants import project

ROOT = Path(__file__).parents[2]


def _mutant(function: str, file: str = "a.py", number: int = 1) -> Mutant:
    return Mutant(f"a.x_{function}__mutmut_{number}", file, function, "number", 1, 1, 1, 2, "1", "2", "", "d")


def _git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


def _committed(root: Path, files: dict[str, str | bytes]) -> Path:
    project(root, files)
    _git(root, "init", "--quiet")
    _git(root, "add", "--all")
    _git(root, "commit", "--quiet", "--message=first")
    return root


TWO = "def f(x):\n    return x\n\n\ndef g(x):\n    return x\n"


def test_only_functions_that_are_not_as_they_were_have_changed(tmp_path: Path) -> None:
    root = _committed(tmp_path, {"a.py": TWO, "b.py": TWO, "old.py": TWO, "broken.py": "def f(:\n"})
    (root / "old.py").rename(root / "renamed.py")
    project(root, {"a.py": "import os\n\n" + TWO.replace("x\n\n", "x + 1\n\n"), "new.py": TWO, "broken.py": TWO})
    assert changed_since("HEAD", root, ["a.py", "b.py", "new.py", "renamed.py", "broken.py"]) == {
        "a.py": {"f"},
        "b.py": set(),
        "new.py": {"f", "g"},
        "renamed.py": {"f", "g"},
        "broken.py": {"f", "g"},
    }


def test_a_changed_decorator_and_a_second_definition_are_changes(tmp_path: Path) -> None:
    cls = "class A:\n    {}\n    def f(x):\n        return x\n\n    def g(x):\n        return x\n"
    root = _committed(tmp_path, {"a.py": cls.format("@staticmethod"), "b.py": TWO})
    project(root, {"a.py": cls.format("@classmethod"), "b.py": TWO + "\n\ndef g(x):\n    return 1\n"})
    assert changed_since("HEAD", root, ["a.py", "b.py"]) == {"a.py": {"A.f"}, "b.py": {"g"}}


def test_line_ends_and_marks_of_other_systems_are_no_changes(tmp_path: Path) -> None:
    windows, marked = TWO.replace("\n", "\r\n"), b"\xef\xbb\xbf" + TWO.encode()
    root = _committed(tmp_path, {"a.py": TWO, "b.py": TWO, "c.py": windows, "d.py": marked, "e.py": windows})
    project(root, {"a.py": marked, "b.py": windows, "c.py": TWO, "d.py": TWO})
    files = ["a.py", "b.py", "c.py", "d.py", "e.py"]
    assert changed_since("HEAD", root, files) == {file: set() for file in files}


def test_a_project_below_the_top_of_its_repository_is_compared_with_itself(tmp_path: Path) -> None:
    root = _committed(tmp_path, {"inner/a.py": TWO, "a.py": "x = 1\n"}) / "inner"
    assert changed_since("HEAD", root, ["a.py"]) == {"a.py": set()}


@pytest.mark.parametrize("ref", ["nowhere", "--help", "HEAD~7", "HEAD:a.py"])
def test_a_commit_that_git_does_not_know_is_told(ref: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=f"--since {ref}: unknown commit; name a commit"):
        changed_since(ref, _committed(tmp_path, {"a.py": TWO}), ["a.py"])


def test_without_a_repository_nothing_can_be_compared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(UsageError, match="is not in a git repository"):
        changed_since("HEAD", project(tmp_path, {"a.py": TWO}), ["a.py"])


def test_without_git_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="git is not installed"):
        changed_since("HEAD", tmp_path, [])


@given(st.integers(1, 9), st.integers(0, 40))
def test_shards_hold_every_mutant_once(of: int, count: int) -> None:
    mutants = [_mutant("f", number=n) for n in range(count)]
    shares = [Shard.parse(f"{number}/{of}").share(mutants) for number in range(1, of + 1)]
    assert sorted((m for share in shares for m in share), key=mutants.index) == mutants
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(st.text(alphabet="0123456789/-+ ²٣k", max_size=6))
def test_what_is_no_shard_is_told_and_never_taken_for_one(text: str) -> None:
    numbers = [int(part) if part.isdecimal() else 0 for part in text.split("/")]
    if len(numbers) == 2 and 1 <= numbers[0] <= numbers[1]:
        assert Shard.parse(text) == Shard(*numbers)
    else:
        with pytest.raises(UsageError, match="expected k/n"):
            Shard.parse(text)


def test_a_share_says_which_it_is_and_the_whole_says_nothing() -> None:
    assert str(Shard.parse("2/4")) == "2/4"
    assert str(Shard()) == str(Shard.parse("1/1")) == ""


def test_functions_are_chosen_by_globs_and_by_what_has_changed() -> None:
    mutants = [_mutant("f"), _mutant("A.g"), _mutant("A.h", "b.py"), _mutant("B.g")]
    assert chosen(mutants, ["*"], None) == mutants
    assert chosen(mutants, ["A.*", "f"], None) == mutants[:3]
    assert chosen(mutants, ["*.G"], None) == []
    assert chosen(mutants, ["*"], {"a.py": {"A.g", "A.h"}}) == [mutants[1]]
    assert chosen(mutants, ["*.g"], {"a.py": {"f", "B.g"}, "b.py": {"A.h"}}) == [mutants[3]]


def test_of_a_folder_its_python_files_are_mutated_and_no_tests(tmp_path: Path) -> None:
    kept = ["a.py", "b/c.py", "b/testing.py"]
    left = ["test_a.py", "b/c_test.py", "conftest.py", "tests/helper.py", "d.txt", ".venv/pyvenv.cfg", ".venv/e.py"]
    left += ["reports/p/mutants/work/a.py", "out/p/mutants/work/mutants/a.py", "build/lib/a.py"]
    root = project(tmp_path, dict.fromkeys([*kept, *left], ""))
    assert files_at([root]) == [root / name for name in kept]
    assert files_at([root / "b", root / "a.py", root / "a.py"]) == [
        root / "b/c.py",
        root / "b/testing.py",
        root / "a.py",
    ]
    assert files_at([root / "test_a.py"]) == [root / "test_a.py"]
    assert files_at([root / "build"]) == [root / "build/lib/a.py"]


@pytest.mark.parametrize(("path", "said"), [("no.py", "no such"), ("d.txt", "no such"), ("empty", "no Python file")])
def test_a_path_with_nothing_to_mutate_is_told(path: str, said: str, tmp_path: Path) -> None:
    project(tmp_path, {"d.txt": "", "empty/test_a.py": ""})
    with pytest.raises(UsageError, match=said):
        files_at([tmp_path / path])


CODE = {
    "src/pkg/__init__.py": "",
    "src/pkg/model.py": "class M: ...",
    "src/pkg/data/__init__.py": "class D: ...",
    "src/pkg/guards.py": "class G: ...",
    "top.py": "class G: ...",
}


def _scenario(root: Path, text: str) -> Scenario:
    project(root, {**CODE, "s.yaml": f"schema: 1\nname: s\n{text}"})
    return load(root / "s.yaml")


def test_a_scenario_means_the_files_of_its_module_its_data_and_its_guards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    guards = "guards: [{class_path: pkg.guards.G}, {class_path: top.G}, {class_path: pkg.model.M}, "
    guards += "{class_path: faultlab.guards.StepsTaken}, {class_path: pytorch_lightning.callbacks.EarlyStopping}, "
    guards += "{trainer_flag: {detect_anomaly: true}}]"
    scenario = _scenario(tmp_path, f"module: {{class_path: pkg.model.M}}\ndata: {{class_path: pkg.data.D}}\n{guards}\n")
    names = ["src/pkg/model.py", "src/pkg/data/__init__.py", "src/pkg/guards.py", "top.py"]
    assert sources_of(scenario, tmp_path.resolve(), Built()) == names
    assert guards_code(scenario, tmp_path.resolve(), Built()) == [GuardCode("src/pkg/guards.py"), GuardCode("top.py")]


def test_a_guard_beside_the_module_is_told_apart_from_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    scenario = _scenario(tmp_path, "module: {class_path: pkg.model.M}\nguards: [{class_path: pkg.model.G}]\n")
    (code,) = guards_code(scenario, tmp_path.resolve(), Built())
    file = "src/pkg/model.py"
    assert [code.holds(_mutant(name, file)) for name in ("G.on_fit_start", "M.forward", "Go.f")] == [True, False, False]
    assert not code.holds(_mutant("G.on_fit_start", "top.py"))
    source = "class M:\n    def f(self):\n        return {}\n\nclass G:\n    def g(self):\n        return {}\n"
    found = {}
    for change in ((1, 1), (2, 1), (1, 2)):
        project(tmp_path, {file: source.format(*change)})
        found[change] = code.digests(tmp_path)
    assert found[1, 1] == found[2, 1] != found[1, 2]


def test_a_scenario_that_builds_all_at_once_means_the_file_that_builds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scenario = _scenario(tmp_path, "build: {class_path: pkg.model.M}\n")
    assert sources_of(scenario, tmp_path.resolve(), Built()) == ["src/pkg/model.py"]


def test_what_a_factory_or_a_script_makes_is_the_scenarios_code_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    root = tmp_path.resolve()
    scenario = _scenario(tmp_path, "build: {class_path: faultlab.targets.script.build, init_args: {script: top.py}}\n")
    made = [f"{root}/src/pkg/model.py", str(torch.__file__), faultlab.__file__, f"{root}/top.py"]
    built = Built(made, [(f"{root}/src/pkg/guards.py", "G"), (f"{root}/top.py", "G"), (str(torch.__file__), "Tensor")])
    assert sources_of(scenario, root, built) == ["top.py", "src/pkg/model.py", "src/pkg/guards.py"]
    assert guards_code(scenario, root, built) == [GuardCode("src/pkg/guards.py"), GuardCode("top.py", "G.*")]


def test_a_scenario_of_somebody_elses_code_has_nothing_to_mutate(tmp_path: Path) -> None:
    scenario = _scenario(tmp_path, "module: {class_path: elsewhere.M}\n")
    with pytest.raises(ScenarioError, match=r"none of the scenario's code is in the project(.|\n)*Name the files"):
        sources_of(scenario, tmp_path.resolve(), Built())


def _judges() -> list[str]:
    """The files of faultlab that are marked as running around tests."""
    files = [file for file in sorted((ROOT / "faultlab").rglob("*.py")) if JUDGES_MARK in file.read_text().splitlines()]
    return [file.relative_to(ROOT).as_posix() for file in files]


def test_what_judges_is_not_mutated(tmp_path: Path) -> None:
    assert "faultlab/testing/mutating.py" in _judges()
    for name in _judges():
        with pytest.raises(UsageError, match=rf"{name}: it runs around each test(.|\n)*Name other files to mutate"):
            check_judges(["faultlab/core/fault.py", name], ROOT)
    check_judges(["faultlab/core/fault.py"], ROOT)
    (tmp_path / "model.py").write_text(f'WORDS = "{JUDGES_MARK}"\n')
    check_judges(["model.py"], tmp_path)


# Says which files of faultlab run in a copy between the switching on of a mutant and the copy's end.
TRACER = """
import os, sys
from pathlib import Path
from faultlab.testing import mutating

root, ran, switch_to, end = Path(mutating.__file__).parents[2], set(), mutating.switch_to, os._exit

def note(frame, event, argument):
    if event == "call" and frame.f_code.co_filename.startswith(str(root / "faultlab")):
        ran.add(frame.f_code.co_filename)

def switching(switch):
    switch_to(switch)
    if switch:
        sys.setprofile(note)

def ending(status):
    sys.setprofile(None)
    with open(os.environ["RAN"], "a") as file:
        file.writelines(f"{Path(one).relative_to(root).as_posix()}\\n" for one in sorted(ran))
    end(status)

mutating.switch_to, os._exit = switching, ending
"""
TRACED = """
import os, warnings
import pytest

@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")

def test_writes(shared):
    warnings.warn("odd")
    (shared / "file").write_text("x")
    open("here.txt", "w").close()
    assert "here.txt" in os.listdir()

def test_fails():
    assert [1] == [2]

def test_falls_over():
    None.backward()
"""


@pytest.mark.nightly(reason="it starts a pytest of its own, which imports torch")
def test_what_runs_around_a_test_while_a_mutant_is_on_is_marked(tmp_path: Path) -> None:
    (tmp_path / "tracer.py").write_text(TRACER)
    (tmp_path / "test_traced.py").write_text(TRACED)
    task = {"mutants": {}, "tree": str(tmp_path), "root": str(tmp_path), "report": str(tmp_path / "report")}
    (tmp_path / "task.json").write_text(json.dumps(task))
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    arguments = ["-p", "no:cacheprovider", "-p", "tracer", "--faultlab-mutants=task.json", "test_traced.py"]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": path, "RAN": str(tmp_path / "ran")},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (tmp_path / "ran").is_file(), done.stdout + done.stderr
    ran = set((tmp_path / "ran").read_text().split())
    assert {f"faultlab/testing/{name}.py" for name in ("test_runner", "failures", "mutating")} <= ran
    assert ran - set(_judges()) == set()
