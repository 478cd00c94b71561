"""``faultlab mutate`` as a user meets it: what is wrong is told with the remedy, and what was done is never lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests import warm
from tests.generated_mutants import project

ROOT = Path(__file__).parents[2]
MORE = pytest.mark.nightly(reason="one more project, or the same again; the quick ring has the command on one")
MODEL = """\
def clipped(x, low=0, high=10):
    if x < low:
        return low
    return min(x, high)


def greeting(name):
    return "hello " + name  # faultlab: ignore[only shown]


def unused(x):
    return x + 1
"""
TESTS = """\
import time

from model import clipped, greeting

def test_a_low_number_is_raised():
    assert clipped(-5) == 0

def test_a_number_within_stays():
    time.sleep({seconds})
    assert clipped(3) == 3

def test_greeting():
    greeting("you")
"""
GUARDED = "schema: 1\nname: {}\nmodule: {{class_path: model.Model}}\n"


@dataclass(frozen=True)
class Done:
    """What a command left."""

    status: int
    out: str
    err: str

    @property
    def report(self) -> dict[str, Any]:
        """The report of the one JSON document that it printed."""
        (read,) = json.loads(self.out)
        assert isinstance(read, dict)
        return read

    @property
    def verdicts(self) -> dict[str, str]:
        return {fault["id"]: fault["status"] for fault in self.report["faults"]}


def _command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "faultlab", "mutate", *arguments]


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200", "OMP_NUM_THREADS": "1"}


def _mutate(root: Path, *arguments: str) -> Done:
    done = warm.run(["-m", "faultlab", "mutate", *arguments], imports="command", cwd=root, env=_environment())
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return Done(done.returncode, done.stdout, done.stderr)


def _git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


def _written(root: Path, seconds: float = 0.0) -> Path:
    files = {"pyproject.toml": "", "model.py": MODEL, "test_model.py": TESTS.format(seconds=seconds)}
    project(root, files)
    _git(root, "init", "--quiet")
    _git(root, "add", "--all")
    _git(root, "commit", "--quiet", "--message=first")
    return root


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    root = _written(tmp_path_factory.mktemp("judged") / "the project")
    return root, _mutate(root, "model.py", "--json", "--jobs=2")


def test_json_is_one_document_with_every_mutant_and_nothing_else(judged: tuple[Path, Done]) -> None:
    _, done = judged
    assert (done.status, done.err) == (0, "")
    statuses = {
        fault["mutant"]["function"]: [one["status"] for one in done.report["faults"] if one["mutant"]["function"] == f]
        for fault in done.report["faults"]
        for f in [fault["mutant"]["function"]]
    }
    assert set(statuses["greeting"]) == {"ignored"}
    assert set(statuses["unused"]) == {"not_activated"}
    assert set(statuses["clipped"]) == {"detected", "silent"}
    survivors = [f["mutant"] for f in done.report["faults"] if f["status"] == "silent"]
    assert ("10", "11") in [(mutant["before"], mutant["after"]) for mutant in survivors]
    assert all(mutant["diff"].startswith("--- model.py") for mutant in survivors)
    assert done.report["mutants"]["score"] < 1
    killed = [f for f in done.report["faults"] if f["status"] == "detected"]
    assert all(f["detected_by"][0]["name"].startswith("test_model.py::test_a_") for f in killed)


def test_the_second_run_finds_everything_judged_and_says_the_same(judged: tuple[Path, Done]) -> None:
    root, first = judged
    second = _mutate(root, "model.py", "--json")
    assert second.verdicts == first.verdicts
    asked = [fault for fault in first.report["faults"] if fault["status"] != "ignored"]
    assert second.report["mutants"]["kept"] == len(asked)
    assert first.report["mutants"]["kept"] == 0


@MORE
def test_shards_hold_every_mutant_once_with_the_verdicts_of_the_whole(judged: tuple[Path, Done]) -> None:
    root, whole = judged
    shares = [_mutate(root, "model.py", "--json", f"--shard={number}/3").verdicts for number in (1, 2, 3)]
    assert {name: status for share in shares for name, status in share.items()} == whole.verdicts
    assert sum(map(len, shares)) == len(whole.verdicts)


@MORE
def test_asked_for_it_again_everything_is_judged_anew(judged: tuple[Path, Done]) -> None:
    root, first = judged
    again = _mutate(root, "model.py", "--json", "--again")
    assert again.report["mutants"]["kept"] == 0
    assert again.verdicts == first.verdicts


def test_a_score_below_what_is_demanded_ends_with_status_1(judged: tuple[Path, Done]) -> None:
    root, _ = judged
    done = _mutate(root, "model.py", "--quiet", "--fail-under=1")
    assert done.status == 1
    assert len(done.out.strip().splitlines()) == 1


def test_only_the_functions_that_are_asked_for_are_judged(judged: tuple[Path, Done]) -> None:
    root, _ = judged
    done = _mutate(root, "model.py", "--json", "--function=un*")
    assert {fault["mutant"]["function"] for fault in done.report["faults"]} == {"unused"}


def test_since_a_commit_nothing_may_have_changed(judged: tuple[Path, Done]) -> None:
    root, _ = judged
    done = _mutate(root, "model.py", "--json", "--since=HEAD")
    assert (done.status, done.report["faults"], done.report["mutants"]["score"]) == (0, [], None)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    root = _written(tmp_path / "project", seconds=0.7)
    process = subprocess.Popen(
        _command("model.py", "--jobs=1", "--function=clipped"),
        cwd=root,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield root, process
    process.kill()
    process.wait()


@MORE
def test_what_an_interrupted_run_has_judged_is_kept(running: tuple[Path, subprocess.Popen[str]]) -> None:
    root, process = running
    folder = root / "reports/project-source"
    kept = folder / "mutants/verdicts.jsonl"
    end = time.monotonic() + 120
    while time.monotonic() < end and not (kept.exists() and kept.read_text().count("\n") >= 2):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    done = kept.read_text().count("\n")
    report = json.loads((folder / "report.json").read_text())
    assert 2 <= len(report["faults"]) <= done
    assert any("interrupted: the verdicts so far are kept" in reason for reason in report["gate"]["reasons"])
    again = _mutate(root, "model.py", "--json", "--function=clipped")
    assert again.status == 0
    assert again.report["mutants"]["kept"] == done < len(again.report["faults"])


WRONG: list[tuple[list[str], str]] = [
    ([], "scenarios: no such file or folder"),
    (["nowhere.py"], "nowhere.py: no such file or folder"),
    (["nowhere.yaml"], "nowhere.yaml"),
    (["model.py", "--shard=3/2"], "invalid shard '3/2': expected k/n, the k-th of n, such as 2/4"),
    (["model.py", "--since=nowhere"], "--since nowhere: unknown commit; name a commit"),
    (["model.py", "--tests=nowhere.py"], "--tests nowhere.py: no such file or folder"),
    (["model.py", "--also-copy=nowhere"], "nowhere: no such file or folder to copy"),
    (["model.py", "--function=nothing"], "no matching function in model.py"),
    (["model.py", "--jobs=0"], "--jobs"),
    (["model.py", "--fail-under=2"], "--fail-under"),
    (["notes.txt"], "notes.txt: no such Python file or folder"),
    (["empty"], "empty: no Python file in this folder to mutate"),
    (["constants.py"], "mutmut finds nothing to change in constants.py"),
    (["broken.py"], "broken.py:1:7: invalid Python: invalid syntax"),
    (["exempted.py"], "an exemption without a reason"),
    (["one.yaml", "two.yaml", "model.py"], "files to mutate can be combined with one scenario only"),
    (["../outside.py", "model.py"], "is outside of the project"),
]


@pytest.fixture(scope="module")
def wrong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = _written(tmp_path_factory.mktemp("wrong") / "project")
    files = {"notes.txt": "", "empty/notes.txt": "", "constants.py": "X = 1\n", "broken.py": "def f(:\n"}
    files |= {"one.yaml": GUARDED.format("one"), "two.yaml": GUARDED.format("two"), "../outside.py": MODEL}
    return project(root, {**files, "exempted.py": "def f():\n    return 1  # faultlab: ignore\n"})


CALLED = """
import contextlib, io, json, sys
from faultlab.cli import main

