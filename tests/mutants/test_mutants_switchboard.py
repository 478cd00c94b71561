"""Mutants in a process: which is switched on, which functions run, where, and in whichever copy of the process."""

from __future__ import annotations

import importlib.util
import inspect
import multiprocessing
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from mutmut.mutation import trampoline

from faultlab.injection import mutant_activation
from faultlab.injection.mutant_activation import AT_IMPORT, STATS, Executions, Ran
from tests.generated_mutants import generated

SOURCE = '''\
def double(x, y=2):
    """Twice."""
    return x * y


class A:
    @classmethod
    def made(cls, x):
        return cls, x + 1

    @staticmethod
    def plain(x):
        return x + 1

    async def later(self, x):
        return x + 1

    def each(self, n):
        for i in range(n):
            yield i + 1
        return n

    def __len__(self):
        return 3


AT_IMPORT = double(4)
'''


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    _, workspace = generated(tmp_path_factory.mktemp("switchboard"), {"switched.py": SOURCE})
    return workspace.tree / "switched.py"


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is installed in this process goes with the test."""
    limit = sys.getrecursionlimit()
    monkeypatch.setattr(mutant_activation, "_readied", [])
    monkeypatch.setattr(mutant_activation, "_names", {})
    # It keeps the wrapper that it has found when it was imported.
    monkeypatch.delitem(sys.modules, "faultlab.injection.mutant_trampoline", raising=False)
    monkeypatch.setattr(trampoline, "wrap_in_trampoline", trampoline.wrap_in_trampoline)
    monkeypatch.setattr(trampoline, "record_trampoline_hit", trampoline.record_trampoline_hit)
    monkeypatch.setattr(trampoline, "_mutant_under_test", None)
    monkeypatch.setenv("MUTANT_UNDER_TEST", "")
    monkeypatch.setenv("FAULTLAB_EXECUTIONS", "")
    monkeypatch.setattr(mutant_activation.init_arguments, "restore", lambda: None)
    monkeypatch.setattr(mutant_activation, "_readied", [])
    # It keeps what the first mutated file of a process gets.
    monkeypatch.delitem(sys.modules, "faultlab.injection.mutant_trampoline", raising=False)
    yield
    sys.setrecursionlimit(limit)


@pytest.fixture
def executions(tmp_path: Path, process: None) -> Executions:
    found = Executions(tmp_path / "ran")
    mutant_activation.install(found)
    mutant_activation.switch_to(STATS)
    return found


@pytest.fixture
def switched(file: Path, executions: Executions) -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("switched", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["switched"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["switched"]


def test_what_runs_is_noted_once_for_each_place(switched: ModuleType, executions: Executions) -> None:
    with executions.at("a"):
        switched.double(1)
        with executions.at("b"):
            switched.double(1)
            switched.double(1)
        switched.A.plain(1)
        switched.double(1)
    assert switched.A.made(2) == (switched.A, 3)
    assert Ran.read(executions.file).places == {
        "switched.x_double": [AT_IMPORT, "a", "b"],
        "switched.xǁAǁplain": ["a"],
        "switched.xǁAǁmade": [AT_IMPORT],
    }


def test_the_file_that_a_mutated_module_was_imported_from_is_noted(
    switched: ModuleType, executions: Executions, file: Path
) -> None:
    assert Ran.read(executions.file).modules == {"switched": str(file)}


def test_what_runs_in_copies_threads_and_workers_is_noted_with_the_rest(
    switched: ModuleType, executions: Executions
) -> None:
    with executions.at("test"):
        pid = os.fork()
        if pid == 0:
            switched.A.plain(1)
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        worker = multiprocessing.get_context("fork").Process(target=switched.A.made, args=(1,))
        worker.start()
        worker.join()
        thread = threading.Thread(target=len, args=(switched.A(),))
        thread.start()
        thread.join()
    places = Ran.read(executions.file).places
    assert {name: where for name, where in places.items() if where == ["test"]} == {
        "switched.xǁAǁplain": ["test"],
        "switched.xǁAǁmade": ["test"],
        "switched.xǁAǁ__len__": ["test"],
    }


def test_what_runs_in_one_clean_run_and_not_in_another_wavers(switched: ModuleType, executions: Executions) -> None:
    for run in ("first", "second"):
        executions.run = run
        executions._seen.clear()
        with executions.at("a"):
            switched.double(1)
            if run == "first":
                switched.A.plain(1)
    ran = Ran.read(executions.file)
    runs = ("first", "second")
    assert not ran.wavers("switched.x_double", runs)
    assert ran.wavers("switched.xǁAǁplain", runs)
    assert not ran.wavers("switched.x_other", runs)


def test_a_line_that_was_cut_short_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "ran").write_text('{"ran": "a.x_f", "at": "1", "run": ""}\n{"ran": "a.x_g", "a')
    assert Ran.read(tmp_path / "ran").places == {"a.x_f": ["1"]}
    assert Ran.read(tmp_path / "none") == Ran()


def test_one_mutant_is_on_at_a_time_and_none_by_the_empty_name(switched: ModuleType) -> None:
    results = []
    for mutant in ("", "switched.x_double__mutmut_1", "switched.x_double__mutmut_2", "other.x_double__mutmut_1", ""):
        mutant_activation.switch_to(mutant)
        results.append(switched.double(4))
    assert results == [8, 12, 2.0, 8, 8]


def test_code_that_clears_the_environment_does_not_switch_the_mutant_off(
    switched: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant_activation.switch_to("switched.x_double__mutmut_1")
    for name in list(os.environ):
        monkeypatch.delenv(name)
    assert switched.double(4) == 12


def test_mutated_functions_look_like_the_users(switched: ModuleType) -> None:
    assert str(inspect.signature(switched.double)) == "(x, y=2)"
    assert switched.double.__doc__ == "Twice."
    assert inspect.iscoroutinefunction(switched.A.later)
    assert inspect.isgeneratorfunction(switched.A.each)
    assert str(inspect.signature(switched.A.made)) == "(x)"
    assert list(switched.A().each(2)) == [1, 2]
    assert len(switched.A()) == 3


def test_without_anybody_to_note_it_the_code_works_the_same(file: Path, process: None) -> None:
    mutant_activation.install()
    spec = importlib.util.spec_from_file_location("quiet", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    mutant_activation.switch_to(STATS)
    assert module.double(4) == module.AT_IMPORT == 8


def test_a_process_without_mutants_begins_nothing() -> None:
    assert mutant_activation.begin(None, "") is None
    assert mutant_activation.begin({}, "") is None


def test_a_process_of_a_scenario_begins_in_its_folder_and_notes(
    tmp_path: Path, process: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").mkdir()
    executions = mutant_activation.begin(
        {"cwd": str(tmp_path / "there"), "ran": str(tmp_path / "ran")}, "a.x_f__mutmut_1"
    )
    assert executions is not None
    assert Path.cwd() == tmp_path / "there"
    assert os.environ["MUTANT_UNDER_TEST"] == "a.x_f__mutmut_1"
    trampoline.record_trampoline_hit("a.x_f")
    assert Ran.read(tmp_path / "ran").places == {"a.x_f": [AT_IMPORT]}
