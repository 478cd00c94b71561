"""What the overlay lets through, and what it reaches: data, packages' logs, links, databases, late imports."""

from __future__ import annotations

import os
import pathlib
import sqlite3
import sys
from typing import Any

import pytest
import torch

from faultlab.core.patching import Patches
from faultlab.errors import TargetError
from faultlab.frameworks.lightning.main_script import MainScript
from faultlab.sandbox import file_calls
from faultlab.sandbox.overlay import Overlay
from tests.sandbox import file_access


def test_new_data_is_let_through_while_it_is_prepared_and_nothing_else(
    overlay: Overlay, home: file_access.Home
) -> None:
    with overlay.preparing():
        os.makedirs("data/raw")
        file_access.write("data/raw/train.part")
        os.rename("data/raw/train.part", "data/raw/train")
        file_access.write("best.ckpt")
        os.remove("runs/first/log.txt")
    file_access.write("data/raw/later")
    files = {str(path.relative_to(home)) for path in _real_files(home)}
    assert files == {"data/raw/train", "best.ckpt", "latest.ckpt", "runs/first/log.txt"}
    assert file_access.real_text(home / "best.ckpt") == "the user's best"
    assert pathlib.Path("best.ckpt").read_text() == "broken"


@pytest.mark.parametrize("package", ["hydra.core.utils", "pytorch_lightning.loggers.csv_logs", "logging", "wandb.sdk"])
def test_what_packages_log_is_no_data(package: str, overlay: Overlay, home: file_access.Home) -> None:
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


def test_the_folder_of_the_run_before_means_the_runs_own(
    overlay: Overlay, tmp_path: pathlib.Path, home: file_access.Home
) -> None:
    before = tmp_path / "snapshot_run"
    overlay.succeed(str(before))
    torch.save(torch.ones(1), before / "state.pt")
    os.rename(before / "state.pt", before / "kept.pt")
    assert os.listdir(before) == ["kept.pt"]
    assert not before.exists() or not _real_files(before)
    assert _real_files(tmp_path / "run") == [tmp_path / "run" / "kept.pt"]


def test_a_project_that_is_reached_by_a_link_is_covered_too(home: file_access.Home, tmp_path: pathlib.Path) -> None:
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


def _tables(connection: sqlite3.Connection) -> list[str]:
    names = [name for (name,) in connection.execute("select name from sqlite_master")]
    connection.close()
    return names


def test_a_database_by_sqlite_is_the_runs_own_copy(overlay: Overlay, home: file_access.Home) -> None:
    file_access.CONNECT(home / "runs.db").execute("create table mine (a)")
    sqlite3.connect("runs.db").execute("create table more (a)")
    assert _tables(sqlite3.connect("runs.db")) == ["mine", "more"]
    assert _tables(file_access.CONNECT(home / "runs.db")) == ["mine"]


def test_a_database_that_is_too_large_to_copy_is_out_of_reach_and_said_to_be(
    overlay: Overlay, home: file_access.Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(file_calls, "_LARGEST_DATABASE", 0)
    file_access.CONNECT(home / "runs.db").execute("create table mine (a)")
    sqlite3.connect("runs.db").execute("create table more (a)")
    assert _tables(file_access.CONNECT(home / "runs.db")) == ["mine", "more"]


def test_names_that_were_imported_under_an_earlier_overlay_go_by_the_later(
    home: file_access.Home, tmp_path: pathlib.Path
) -> None:
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
    home: file_access.Home, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
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


def test_tokenizers_are_written_to_the_runs_folder_and_read_back_from_it(
    home: file_access.Home, tmp_path: pathlib.Path
) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel({"a": 0, "b": 1}, unk_token="a"))
    with file_calls.redirected(str(tmp_path / "run" / "files"), [str(home)]):
        pathlib.Path("tiny").mkdir()
        words.save("tiny/tokenizer.json")
        assert tokenizers.Tokenizer.from_file("tiny/tokenizer.json").get_vocab() == {"a": 0, "b": 1}
    assert not (home / "tiny").exists()
    words.save("tokenizer.json")
    assert tokenizers.Tokenizer.from_file("tokenizer.json").get_vocab_size() == 2
