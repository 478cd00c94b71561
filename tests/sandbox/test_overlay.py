"""The user's folders as a run sees them: read as they are, written to and removed from elsewhere."""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import pathlib
import shutil
import sqlite3
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import fsspec
import numpy
import pytest
import torch

from faultlab.core.patching import Patches
from faultlab.errors import TargetError
from faultlab.frameworks.lightning.main_script import MainScript
from faultlab.sandbox import file_calls
from faultlab.sandbox.overlay import Overlay

Home = pathlib.Path
CALLS = ["open", "stat", "lstat", "readlink", "mkdir", "symlink", "remove", "listdir"]
CONNECT = sqlite3.connect
ORIGINALS = {
    (owner.__name__, name): getattr(owner, name)
    for owner in (os, io, builtins)
    for name in CALLS
    if hasattr(owner, name)
}


@pytest.fixture
def home(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """A project with files in it, which is the working folder."""
    project = tmp_path / "project"
    (project / "runs" / "first").mkdir(parents=True)
    (project / "best.ckpt").write_text("the user's best")
    (project / "runs" / "first" / "log.txt").write_text("epoch 0\n")
    (project / "latest.ckpt").symlink_to("best.ckpt")
    monkeypatch.chdir(project)
    return project


@pytest.fixture
def overlay(home: Home, tmp_path: pathlib.Path) -> Iterator[Overlay]:
    upper = tmp_path / "run"
    upper.mkdir()
    overlay = Overlay(lambda: str(upper), [str(home)])
    with Patches() as patches:
        file_calls.take_over(patches, overlay)
        yield overlay


@contextlib.contextmanager
def overlay_off() -> Iterator[None]:
    """As the system sees it."""
    with Patches() as patches:
        for owner, names in ((os, CALLS), (builtins, ["open"]), (io, ["open"])):
            for name in names:
                patches.set(owner, name, ORIGINALS[owner.__name__, name])
        yield


def _state(folder: pathlib.Path) -> dict[str, object]:
    """Every path below a folder, with what it is and holds."""
    found: dict[str, object] = {}
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(place, name)
            held: object = os.readlink(path) if os.path.islink(path) else None
            if held is None and os.path.isfile(path):
                held = pathlib.Path(path).read_bytes()
            found[os.path.relpath(path, folder)] = held
    return found


def _write(path: str) -> None:
    with open(path, "w") as file:
        file.write("broken")


def _append(path: str) -> None:
    with open(path, "a") as file:
        file.write("more")


def _rename_over(path: str) -> None:
    with open("new.part", "w") as file:
        file.write("broken")
    os.replace("new.part", path)


def _low_level(path: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.write(descriptor, b"broken")
    os.close(descriptor)


def _hard_link(path: str) -> None:
    os.link(path, "linked.ckpt")
    _write("linked.ckpt")


def _symbolic_link(path: str) -> None:
    os.symlink(os.path.abspath(path), "pointer.ckpt")
    _write("pointer.ckpt")


def _memory_map(path: str) -> None:
    numpy.memmap(path, dtype="uint8", mode="r+")[:] = 0


def _by_fsspec(path: str) -> None:
    with fsspec.open(path, "wb") as file:
        file.write(b"broken")


def _temporary_file(path: str) -> None:
    with tempfile.NamedTemporaryFile(dir=".", delete=False) as file:
        file.write(b"broken")
    os.replace(file.name, path)


def _opener(path: str) -> None:
    with open(path, "w", opener=lambda file, flags: os.open(file, flags, 0o600)) as file:
        file.write("broken")


WRITERS: list[Callable[[str], None]] = [
    _write,
    _append,
    _rename_over,
    _low_level,
    _hard_link,
    _symbolic_link,
    _memory_map,
    _by_fsspec,
    lambda path: torch.save({"a": torch.zeros(2)}, path),
    lambda path: numpy.save(path, numpy.zeros(2)),
    lambda path: numpy.savetxt(path, numpy.zeros(2)),
    lambda path: numpy.zeros(2).tofile(path),
    lambda path: pathlib.Path(path).write_text("broken") and None,
    lambda path: shutil.copy("runs/first/log.txt", path) and None,
    lambda path: shutil.move("runs/first/log.txt", path),
    lambda path: os.truncate(path, 1),
    lambda path: os.chmod(path, 0o400),
    lambda path: os.utime(path, (0, 0)),
    lambda path: _write("latest.ckpt"),
    lambda path: os.remove(path),
    lambda path: os.unlink(path),
    lambda path: pathlib.Path(path).unlink(),
    lambda path: fsspec.filesystem("file").rm(path),
    lambda path: os.rename(path, "moved.ckpt"),
    lambda path: os.rename("runs", "old-runs"),
    lambda path: shutil.rmtree("runs"),
    lambda path: fsspec.filesystem("file").rm("runs", recursive=True),
    lambda path: os.makedirs("outputs/today"),
    lambda path: tempfile.mkdtemp(dir=".") and None,
    _temporary_file,
    _opener,
]


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_whatever_a_run_does_to_the_users_files_they_stay_as_they_are(
    write: Callable[[str], None], home: Home, tmp_path: pathlib.Path
) -> None:
    before, mode = _state(home), os.stat("best.ckpt")
    upper = tmp_path / "run"
    with Patches() as patches:
        file_calls.take_over(patches, Overlay(lambda: str(upper), [str(home)]))
        write("best.ckpt")
        changed = _state(home) != before or os.stat("best.ckpt") != mode
    assert changed, "the run itself must see what it did"
    assert _state(home) == before
    after = os.stat("best.ckpt")
    assert (after.st_mode, after.st_mtime_ns, after.st_size) == (mode.st_mode, mode.st_mtime_ns, mode.st_size)


def test_a_run_reads_back_what_it_has_written(overlay: Overlay) -> None:
    torch.save({"a": torch.ones(2)}, "runs/new.pt")
    assert torch.equal(torch.load("runs/new.pt")["a"], torch.ones(2))
    assert sorted(os.listdir("runs")) == ["first", "new.pt"]
    assert sorted(entry.name for entry in os.scandir("runs") if entry.is_file()) == ["new.pt"]
    assert pathlib.Path("runs/new.pt").exists()
    assert [str(path) for path in pathlib.Path("runs").glob("*.pt")] == ["runs/new.pt"]
    _append("runs/first/log.txt")
    assert pathlib.Path("runs/first/log.txt").read_text() == "epoch 0\nmore"


def test_what_a_run_has_removed_is_gone_for_it(overlay: Overlay) -> None:
    shutil.rmtree("runs")
    assert not os.path.exists("runs/first/log.txt")
    with pytest.raises(FileNotFoundError) as missing:
        open("runs/first/log.txt").close()
    assert missing.value.filename == "runs/first/log.txt"
    os.makedirs("runs/first")
    assert os.listdir("runs/first") == []
    os.remove("best.ckpt")
    assert "best.ckpt" not in os.listdir(".")
    assert not os.path.exists("latest.ckpt"), "the link's file is gone"


def test_errors_are_those_of_the_file_system(overlay: Overlay) -> None:
    with pytest.raises(OSError, match="not empty"):
        os.rmdir("runs")
    with pytest.raises(FileExistsError):
        os.mkdir("runs")
    with pytest.raises(FileExistsError):
        open("best.ckpt", "x").close()
    with pytest.raises(FileNotFoundError):
        os.remove("missing")
    with pytest.raises(FileNotFoundError):
        open("missing/new.txt", "w").close()
    with pytest.raises(IsADirectoryError):
        os.remove("runs")
    with pytest.raises(NotADirectoryError):
        os.rmdir("best.ckpt")


def test_a_relative_link_to_the_last_checkpoint_is_followed(overlay: Overlay, tmp_path: pathlib.Path) -> None:
    os.symlink("best.ckpt", "last.ckpt")
    assert pathlib.Path("last.ckpt").read_text() == "the user's best"
    _write("step.ckpt")
    os.remove("last.ckpt")
    os.symlink("step.ckpt", "last.ckpt")
    assert pathlib.Path("last.ckpt").read_text() == "broken"


def test_a_link_of_the_users_is_replaced_by_the_runs_own(overlay: Overlay) -> None:
    _write("step.ckpt")
    os.remove("latest.ckpt")
    os.symlink("step.ckpt", "latest.ckpt")
    assert os.readlink("latest.ckpt") == "step.ckpt"
    assert pathlib.Path("latest.ckpt").read_text() == "broken"
    assert pathlib.Path("best.ckpt").read_text() == "the user's best"
    os.remove("latest.ckpt")
    assert not os.path.lexists("latest.ckpt")


def test_new_data_is_let_through_while_it_is_prepared_and_nothing_else(overlay: Overlay, home: Home) -> None:
    with overlay.preparing():
        os.makedirs("data/raw")
        _write("data/raw/train.part")
        os.rename("data/raw/train.part", "data/raw/train")
        _write("best.ckpt")
        os.remove("runs/first/log.txt")
    _write("data/raw/later")
    files = {str(path.relative_to(home)) for path in _real_files(home)}
    assert files == {"data/raw/train", "best.ckpt", "latest.ckpt", "runs/first/log.txt"}
    assert _real_text(home / "best.ckpt") == "the user's best"
    assert pathlib.Path("best.ckpt").read_text() == "broken"


@pytest.mark.parametrize("package", ["hydra.core.utils", "pytorch_lightning.loggers.csv_logs", "logging", "wandb.sdk"])
def test_what_packages_log_is_no_data(package: str, overlay: Overlay, home: Home) -> None:
    written: dict[str, Any] = {"__name__": package, "os": os}
    exec("def log():\n    os.makedirs('outputs/today')\n    open('outputs/today/train.log', 'w').close()", written)
    with overlay.preparing():
        written["log"]()
        assert os.path.exists("outputs/today/train.log")
        # The user's own code is called by such packages as well.
        exec("def main():\n    open('data.bin', 'w').close()", user := {"__name__": "__main__"})
        exec("def call(main):\n    main()", written)
        written["call"](user["main"])
    assert {path.name for path in _real_files(home)} == {"best.ckpt", "latest.ckpt", "log.txt", "data.bin"}


def _real_files(folder: pathlib.Path) -> list[pathlib.Path]:
    """What there is, past the overlay: asked of another process."""
    found = os.popen(f"find {folder} ! -type d").read()
    return [pathlib.Path(line) for line in found.splitlines()]


def _real_text(file: pathlib.Path) -> str:
    return os.popen(f"cat {file}").read()


def test_the_folder_of_the_run_before_means_the_runs_own(overlay: Overlay, tmp_path: pathlib.Path, home: Home) -> None:
    before = tmp_path / "snapshot_run"
    overlay.succeed(str(before))
    torch.save(torch.ones(1), before / "state.pt")
    os.rename(before / "state.pt", before / "kept.pt")
    assert os.listdir(before) == ["kept.pt"]
    assert not before.exists() or not _real_files(before)
    assert _real_files(tmp_path / "run") == [tmp_path / "run" / "kept.pt"]


def test_a_project_that_is_reached_by_a_link_is_covered_too(home: Home, tmp_path: pathlib.Path) -> None:
    (tmp_path / "alias").symlink_to(home)
    outside = tmp_path / "scratch"
    outside.mkdir()
    (outside / "kept.ckpt").write_text("kept")
    (home / "scratch").symlink_to(outside)
    with Patches() as patches:
        file_calls.take_over(patches, Overlay(lambda: str(tmp_path / "run"), [str(home)]))
        os.remove(tmp_path / "alias" / "best.ckpt")
        os.remove("scratch/kept.ckpt")
    assert (home / "best.ckpt").exists()
    assert (outside / "kept.ckpt").exists()


def test_temporary_files_and_caches_are_none_of_the_overlays(overlay: Overlay, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "temporary"
    _write(str(file))
    assert _real_text(file) == "broken"


def test_everything_is_as_before_once_the_run_is_over(home: Home, tmp_path: pathlib.Path) -> None:
    names = ["open", "stat", "listdir", "remove", "rename", "mkdir", "scandir", "link"]
    before = [getattr(os, name) for name in names]
    with Patches() as patches:
        file_calls.take_over(patches, Overlay(lambda: str(tmp_path / "run"), [str(home)]))
        from_within = os.remove
    assert [getattr(os, name) for name in names] == before
    from_within("best.ckpt")
    assert not (home / "best.ckpt").exists(), "a name that is kept for longer is the plain call again"


def _tables(connection: sqlite3.Connection) -> list[str]:
    names = [name for (name,) in connection.execute("select name from sqlite_master")]
    connection.close()
    return names


def test_a_database_by_sqlite_is_the_runs_own_copy(overlay: Overlay, home: Home) -> None:
    CONNECT(home / "runs.db").execute("create table mine (a)")
    sqlite3.connect("runs.db").execute("create table more (a)")
    assert _tables(sqlite3.connect("runs.db")) == ["mine", "more"]
    assert _tables(CONNECT(home / "runs.db")) == ["mine"]


def test_a_database_that_is_too_large_to_copy_is_out_of_reach_and_said_to_be(
    overlay: Overlay, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_calls, "_LARGEST_DATABASE", 0)
    CONNECT(home / "runs.db").execute("create table mine (a)")
    sqlite3.connect("runs.db").execute("create table more (a)")
    assert _tables(CONNECT(home / "runs.db")) == ["mine", "more"]


def test_a_link_to_a_folder_that_a_run_removes_stays_the_users(overlay: Overlay, home: Home) -> None:
    with overlay_off():
        os.symlink("runs", "newest")
    os.remove(home / "newest")
    assert not os.path.lexists("newest")
    with overlay_off():
        assert os.readlink("newest") == "runs"


def test_what_a_run_has_removed_is_not_changed_below(overlay: Overlay) -> None:
    os.remove("best.ckpt")
    for change in (lambda: os.chmod("best.ckpt", 0o400), lambda: os.truncate("best.ckpt", 0)):
        with pytest.raises(FileNotFoundError):
            change()
    with overlay_off():
        assert pathlib.Path("best.ckpt").read_text() == "the user's best"
        assert os.stat("best.ckpt").st_mode & 0o200


def test_by_a_link_that_a_run_has_made_it_reads_the_users_files_and_writes_its_own(
    overlay: Overlay, home: Home
) -> None:
    os.symlink(home / "runs" / "first", "current")
    assert pathlib.Path("current/log.txt").read_text() == "epoch 0\n"
    _append("current/log.txt")
    assert pathlib.Path("runs/first/log.txt").read_text() == "epoch 0\nmore"
    with overlay_off():
        assert pathlib.Path("runs/first/log.txt").read_text() == "epoch 0\n"


def test_a_run_that_goes_into_a_folder_it_has_written_to_finds_all_of_it(overlay: Overlay, home: Home) -> None:
    _write("runs/new.txt")
    os.makedirs("outputs/today")
    os.chdir("runs")
    assert sorted(os.listdir()) == ["first", "new.txt"]
    os.chdir(home / "outputs" / "today")
    assert os.getcwd() == str(home / "outputs" / "today")
    assert pathlib.Path("../../best.ckpt").read_text() == "the user's best"
    _write("here.txt")
    assert (home / "outputs" / "today" / "here.txt").read_text() == "broken"
    os.chdir(home)


def test_folders_are_renamed_with_all_that_a_run_sees_in_them_and_links_as_links(overlay: Overlay) -> None:
    _write("runs/new.txt")
    os.remove("runs/first/log.txt")
    os.rename("runs", "older")
    assert sorted(os.listdir("older")) == ["first", "new.txt"]
    assert os.listdir("older/first") == []
    os.rename("latest.ckpt", "last.ckpt")
    assert os.readlink("last.ckpt") == "best.ckpt"
    assert not os.path.lexists("latest.ckpt")


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: _write("runs"), IsADirectoryError),
        (lambda: os.listdir("gone"), FileNotFoundError),
        (lambda: os.rename("runs", "best.ckpt"), NotADirectoryError),
        (lambda: os.rename("best.ckpt", "runs"), OSError),
        (lambda: os.rename("other", "runs"), OSError),
    ],
)
def test_what_fails_without_an_overlay_fails_with_one(
    call: Callable[[], object], error: type[OSError], overlay: Overlay
) -> None:
    with overlay_off():
        os.makedirs("gone")
        os.makedirs("other")
    os.rmdir("gone")
    with pytest.raises(error):
        call()


