"""The user's folders as a run sees them: read as they are, written to and removed from elsewhere."""

from __future__ import annotations

import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable

import fsspec
import numpy
import pytest
import torch

from faultlab.core.patching import Patches
from faultlab.sandbox import file_calls
from faultlab.sandbox.overlay import Overlay
from tests.sandbox import file_access


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
    file_access.write("linked.ckpt")


def _symbolic_link(path: str) -> None:
    os.symlink(os.path.abspath(path), "pointer.ckpt")
    file_access.write("pointer.ckpt")


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
    file_access.write,
    file_access.append,
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
    lambda path: file_access.write("latest.ckpt"),
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
    write: Callable[[str], None], home: file_access.Home, tmp_path: pathlib.Path
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
    file_access.append("runs/first/log.txt")
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
    file_access.write("step.ckpt")
    os.remove("last.ckpt")
    os.symlink("step.ckpt", "last.ckpt")
    assert pathlib.Path("last.ckpt").read_text() == "broken"


def test_a_link_of_the_users_is_replaced_by_the_runs_own(overlay: Overlay) -> None:
    file_access.write("step.ckpt")
    os.remove("latest.ckpt")
    os.symlink("step.ckpt", "latest.ckpt")
    assert os.readlink("latest.ckpt") == "step.ckpt"
    assert pathlib.Path("latest.ckpt").read_text() == "broken"
    assert pathlib.Path("best.ckpt").read_text() == "the user's best"
    os.remove("latest.ckpt")
    assert not os.path.lexists("latest.ckpt")


def test_temporary_files_and_caches_are_none_of_the_overlays(overlay: Overlay, tmp_path: pathlib.Path) -> None:
    file = tmp_path / "temporary"
    file_access.write(str(file))
    assert file_access.real_text(file) == "broken"


def test_everything_is_as_before_once_the_run_is_over(home: file_access.Home, tmp_path: pathlib.Path) -> None:
    names = ["open", "stat", "listdir", "remove", "rename", "mkdir", "scandir", "link"]
    before = [getattr(os, name) for name in names]
    with Patches() as patches:
        file_calls.take_over(patches, Overlay(lambda: str(tmp_path / "run"), [str(home)]))
        from_within = os.remove
    assert [getattr(os, name) for name in names] == before
    from_within("best.ckpt")
    assert not (home / "best.ckpt").exists(), "a name that is kept for longer is the plain call again"


def test_a_link_to_a_folder_that_a_run_removes_stays_the_users(overlay: Overlay, home: file_access.Home) -> None:
    with file_access.overlay_off():
        os.symlink("runs", "newest")
    os.remove(home / "newest")
    assert not os.path.lexists("newest")
    with file_access.overlay_off():
        assert os.readlink("newest") == "runs"


def test_what_a_run_has_removed_is_not_changed_below(overlay: Overlay) -> None:
    os.remove("best.ckpt")
    for change in (lambda: os.chmod("best.ckpt", 0o400), lambda: os.truncate("best.ckpt", 0)):
        with pytest.raises(FileNotFoundError):
            change()
    with file_access.overlay_off():
        assert pathlib.Path("best.ckpt").read_text() == "the user's best"
        assert os.stat("best.ckpt").st_mode & 0o200


def test_by_a_link_that_a_run_has_made_it_reads_the_users_files_and_writes_its_own(
    overlay: Overlay, home: file_access.Home
) -> None:
    os.symlink(home / "runs" / "first", "current")
    assert pathlib.Path("current/log.txt").read_text() == "epoch 0\n"
    file_access.append("current/log.txt")
    assert pathlib.Path("runs/first/log.txt").read_text() == "epoch 0\nmore"
    with file_access.overlay_off():
        assert pathlib.Path("runs/first/log.txt").read_text() == "epoch 0\n"


def test_a_run_that_goes_into_a_folder_it_has_written_to_finds_all_of_it(
    overlay: Overlay, home: file_access.Home
) -> None:
    file_access.write("runs/new.txt")
    os.makedirs("outputs/today")
    os.chdir("runs")
    assert sorted(os.listdir()) == ["first", "new.txt"]
    os.chdir(home / "outputs" / "today")
    assert os.getcwd() == str(home / "outputs" / "today")
    assert pathlib.Path("../../best.ckpt").read_text() == "the user's best"
    file_access.write("here.txt")
    assert (home / "outputs" / "today" / "here.txt").read_text() == "broken"
    os.chdir(home)


def test_folders_are_renamed_with_all_that_a_run_sees_in_them_and_links_as_links(overlay: Overlay) -> None:
    file_access.write("runs/new.txt")
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
        (lambda: file_access.write("runs"), IsADirectoryError),
        (lambda: os.listdir("gone"), FileNotFoundError),
        (lambda: os.rename("runs", "best.ckpt"), NotADirectoryError),
        (lambda: os.rename("best.ckpt", "runs"), OSError),
        (lambda: os.rename("other", "runs"), OSError),
    ],
)
def test_what_fails_without_an_overlay_fails_with_one(
    call: Callable[[], object], error: type[OSError], overlay: Overlay
) -> None:
    with file_access.overlay_off():
        os.makedirs("gone")
        os.makedirs("other")
    os.rmdir("gone")
    with pytest.raises(error):
        call()