told = []
for arguments in json.load(sys.stdin):
    sys.argv, status, said = ["faultlab", "mutate", *arguments], 0, io.StringIO()
    with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
        try:
            main()
        except SystemExit as ended:
            status = ended.code or 0
    told.append([status, said.getvalue()])
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def answers(wrong: Path) -> list[tuple[int, str]]:
    """What wrong commands say, called one after the other in one process."""
    asked = json.dumps([arguments for arguments, _ in WRONG])
    done = warm.run(["-c", CALLED], imports="command", cwd=wrong, env=_environment(), input=asked)
    assert done.returncode == 0, done.stderr
    return [(status, said) for status, said in json.loads(done.stdout)]


@pytest.mark.parametrize("number", range(len(WRONG)), ids=[" ".join(arguments) for arguments, _ in WRONG])
def test_wrong_usage_ends_with_status_2_and_what_to_write_instead(number: int, answers: list[tuple[int, str]]) -> None:
    status, said = answers[number]
    assert status == 2
    assert "Traceback" not in said
    assert WRONG[number][1] in " ".join(said.split())


def test_windows_is_told_that_source_mutants_need_posix(wrong: Path) -> None:
    program = "import os, sys; del os.fork; sys.argv = ['faultlab', 'mutate', 'model.py']\n"
    program += "from faultlab.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=wrong, env=_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "need POSIX" in done.stdout + done.stderr
    assert "Traceback" not in done.stderr


