"""What the command line prints is what `tests/cli/snapshots/` has on file."""

from __future__ import annotations

import difflib
from pathlib import Path

import click
import pytest

from faultlab.cli import group
from tests.cli import snapshots


@pytest.mark.parametrize("name", snapshots.names())
def test_a_command_prints_what_is_on_file(name: str, tmp_path: Path) -> None:
    now = snapshots.printed(name, tmp_path)
    then = snapshots.expected(name)
    if now != then:
        diff = difflib.unified_diff(then.splitlines(), now.splitlines(), f"{name}.txt", "printed", lineterm="")
        pytest.fail("\n".join([*diff, "", "`python -m tests.cli.snapshots` renews the files."]), pytrace=False)


def test_no_file_is_left_of_a_snapshot_that_is_no_longer_made() -> None:
    assert {file.stem for file in snapshots.FOLDER.glob("*.txt")} == set(snapshots.names())


def test_help_is_the_same_after_a_test_has_used_a_command_without_its_group(tmp_path: Path) -> None:
    command = group.get_command(click.Context(group), "watch")
    assert command is not None
    snapshots._forget_help_options(command)
    click.Context(command).get_help()
    assert "-h, --help" in snapshots.printed("help-watch", tmp_path)
