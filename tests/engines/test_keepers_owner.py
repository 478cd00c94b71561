"""Whose a warm process is, and how long the user wants it to stay."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

import pytest

from faultlab import engines
from faultlab.engines import keeping
from faultlab.engines.keeping import Keeping
from faultlab.errors import TargetError, UsageError
from tests.engines.bench import MORE, Bench, learnt
from tests.support import call

pytestmark = pytest.mark.skipif(not keeping.possible(), reason="processes stay warm on Linux alone")


@MORE
def test_a_keeper_of_another_user_is_not_asked(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    first = bench.start()
    monkeypatch.setattr(keeping, "peer", lambda connection: os.geteuid() + 1)
    second = bench.start()
    assert second["keeper"] not in [process.pid for process in bench.keepers()]
    assert first["keeper"] != second["keeper"]
    monkeypatch.undo()


@pytest.mark.parametrize("how", ["open to others", "a link", "a file"])
def test_no_keeper_listens_where_others_may_have_been(bench: Bench, how: str) -> None:
    folder = bench.runtime / "faultlab"
    if how == "open to others":
        folder.mkdir()
        folder.chmod(0o755)
    elif how == "a link":
        (bench.runtime / "elsewhere").mkdir(0o700)
        folder.symlink_to(bench.runtime / "elsewhere")
    else:
        folder.write_text("")
    assert Keeping(1).process("nowhere", []) is None
    assert not bench.keepers()


@MORE
def test_keepers_of_a_user_without_a_runtime_folder_listen_in_one_that_is_theirs_alone(
    monkeypatch: pytest.MonkeyPatch, bench: Bench
) -> None:
    bench.runtime.chmod(0o750)
    monkeypatch.setattr(tempfile, "tempdir", str(bench.runtime))
    seen = bench.start()
    (folder,) = bench.runtime.iterdir()
    assert folder.name == f"faultlab-{os.geteuid()}"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [state["pid"] for state in keeping.states()] == [seen["keeper"]] or learnt(bench, seen)
    keeping.end_all()
    assert bench.none_left()


@pytest.mark.parametrize(
    ("wish", "service", "minutes"),
    [
        (None, None, 5),
        ("0", None, 0),
        ("", None, 0),
        ("2.5", None, 2.5),
        (None, "true", 0),
        (None, "false", 5),
        ("3", "1", 3),
    ],
)
def test_the_environment_says_how_long_a_process_stays(
    monkeypatch: pytest.MonkeyPatch, wish: str | None, service: str | None, minutes: float
) -> None:
    for name, value in (("FAULTLAB_WARM", wish), ("CI", service)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    assert keeping.minutes() == minutes


@pytest.mark.parametrize("wish", ["soon", "-1", "nan", "inf"])
def test_a_wish_that_is_no_number_of_minutes_is_refused(monkeypatch: pytest.MonkeyPatch, wish: str) -> None:
    monkeypatch.setenv("FAULTLAB_WARM", wish)
    with pytest.raises(UsageError, match=f"FAULTLAB_WARM={wish}"):
        keeping.minutes()


class _Asked:
    """An engine that notes whether it may keep a process, and has no scenario."""

    jobs = 1

    def __init__(self) -> None:
        self.asked = False

    def keep_warm(self) -> None:
        self.asked = True

    def open(self, name: str, scenario: object) -> None:
        raise TargetError((), "not here")

    def close(self) -> None:
        return


@pytest.mark.parametrize("wanted", [True, False])
@pytest.mark.parametrize(
    "command",
    [("run", "FILE"), ("prescribe", "FILE"), ("sweep", "label.noisy", "--scenario", "FILE"),
     ("replay", "loss.nan@step=1", "--scenario", "FILE"), ("demo",)],
    ids=lambda command: command[0],
)  # fmt: skip
def test_commands_keep_no_process_that_are_told_not_to(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    command: tuple[str, ...],
    wanted: bool,
) -> None:
    file = tmp_path / "scenario.yaml"
    file.write_text("schema: 1\nname: made-up\nbuild: {class_path: tests.zoo.models.classifier}\n")
    engine = _Asked()
    monkeypatch.setattr(engines, "create", lambda name, jobs: engine)
    words = [str(file) if word == "FILE" else word for word in command]
    call(capsys, monkeypatch, *words, "--out", tmp_path, *([] if wanted else ["--no-warm"]))
    assert engine.asked is wanted
