"""mutmut made to make mutants: what it makes, and what is said where it is missing, fails, or is another version."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from faultlab.errors import ScenarioError, UsageError
from faultlab.mutants import generation, generator
from faultlab.mutants.generation import TESTED, Generated, generate, write_back
from faultlab.mutants.workspace import Workspace
from tests.generated_mutants import generated, project

MORE = pytest.mark.nightly(reason="more that may be otherwise; the quick ring has a version and a missing key")

MODEL = "def f(x):\n    return x + 1\n"


def _workspace(tmp_path: Path, source: str = MODEL) -> Workspace:
    workspace = Workspace(project(tmp_path / "project", {"model.py": source}).resolve(), tmp_path.resolve() / "work")
    workspace.make(["model.py"])
    return workspace


def _said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, program: str) -> pytest.ExceptionInfo[UsageError]:
    """What is said where the process that drives mutmut is this program instead."""
    instead = tmp_path / "instead.py"
    instead.write_text(program)
    monkeypatch.setattr(generator, "__file__", str(instead))
    with pytest.raises(UsageError) as caught:
        generate(_workspace(tmp_path), ["model.py"])
    return caught


def test_the_mutants_of_a_file_have_names_and_the_version_is_told(tmp_path: Path) -> None:
    made, workspace = generated(tmp_path, {"src/a/__init__.py": MODEL, "src/a/b.py": MODEL})
    assert [m.name for m in made.mutants] == [
        "a.x_f__mutmut_1",
        "a.x_f__mutmut_2",
        "a.b.x_f__mutmut_1",
        "a.b.x_f__mutmut_2",
    ]
    assert (made.version, made.notes, made.unmutated) == (TESTED, [], {})
    assert "x_f__mutmut_1" in (workspace.tree / "src/a/b.py").read_text()
    assert (workspace.root / "src/a/b.py").read_text() == MODEL


def test_the_copy_works_without_a_mutant_as_the_original_does(tmp_path: Path) -> None:
    _, workspace = generated(tmp_path, {"model.py": MODEL})
    command = "import os, model; print(model.f(1)); os.environ['MUTANT_UNDER_TEST'] = 'model.x_f__mutmut_1'; "
    command += "print(model.f(1))"
    environment = {name: value for name, value in os.environ.items() if name != "MUTANT_UNDER_TEST"}
    ran = subprocess.run(
        [sys.executable, "-c", command], cwd=workspace.tree, env=environment, capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["2", "0"]


def test_a_mutant_that_is_switched_on_outside_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUTANT_UNDER_TEST", "fail")
    made, _ = generated(tmp_path, {"model.py": MODEL})
    assert len(made.mutants) == 2


def test_a_system_of_another_encoding_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PYTHONUTF8", "LC_CTYPE", "LANG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LC_ALL", "C")
    monkeypatch.setenv("PYTHONCOERCECLOCALE", "0")
    monkeypatch.setenv("PYTHONUTF8", "0")
    made, workspace = generated(tmp_path, {"größe.py": "class Ä:\n    def ö(self):\n        return '日'\n"})
    assert [mutant.function for mutant in made.mutants] == ["Ä.ö"]
    assert "'XX日XX'" in (workspace.tree / "größe.py").read_text(encoding="utf-8")


def test_mutmut_that_is_not_installed_is_told_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hidden = tmp_path / "hiding"
    hidden.mkdir()
    hide = "import sys\n\nclass Hide:\n    def find_spec(self, name, path=None, target=None):\n"
    hide += "        if name.partition('.')[0] == 'mutmut':\n"
    hide += '            raise ModuleNotFoundError("hidden", name="mutmut")\n\nsys.meta_path.insert(0, Hide())\n'
    (hidden / "sitecustomize.py").write_text(hide)
    monkeypatch.setenv("PYTHONPATH", str(hidden))
    with pytest.raises(UsageError, match=f"is not installed: python -m pip install mutmut=={TESTED}"):
        generate(_workspace(tmp_path), ["model.py"])


def test_mutmut_that_fails_says_why_and_that_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    line = json.dumps({"version": TESTED, "error": "ValueError: broken"})
    caught = _said(monkeypatch, tmp_path, f"print('noise')\nprint({line!r})")
    assert str(caught.value) == "mutmut failed: ValueError: broken\n    Verdicts of earlier runs are kept."
    assert caught.value.exit_code == 2


def test_mutmut_of_another_version_that_fails_is_told_by_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = json.dumps({"version": "9.0", "error": "ImportError: cannot import name 'create_mutants'"})
    caught = _said(monkeypatch, tmp_path, f"print({line!r})")
    assert "mutmut 9.0 could not be driven: ImportError" in str(caught.value)
    assert f"python -m pip install mutmut=={TESTED}. Verdicts of earlier runs are kept." in str(caught.value)


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("raise SystemExit('gone wrong')", "ended with status 1: gone wrong"),
        ("import os; os.kill(os.getpid(), 9)", "ended with status -9"),
        ("print('[1]')", "[1]"),
        ("print('no json')", "ended with status 0: no json"),
    ],
)
def test_a_process_of_mutmut_that_says_nothing_sensible_is_told(
    program: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert said in str(_said(monkeypatch, tmp_path, program).value)


def test_mutmut_that_never_ends_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(generation, "_DEADLINE", 0.5)
    assert "it takes more than 0 s: name fewer files" in str(
        _said(monkeypatch, tmp_path, "import time; time.sleep(60)").value
    )


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({".spans": '{"version": 2, "spans": {}}'}, "index of lines has version 2: expected 1"),
        pytest.param({".spans": "[]"}, "AttributeError", marks=MORE),
        pytest.param({".spans": '{"version": 1}'}, "KeyError", marks=MORE),
        pytest.param({".spans": '{"version": 1, "spans": {"x_f__mutmut_orig": 3}}'}, "TypeError", marks=MORE),
        pytest.param({".spans": "no json"}, "JSONDecodeError", marks=MORE),
        ({".meta": "{}"}, "KeyError"),
        pytest.param({".spans": None}, "FileNotFoundError", marks=MORE),
    ],
)
def test_what_another_version_of_mutmut_has_written_otherwise_is_told_and_never_misread(
    files: dict[str, str | None], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = _workspace(tmp_path)
    generate(workspace, ["model.py"])
    for ending, text in files.items():
        file = workspace.tree / f"model.py{ending}"
        file.unlink() if text is None else file.write_text(text)
    instead = tmp_path / "instead.py"
    instead.write_text('print(\'{"version": "3.9.0"}\')')
    monkeypatch.setattr(generator, "__file__", str(instead))
    with pytest.raises(UsageError) as caught:
        generate(workspace, ["model.py"])
    assert said in str(caught.value)
    assert "mutmut 3.9.0 could not be driven: model.py" in str(caught.value)


def test_another_version_that_works_is_told_in_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workspace = _workspace(tmp_path)
    generate(workspace, ["model.py"])
    instead = tmp_path / "instead.py"
    instead.write_text('print(\'{"version": "3.9.0", "warnings": ["a.py"]}\')')
    monkeypatch.setattr(generator, "__file__", str(instead))
    made = generate(workspace, ["model.py"])
    assert len(made.mutants) == 2
    assert made.notes == [
        "mutmut left a file unchanged: a.py",
        f"mutmut 3.9.0 differs from {TESTED}, which faultlab was tested with",
    ]


def test_files_that_are_no_python_are_all_told_at_once_with_their_places(tmp_path: Path) -> None:
    with pytest.raises(ScenarioError) as caught:
        generated(
            tmp_path,
            {"good.py": MODEL, "bad.py": "x = 1\ndef f(:\n", "latin.py": "# ä".encode("latin-1"), "null.py": "\0"},
        )
    first, latin, null = caught.value.problems
    assert (Path(first.file).name, first.line, first.message) == ("bad.py", 2, "invalid Python: invalid syntax")
    assert (Path(latin.file).name, latin.message) == ("latin.py", "invalid encoding: mutmut reads only UTF-8")
    assert "invalid Python" in null.message
    assert first.remedy == "Name the files to mutate without it."


def test_a_pragma_of_mutmut_that_is_never_closed_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"mutmut failed: PragmaParseError.*model.py"):
        generated(tmp_path, {"model.py": f"# pragma: no mutate start\n{MODEL}"})


def test_what_mutmut_is_told_to_leave_alone_is_named(tmp_path: Path) -> None:
    source = "def f(x):  # pragma: no mutate block\n    return x + 1\n\n\ndef g():\n    pass\n"
    made, _ = generated(tmp_path, {"model.py": source})
    assert made.mutants == []
    assert made.unmutated == {
        "model.py:1 f": "excluded from mutation by # pragma: no mutate",
        "model.py:5 g": "mutmut finds nothing to change in it",
    }


def test_what_is_decorated_or_defined_twice_is_named(tmp_path: Path) -> None:
    decorated = "import functools\n\n@functools.cache\ndef f(x):\n    return x + 1\n"
    twice = "\n\ndef g():\n    return 1\n\n\ndef g():\n    return 2\n\n\n@staticmethod\ndef h():\n    pass\n"
    made, _ = generated(tmp_path, {"model.py": decorated + twice})
    assert [mutant.line for mutant in made.mutants] == [13]
    assert made.unmutated == {
        "model.py:4 f": "mutmut does not mutate functions with the decorator @functools.cache",
        "model.py:8 g": "a later function of the same name replaces it",
        "model.py:17 h": "mutmut finds nothing to change in it",
    }


HIDDEN = """
import contextlib