def test_names_that_were_imported_under_an_earlier_overlay_go_by_the_later(home: Home, tmp_path: pathlib.Path) -> None:
    with Patches() as patches:
        file_calls.take_over(patches, Overlay(lambda: str(tmp_path / "import"), [str(home)]))
        from os import remove
    with Patches() as patches:
        file_calls.take_over(patches, Overlay(lambda: str(tmp_path / "run"), [str(home)]))
        remove("best.ckpt")
        assert not os.path.exists("best.ckpt")
    assert os.path.exists("best.ckpt")
    remove("best.ckpt")
    assert not os.path.exists("best.ckpt")


def test_a_script_that_was_read_under_an_earlier_overlay_writes_to_the_later(
    home: Home, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    (home / "train.py").write_text(
        'def save():\n    with open("best.ckpt", "w") as file:\n        file.write("broken")\n'
    )
    with Patches() as patches:
        file_calls.take_over(patches, Overlay(lambda: str(tmp_path / "import"), [str(home)]))
        script = MainScript(home / "train.py")
        with pytest.raises(TargetError, match=r"calls no Trainer\.fit"):
            script.run_to_fit(())
        save = script.module.save
    with Patches() as patches:
        file_calls.take_over(patches, Overlay(lambda: str(tmp_path / "run"), [str(home)]))
        save()
        assert pathlib.Path("best.ckpt").read_text() == "broken"
    assert pathlib.Path("best.ckpt").read_text() == "the user's best"


def test_tokenizers_are_written_to_the_runs_folder_and_read_back_from_it(home: Home, tmp_path: pathlib.Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    with file_calls.redirected(str(tmp_path / "run" / "files"), [str(home)]):
        pathlib.Path("tiny").mkdir()
        words.save("tiny/tokenizer.json")
        assert tokenizers.Tokenizer.from_file("tiny/tokenizer.json").get_vocab() == {"a": 0, "b": 1}
    assert not (home / "tiny").exists()
    words.save("tokenizer.json")
    assert tokenizers.Tokenizer.from_file("tokenizer.json").get_vocab_size() == 2
