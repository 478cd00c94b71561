"""The copy that mutants live in: what is in it, what is not, and that the user's own tree is only read."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from faultlab.errors import UsageError
from faultlab.mutants import workspace as module
from faultlab.mutants.workspace import Workspace, walked
from tests.generated_mutants import project

FILES = {
    "src/pkg/__init__.py": "",
    "src/pkg/model.py": "def f():\n    return 1\n",
    "tests/test_model.py": "",
    "my data/größe.csv": "1",
}


def _git(root: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@b.invalid"]
    subprocess.run(["git", *who, *arguments], cwd=root, check=True, capture_output=True)


def _repository(root: Path, files: dict[str, str]) -> Path:
    project(root, files)
    _git(root, "init", "--quiet")
    return root


def _made(root: Path, *also_copy: str, sources: tuple[str, ...] = ("src/pkg/model.py",)) -> Workspace:
    workspace = Workspace(root.resolve(), root.resolve() / "reports/project/mutants/work")
    workspace.make(sources, also_copy)
    return workspace


def _holds(workspace: Workspace) -> set[str]:
    """What of the project is in the copy."""
    files = {file.relative_to(workspace.tree).as_posix() for file in workspace.tree.rglob("*") if file.is_file()}
    return files - {"pytest.ini"}


def test_with_git_the_copy_holds_what_git_knows_and_does_not_ignore(tmp_path: Path) -> None:
    root = _repository(tmp_path, {**FILES, ".gitignore": "*.ckpt\n", "new.py": "", "big.ckpt": "", "gone.py": ""})
    _git(root, "add", "gone.py")
    (root / "gone.py").unlink()
    assert _holds(_made(root)) == {*FILES, ".gitignore", "new.py"}


def test_without_git_the_copy_holds_all_but_what_tools_leave_behind(tmp_path: Path) -> None:
    left = ["__pycache__/a.pyc", ".venv/pyvenv.cfg", ".venv/a.py", "env/pyvenv.cfg", "a.egg-info/b", "lightning_logs/c"]
    root = project(tmp_path / "a b", {**FILES, **dict.fromkeys(left, ""), ".hidden": "1"})
    assert _holds(_made(root)) == {*FILES, ".hidden"}


def test_a_project_in_a_folder_that_git_ignores_is_copied_all_the_same(tmp_path: Path) -> None:
    _repository(tmp_path, {".gitignore": "inner\n"})
    assert _holds(_made(project(tmp_path / "inner", FILES))) == set(FILES)


def test_a_project_below_the_top_of_its_repository_is_copied_alone(tmp_path: Path) -> None:
    _repository(tmp_path, {"outer.py": ""})
    assert _holds(_made(project(tmp_path / "inner", FILES))) == set(FILES)


def test_a_second_copy_does_not_hold_the_first(tmp_path: Path) -> None:
    root = _repository(tmp_path, FILES)
    _made(root)
    other = Workspace(root.resolve(), root.resolve() / "out/other/mutants/work")
    other.make(["src/pkg/model.py"])
    assert _holds(other) == set(FILES)
    status = subprocess.run(["git", "status", "--short", "-uall"], cwd=root, capture_output=True, text=True, check=True)
    assert "mutants" not in status.stdout
    assert _holds(_made(root)) == set(FILES)


def test_only_what_is_to_be_mutated_lies_outside_of_the_tree(tmp_path: Path) -> None:
    workspace = _made(project(tmp_path, FILES))
    beside = {file for file in workspace.folder.rglob("*") if file.is_file() and workspace.tree not in file.parents}
    names = {file.relative_to(workspace.folder).as_posix() for file in beside}
    assert names == {"src/pkg/model.py", "pyproject.toml", ".gitignore"}


def test_what_git_ignores_comes_along_if_it_is_named(tmp_path: Path) -> None:
    root = _repository(tmp_path, {**FILES, ".gitignore": "data\n*.pt\n", "data/x/a.csv": "", "b.pt": "", "c.pt": ""})
    assert _holds(_made(root, "data", "b.pt")) == {*FILES, ".gitignore", "data/x/a.csv", "b.pt"}


def test_a_link_to_data_elsewhere_stays_a_link(tmp_path: Path) -> None:
    elsewhere = project(tmp_path / "elsewhere", {"a.csv": "1"})
    root = _repository(tmp_path / "project", {**FILES, ".gitignore": "data\n"})
    (root / "data").symlink_to(elsewhere)
    (root / "one.csv").symlink_to(elsewhere / "a.csv")
    (root / "broken").symlink_to(elsewhere / "none")
    workspace = _made(root, "data")
    assert (workspace.tree / "data").resolve() == elsewhere
    assert (workspace.tree / "one.csv").read_text() == "1"
    assert not os.path.lexists(workspace.tree / "broken")


def test_a_repository_within_is_copied_and_no_link_leads_back_to_it(tmp_path: Path) -> None:
    root = _repository(tmp_path, FILES)
    _repository(root / "inner", {"pkg/a.py": "a", ".gitignore": "*.ckpt\n", "big.ckpt": ""})
    workspace = _made(root, sources=("inner/pkg/a.py",))
    assert _holds(workspace) == {*FILES, "inner/pkg/a.py", "inner/.gitignore"}
    assert not any(path.is_symlink() for path in workspace.tree.rglob("*"))


def test_what_is_read_only_can_be_mutated_in_the_copy(tmp_path: Path) -> None:
    root = project(tmp_path, FILES)
    (root / "src/pkg/model.py").chmod(0o444)
    workspace = _made(root)
    for copy in (workspace.tree, workspace.folder):
        assert (copy / "src/pkg/model.py").stat().st_mode & 0o777 == 0o644
    assert (root / "src/pkg/model.py").stat().st_mode & 0o777 == 0o444


def test_what_can_not_be_read_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(source: Path, target: Path) -> None:
        raise PermissionError(13, "Permission denied", str(source))

    monkeypatch.setattr(module.shutil, "copy2", fails)
    with pytest.raises(UsageError, match=r"can't be copied.*Permission denied.*model\.py.*git ignore"):
        _made(project(tmp_path, {"src/pkg/model.py": ""}))


@pytest.mark.parametrize("git", [True, False])
def test_a_link_into_the_project_leads_into_the_copy(tmp_path: Path, git: bool) -> None:
    root = (_repository if git else project)(tmp_path, FILES)
    (root / "alias").symlink_to("src/pkg")
    workspace = _made(root)
    assert (workspace.tree / "alias").resolve() == (workspace.tree / "src/pkg").resolve()


@pytest.mark.parametrize(("path", "said"), [("../other", "is outside"), ("/", "is outside"), ("no", "no such file")])
def test_what_can_not_be_copied_along_is_said(path: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(UsageError, match=said):
        _made(project(tmp_path / "project", FILES), path)


def test_a_copy_that_would_be_too_large_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_BYTES", 5 << 20)
    root = project(tmp_path, {**FILES, "weights.bin": bytes(6 << 20)})
    with pytest.raises(UsageError, match=r"6 MiB \(the largest file is weights.bin\).*also_copy"):
        _made(root)


def test_the_users_tree_is_as_it_was(tmp_path: Path) -> None:
    root = _repository(tmp_path / "project", {**FILES, "pyproject.toml": "[tool.mutmut]\nmax_stack_depth = 3\n"})

    def state() -> dict[Path, tuple[int, ...]]:
        # Not the time of the last access, since reading a folder may change it.
        files = [file for file in root.rglob("*") if ".git" not in file.parts]
        found = {file: file.stat() for file in files}
        return {file: (one.st_ino, one.st_mode, one.st_size, one.st_mtime_ns) for file, one in found.items()}

    before = state()
    Workspace(root.resolve(), tmp_path.resolve() / "work").make(["src/pkg/model.py"])
    assert state() == before


def test_the_projects_own_settings_of_mutmut_are_no_part_of_the_copy(tmp_path: Path) -> None:
    settings = '[project]\nname = "a"\n[tool.mutmut]\nalso_copy = [\n  "x",\n]\n\n[tool.ruff]\nline-length = 9\n'
    workspace = _made(project(tmp_path, {**FILES, "pyproject.toml": settings}))
    copied = (workspace.tree / "pyproject.toml").read_text()
    assert copied == '[project]\nname = "a"\n[tool.ruff]\nline-length = 9\n'
    assert (workspace.folder / "pyproject.toml").read_text() == '[tool.mutmut]\nsource_paths = ["src/pkg/model.py"]\n'


@pytest.mark.parametrize(
    ("name", "text", "own"),
    [
        ("pyproject.toml", "[tool.pytest.ini_options]\n", True),
        ("pyproject.toml", "[tool.pytest]\n", True),
        ("pyproject.toml", "[tool.pytest_env]\nA = 1\n", False),
        ("pyproject.toml", "[project]\nname = 'a'\n", False),
        ("pytest.ini", "", True),
        (".pytest.ini", "[pytest]\n", True),
        ("tox.ini", "[pytest]\n", True),
        ("tox.ini", "[tox]\n", False),
        ("setup.cfg", "[tool:pytest]\n", True),
        ("setup.cfg", "[metadata]\n", False),
    ],
)
def test_pytest_takes_no_settings_from_above_the_copy(name: str, text: str, own: bool, tmp_path: Path) -> None:
    workspace = _made(project(tmp_path, {**FILES, name: text}))
    made = workspace.tree / "pytest.ini"
    assert (made.exists() and made.read_text() == "[pytest]\n") == (not own)


def test_paths_of_the_project_become_paths_of_the_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = project(tmp_path / "project", FILES)
    workspace = _made(root)
    monkeypatch.chdir(root)
    assert workspace.relative(Path("src/pkg/model.py")) == "src/pkg/model.py"
    assert workspace.moved("tests") == str(workspace.tree / "tests")
    assert workspace.moved("/usr") == "/usr"
    with pytest.raises(UsageError, match="is outside of the project"):
        workspace.relative(tmp_path / "other.py")


def test_the_copys_packages_are_found_before_the_projects(tmp_path: Path) -> None:
    files = {**FILES, "lib/a/__init__.py": "", "lib/a/b/__init__.py": "", "lib/a/b/c.py": "", "scripts/d.py": ""}
    sources = ("src/pkg/model.py", "lib/a/b/c.py", "scripts/d.py")
    workspace = _made(project(tmp_path, files), sources=sources)
    tree = workspace.tree
    assert workspace.path(sources) == [str(tree), str(tree / "src"), str(tree / "lib")]


def test_what_is_walked_leaves_out_workspaces_and_environments(tmp_path: Path) -> None:
    left = dict.fromkeys(["out/p/mutants/work/a.py", "env/pyvenv.cfg", "env/a.py", "build/a.py"], "")
    project(tmp_path, {**FILES, **left, "kept/mutants/a.py": ""})
    found = {file.relative_to(tmp_path).as_posix() for file in walked(tmp_path)}
    assert found == {*FILES, "kept/mutants/a.py"}


def test_two_processes_do_not_mutate_in_one_folder(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path, tmp_path / "reports/project/mutants/work")
    with workspace.held():
        again = pytest.raises(UsageError, match=r"another process mutates in .*--out")
        with again, Workspace(tmp_path, workspace.folder).held():
            pass
    with workspace.held():
        pass