try:
    import nothing
except ImportError:
    def fallback(x):
        return x + 1

if True:
    class Scaled:
        def scale(self, x):
            return x * 2
else:
    pass

with contextlib.suppress(ValueError):
    async def later(x):
        return x - 1

class Outer:
    for _ in range(1):
        def looped(self):
            return 1

    class Inner:
        def method(self, x):
            return x > 0

        def nothing(self):
            "Does nothing."

        def told(self):  # pragma: no mutate
            return 3

        def exempt(self):  # faultlab: ignore[nobody calls it]
            return 4

    def __new__(cls):
        return super().__new__(cls)

    def plain(self):
        if self:
            def within():
                return 2
            return within
"""


def test_what_mutmut_does_not_reach_is_named_and_apart_from_what_is_empty(tmp_path: Path) -> None:
    made, _ = generated(tmp_path, {"model.py": HIDDEN})
    assert {mutant.function for mutant in made.mutants} == {"Outer.plain"}
    assert made.unreached == {
        "model.py:7 fallback": ("model.py", "fallback"),
        "model.py:12 Scaled.scale": ("model.py", "Scaled.scale"),
        "model.py:18 later": ("model.py", "later"),
        "model.py:23 Outer.looped": ("model.py", "Outer.looped"),
        "model.py:27 Outer.Inner.method": ("model.py", "Outer.Inner.method"),
        "model.py:39 Outer.__new__": ("model.py", "Outer.__new__"),
    }
    assert {place.partition(" ")[2]: why for place, why in made.unmutated.items()} == {
        "fallback": "it is under `try`, where mutmut does not look",
        "Scaled.scale": "it is under `if`, where mutmut does not look",
        "later": "it is under `with`, where mutmut does not look",
        "Outer.looped": "it is under `for`, where mutmut does not look",
        "Outer.Inner.method": "it is in a class of a class, where mutmut does not look",
        "Outer.Inner.nothing": "mutmut finds nothing to change in it",
        "Outer.Inner.told": "excluded from mutation by # pragma: no mutate",
        "Outer.Inner.exempt": "exempt: nobody calls it",
        "Outer.__new__": "mutmut does not mutate __new__",
    }


def test_two_files_that_are_one_module_to_mutmut_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        UsageError, match=r"src/a.py and a.py have one module name for mutmut, a: mutate them separately"
    ):
        generated(tmp_path, {"src/a.py": MODEL, "a.py": MODEL})


def test_verdicts_stand_where_mutmuts_own_commands_show_them(tmp_path: Path) -> None:
    made, workspace = generated(tmp_path, {"model.py": MODEL})
    first, second = made.mutants
    write_back(workspace, {first.name: "survived", second.name: "killed"})
    shown = subprocess.run(
        [sys.executable, "-m", "mutmut", "results", "--all", "true"],
        cwd=workspace.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    assert [line.split() for line in shown.stdout.splitlines() if line.strip()] == [
        [f"{first.name}:", "survived"],
        [f"{second.name}:", "killed"],
    ]


def test_windows_is_told_that_mutmut_needs_posix(monkeypatch: pytest.MonkeyPatch) -> None:
    generation.check_system()
    monkeypatch.delattr(os, "fork")
    with pytest.raises(UsageError, match="source mutants need POSIX"):
        generation.check_system()


def test_nothing_is_generated_where_there_is_nothing_to_change(tmp_path: Path) -> None:
    made, _ = generated(tmp_path, {"model.py": "", "other.py": "x = 1\n"})
    assert made == Generated([], {}, {}, TESTED, [])