def test_tests_that_fail_on_the_clean_code_end_with_status_3(tmp_path: Path) -> None:
    root = _written(tmp_path / "project")
    project(root, {"test_model.py": "from model import clipped\n\ndef test_no():\n    assert clipped(3) == 4\n"})
    done = _mutate(root, "model.py")
    assert done.status == 3
    assert "no test passes on the clean code" in done.out + done.err
    assert "assert 3 == 4" in done.out + done.err


@MORE
def test_neither_chance_nor_coverage_kills_in_a_fresh_process(tmp_path: Path) -> None:
    source = 'def unit(name):\n    return name.lower()\n\n\nUNIT = unit("Slope")\n'
    tests = "import random\nimport model\n\ndef test_it():\n    assert model.UNIT and random.random() > 0.8\n"
    settings = '[tool.pytest.ini_options]\naddopts = "--cov=model --cov-fail-under=100"\n'
    project(tmp_path, {"pyproject.toml": settings, "model.py": source, "test_model.py": tests})
    found = _mutate(tmp_path, "model.py", "--json").report["faults"]
    assert [f["status"] for f in found if f["mutant"]["after"] == "upper"] == ["silent"]


@MORE
def test_a_test_that_is_known_to_fail_kills_what_makes_it_pass_and_recursion_goes_as_deep(tmp_path: Path) -> None:
    source = "def after(x):\n    return x + 1\n\n\ndef depth(n):\n    return depth(n - 1) if n else 0\n"
    tests = "import pytest\nfrom model import after, depth\n\ndef test_deep():\n    assert depth(700) == 0\n"
    tests += "@pytest.mark.xfail(strict=True)\ndef test_known():\n    assert after(1) == 0\n"
    project(tmp_path, {"pyproject.toml": "", "model.py": source, "test_model.py": tests})
    done = _mutate(tmp_path, "model.py", "--json")
    assert (done.status, done.report["baseline"]["false_alarms"]) == (0, [])
    found = {(f["mutant"]["before"], f["mutant"]["after"]): f for f in done.report["faults"]}
    assert [by["name"] for by in found["+", "-"]["detected_by"]] == ["test_model.py::test_known"]
    assert found["1", "2"]["status"] == "silent"


