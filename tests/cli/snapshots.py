"""Everything that the command line prints, as text files that a reviewer reads in a change of it.

``python -m tests.cli.snapshots [NAME...]`` renews `tests/cli/snapshots/`; `test_snapshots.py` compares. Paths,
times and versions are replaced, so that a file is the same on every machine.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from unittest import mock

import click

from faultlab.campaign import heartbeat
from faultlab.cli import _COMMANDS, group, main
from faultlab.core.version import __version__
from tests import warm
from tests.cli import snapshot_cases

FOLDER = Path(__file__).parent / "snapshots"
_SECONDS = re.compile(r"\b\d+(\.\d+)? s\b")
_PERCENT = re.compile(r"\b\d+\.\d %")


def names() -> list[str]:
    """Return the names of all snapshots."""
    return [*(f"help-{command}" for command in ("faultlab", *_COMMANDS)), *CASES]


def printed(name: str, folder: Path) -> str:
    """Return what the commands of a snapshot print.

    Args:
        name: One of `names`.
        folder: An empty folder to run them in.
    """
    if name.startswith("help-"):
        _forget_help_options(group)
        command = name.removeprefix("help-")
        commands = [[*([] if command == "faultlab" else [command]), "--help"]]
        if command == "dev":
            commands += [["dev", sub, "--help"] for sub in ("docs", "schemas", "new")]
    else:
        commands = CASES[name](folder)
    with _inside(folder):
        texts = [_called(arguments) for arguments in commands]
    return _normalised("\n".join(texts), folder)


def _forget_help_options(command: click.Command) -> None:
    """Have click make the help options again: it keeps those that a test has asked a command for without the group."""
    command._help_option = None
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            if (found := command.get_command(context, name)) is not None:
                _forget_help_options(found)


@contextlib.contextmanager
def _inside(folder: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)


def _called(arguments: list[str]) -> str:
    out, err, status = io.StringIO(), io.StringIO(), 0
    env = {name: value for name, value in os.environ.items() if not name.startswith(("FAULTLAB", "FORCE_", "GITHUB"))}
    # Where the tests' warm processes are.
    env |= {name: os.environ[name] for name in (warm.FOLDER,) if name in os.environ}
    env |= {"COLUMNS": "100", "FAULTLAB_WARM": "0", "NO_COLOR": "1"}
    with (
        mock.patch.object(sys, "argv", ["faultlab", *arguments]),
        mock.patch.dict(os.environ, env, clear=True),
        # On a slow machine lines would be printed meanwhile.
        mock.patch.object(heartbeat, "INTERVAL", 3600.0),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main()
        except SystemExit as ended:
            status = int(ended.code or 0)
    shown = [f"$ faultlab {' '.join(arguments)}", out.getvalue().rstrip("\n")]
    if err.getvalue():
        shown += ["--- stderr", err.getvalue().rstrip("\n")]
    return "\n".join([*filter(None, shown), f"--- status {status}", ""])


def _normalised(text: str, folder: Path) -> str:
    text = text.replace(os.path.relpath(Path(__file__).parents[2], folder), "CHECKOUT")
    text = text.replace(str(folder.resolve()), "FOLDER").replace(str(folder), "FOLDER")
    text = text.replace(version("pytorch-lightning"), "LIGHTNING").replace(__version__, "VERSION")
    text = _PERCENT.sub("N %", _SECONDS.sub("N s", text))
    return "\n".join(line.rstrip() for line in text.splitlines()) + "\n"


CASES: Mapping[str, Callable[[Path], list[list[str]]]] = snapshot_cases.CASES


def expected(name: str) -> str:
    """Return the text that is on file; empty if there is none."""
    file = FOLDER / f"{name}.txt"
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def renew(wanted: Sequence[str] = ()) -> None:
    """Write the wanted snapshots, by default all, and remove those that are no longer made."""
    FOLDER.mkdir(exist_ok=True)
    for name in wanted or names():
        with tempfile.TemporaryDirectory() as folder:
            (FOLDER / f"{name}.txt").write_text(printed(name, Path(folder)), encoding="utf-8")
    for file in FOLDER.glob("*.txt"):
        if file.stem not in names():
            file.unlink()


if __name__ == "__main__":
    renew(sys.argv[1:])
