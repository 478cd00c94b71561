"""What projects of others did to ``faultlab mutate``: layouts, settings of pytest, and tests that end the process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests import warm
from tests.generated_mutants import project

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.nightly(reason="projects like those of the field; the quick ring mutates a plain one")
MODEL = "def f(x):\n    return x + 1\n"


def _mutate(root: Path, *arguments: str, path: str = "") -> subprocess.CompletedProcess[str]:
    command = ["-m", "faultlab", "mutate", "--jobs=1", *arguments]
    return warm.run(command, imports="command", cwd=root, env=_environment(path))


def _environment(path: str = "") -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [str(ROOT), path])), "OMP_NUM_THREADS": "1"}


def _outcomes(done: subprocess.CompletedProcess[str]) -> set[str]:
    assert done.stdout.startswith("["), done.stderr
    return {fault["mutant"]["tests"]["outcome"] for fault in json.loads(done.stdout)[0]["faults"]}


def test_a_test_that_ends_the_process_with_status_0_lets_no_mutant_survive(tmp_path: Path) -> None:
    test = "import os\nfrom model import f\n\ndef test_f():\n    if f(1) != 2:\n        os._exit(0)\n"
    project(tmp_path, {"pyproject.toml": "", "model.py": MODEL, "test_model.py": test})
    done = _mutate(tmp_path, "model.py", "--json")
    (first, *_) = json.loads(done.stdout)[0]["faults"]
    assert _outcomes(done) == {"killed"}
    assert first["mutant"]["tests"]["test"] == "test_model.py::test_f"


def test_a_threshold_of_coverage_kills_no_mutant_of_what_runs_at_import(tmp_path: Path) -> None:
    pytest.importorskip("pytest_cov")
    settings = "[tool:pytest]\naddopts = --cov=model --cov-fail-under=100\n"
    model = f"{MODEL}\nTABLE = f(1)\n"
    test = "import model\n\ndef test_f():\n    assert model.TABLE\n"
    project(tmp_path, {"setup.cfg": settings, "pyproject.toml": "", "model.py": model, "test_model.py": test})
    assert "survived" in _outcomes(_mutate(tmp_path, "model.py", "--json"))


def test_plugins_that_pytest_is_told_not_to_load_do_not_keep_mutants_from_being_judged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    test = "from model import f\n\ndef test_f():\n    assert f(1) == 2\n"
    project(tmp_path, {"pyproject.toml": "", "model.py": f"{MODEL}\nTABLE = f(1)\n", "test_model.py": test})
    assert _outcomes(_mutate(tmp_path, "model.py", "--json")) == {"killed"}


def test_what_git_ignores_and_tests_need_is_named_where_the_clean_tests_fail(tmp_path: Path) -> None:
    test = "from model import f\n\ndef test_f():\n    assert f(int(open('data/one.csv').read())) == 2\n"
    files = {".gitignore": "data/\n__pycache__/\n", "data/one.csv": "1", "test_model.py": test}
    project(tmp_path, {"pyproject.toml": "", "model.py": MODEL, **files})
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    done = _mutate(tmp_path, "model.py")
    assert done.returncode == 3
    assert "lacks files that git ignores: data/. Name those that tests need with --also-copy" in " ".join(
        done.stderr.split()
    )
    assert _outcomes(_mutate(tmp_path, "model.py", "--also-copy=data", "--json")) == {"killed"}


def test_tests_that_import_the_projects_own_file_are_an_error_with_the_remedy(tmp_path: Path) -> None:
    # A folder without `__init__.py`, which nothing but the test says is to be imported from.
    test = f"import sys\nsys.path.insert(0, {str(tmp_path / 'code')!r})\nfrom pkg.model import f\n\ndef test_f():\n"
    files = {"code/pkg/model.py": MODEL, "tests/test_model.py": f"{test}    assert f(1) == 2\n"}
    project(tmp_path, {"pyproject.toml": "", **files})
    done = _mutate(tmp_path, "code/pkg/model.py")
    assert done.returncode == 3
    assert "the project's own code/pkg/model.py" in " ".join(done.stderr.split())
    assert "PYTHONPATH" in done.stderr


def test_a_folder_of_the_project_on_the_path_of_modules_is_the_copys_instead(tmp_path: Path) -> None:
    test = "from pkg.model import f\n\ndef test_f():\n    assert f(1) == 2\n"
    project(tmp_path, {"pyproject.toml": "", "code/pkg/model.py": MODEL, "tests/test_model.py": test})
    assert _outcomes(_mutate(tmp_path, "code/pkg/model.py", "--json", path=str(tmp_path / "code"))) == {"killed"}


@pytest.mark.parametrize("at_import", [False, True], ids=["in copies", "in fresh processes"])
def test_mutants_side_by_side_do_not_find_what_the_tests_of_each_other_write(tmp_path: Path, at_import: bool) -> None:
    model = f"{MODEL}\nTABLE = f(1)\n" if at_import else MODEL
    test = "import os\nimport time\nimport model\n\ndef test_f():\n    assert open('data/one.csv').read()\n"
    test += "    os.mkdir('version_0')\n    time.sleep(0.5)\n    assert model.f(1)\n"
    project(tmp_path, {"pyproject.toml": "", "data/one.csv": "1", "model.py": model, "test_model.py": test})
    found = json.loads(_mutate(tmp_path, "model.py", "--json", "--jobs=2").stdout)[0]
    assert found["baseline"]["false_alarms"] == []
    # `x - 1` is 0; `x + 2` is not.
    assert [f["mutant"]["tests"]["kind"] for f in found["faults"]] == ["test", ""]


def test_what_a_fixture_of_the_session_writes_each_mutants_tests_find_for_themselves(tmp_path: Path) -> None:
    test = "import os\nimport pytest\nimport time\nimport model\n\n@pytest.fixture(scope='session')\ndef logs():\n"
    test += "    time.sleep(0.3)\n    os.mkdir('logs')\n\ndef test_f(logs):\n    os.mkdir('logs/0')\n"
    test += "    time.sleep(0.5)\n    assert model.f(1)\n"
    project(tmp_path, {"pyproject.toml": "", "model.py": MODEL, "test_model.py": test})
    found = json.loads(_mutate(tmp_path, "model.py", "--json", "--jobs=2").stdout)[0]
    assert [f["mutant"]["tests"]["kind"] for f in found["faults"]] == ["test", ""]


@pytest.mark.parametrize("at_import", [False, True], ids=["in copies", "in fresh processes"])
def test_a_command_that_is_killed_leaves_no_pytest_running(tmp_path: Path, at_import: bool) -> None:
    if sys.platform != "linux":
        pytest.skip("the kernel of Linux ends a process with its parent")
    model = f"{MODEL}\nTABLE = f(1)\n" if at_import else MODEL
    slow = "import os\nimport time\nimport model\n\ndef test_f():\n    assert model.f(1)\n"
    slow += "    if os.environ.get('MUTANT_UNDER_TEST') not in ('', 'stats'):\n"
    slow += "        open(__file__ + '.began', 'w').close()\n        time.sleep(60)\n"
    project(tmp_path, {"pyproject.toml": "", "model.py": model, "test_model.py": slow})
    command = [sys.executable, "-m", "faultlab", "mutate", "--jobs=1", "model.py", "--out=reports"]
    process = subprocess.Popen(command, cwd=tmp_path, env=_environment(), stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not list(tmp_path.glob("reports/*/mutants/work/mutants/*.began")):
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.1)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    end = time.monotonic() + 20
    while _running_in(tmp_path) and time.monotonic() < end:
        time.sleep(0.1)
    assert _running_in(tmp_path) == []


def _running_in(folder: Path) -> list[str]:
    """The processes that work in a folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve().is_relative_to(folder):
                found.append(process.name)
        except OSError:
            continue
    return found