@MORE
def test_what_one_mutant_leaves_in_the_working_folder_no_other_finds(tmp_path: Path) -> None:
    source = "def saved(x):\n    return x * 2 + 1\n\n\ndef kept(x):\n    return x * 2 + 1\n\n\nKEPT = kept(1)\n"
    tests = (
        "import os\nimport model\n\ndef test_it():\n    assert os.path.exists('data/a.csv') and not os.path.exists('x')"
    )
    tests += "\n    open('x', 'w').close()\n    model.saved(1)\n"
    project(tmp_path, {"pyproject.toml": "", "model.py": source, "test_model.py": tests, "data/a.csv": ""})
    done = _mutate(tmp_path, "model.py", "--json", "--jobs=2")
    assert done.report["baseline"]["false_alarms"] == []
    silent = {f["mutant"]["function"] for f in done.report["faults"] if f["status"] == "silent"}
    assert silent == {"saved", "kept"}
    assert {f["status"] for f in done.report["faults"]} == {"silent"}


@MORE
def test_a_file_that_is_imported_under_two_names_is_mutated_in_both(tmp_path: Path) -> None:
    source = "def after(x):\n    return x + 1\n\n\ndef before(x):\n    return x - 1\n"
    tests = (
        "import pathlib, sys\nfrom pkg.model import before\nsys.path.append(str(pathlib.Path(__file__).parent / 'pkg'))"
    )
    tests += "\nimport model\n\ndef test_one():\n    assert before(3) == 2\n"
    tests += "def test_other():\n    assert model.after(3) == 4\n"
    files = {"pyproject.toml": "", "pkg/__init__.py": "", "pkg/model.py": source, "test_model.py": tests}
    done = _mutate(project(tmp_path, files), "pkg/model.py", "--json")
    assert set(done.verdicts.values()) == {"detected"}


@MORE
def test_functions_that_mutmut_does_not_reach_are_told_beside_the_score(tmp_path: Path) -> None:
    hidden = "def seen(x):\n    return x + 1\n\n\nif True:\n    def unseen(x):\n        return x - 1\n\n\n"
    hidden += "class Outer:\n    class Inner:\n        def method(self):\n            return 3\n"
    tests = "from hidden import seen\n\ndef test_it():\n    assert seen(3) == 4\n"
    root = project(tmp_path, {"pyproject.toml": "", "hidden.py": hidden, "test_hidden.py": tests})
    done = _mutate(root, "hidden.py", "--jobs=2")
    unseen = "hidden.py:6 unseen: it is under `if`, where mutmut does not look"
    inner = "hidden.py:12 Outer.Inner.method: it is in a class of a class, where mutmut does not look"
    assert f"not mutated {unseen}" in done.out
    assert f"not mutated {inner}" in done.out
    assert "mutation score 1.000 of 2 mutants (2 functions out of mutmut's reach): 2 killed" in done.out
    # Of what was not asked for nothing is said.
    assert "out of mutmut's reach" not in _mutate(root, "hidden.py", "--function=seen").out
    page = next((root / "reports").glob("*/index.html")).read_text(encoding="utf-8")
    assert "Functions without a mutant (2)" in page
    none = _mutate(root, "hidden.py", "--function=unseen")
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


@MORE
def test_a_scenario_around_a_script_has_the_scripts_code_and_what_it_makes_mutated(tmp_path: Path) -> None:
    scenario = "schema: 1\nname: s\nbuild: {class_path: faultlab.targets.script.build, init_args: {script: train.py}}\n"
    root = project(tmp_path, {"pyproject.toml": "", "train.py": SCRIPT, "parts.py": PARTS, "s.yaml": scenario})
    asked = ["--function=Rows.__len__", "--function=Lit.training_step", "--function=Watch.*"]
    done = _mutate(root, "s.yaml", "--json", "--no-advice", *asked)
    assert done.report["mutants"]["files"] == ["train.py", "parts.py"]
    found = {(f["mutant"]["function"], f["status"]) for f in done.report["faults"]}
    # A guard's own code is not equivalent because the training is the same.
    assert ("Watch.on_train_end", "silent") in found, found
    assert ("Watch.on_train_end", "no_effect") not in found
    assert {function for function, _ in found} == {"Rows.__len__", "Lit.training_step", "Watch.on_train_end"}
    assert ("Lit.training_step", "detected") in found
