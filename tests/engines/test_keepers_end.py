"""How a warm process ends, and how commands do without it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from typing import Any

import psutil
import pytest

from faultlab.engines import keeping
from faultlab.engines.keeping import Borrowed, Keeping
from tests.engines.bench import MORE, Bench, learnt, within
from tests.support import call

pytestmark = pytest.mark.skipif(not keeping.possible(), reason="processes stay warm on Linux alone")


def test_a_keeper_ends_when_nobody_has_asked_for_long_and_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAULTLAB_WARM", "0.02")
    bench.start()
    assert bench.none_left()


@pytest.mark.parametrize(
    "how",
    [
        "SIGTERM",
        *(pytest.param(how, marks=MORE) for how in ("socket gone", "folder gone", "asked", "asked in its folder")),
    ],
)
def test_a_keeper_that_is_ended_or_can_not_be_reached_leaves_nothing(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    first = bench.start()
    assert learnt(bench, first)
    (address,) = (bench.runtime / "faultlab").iterdir()
    (state,) = keeping.states()
    if how == "SIGTERM":
        os.kill(state["pid"], signal.SIGTERM)
    elif how == "socket gone":
        address.unlink()
    elif how == "folder gone":
        monkeypatch.chdir(bench.project.parent)
        bench.project.rename(bench.project.with_name("moved"))
    else:
        with monkeypatch.context() as elsewhere:
            elsewhere.chdir(bench.project.parent)
            assert keeping.end_own() == []
        end = keeping.end_own if how == "asked in its folder" else keeping.end_all
        assert [ended["pid"] for ended in end()] == [state["pid"]]
    assert bench.none_left()


@MORE
def test_a_keeper_that_was_killed_is_replaced(bench: Bench) -> None:
    first = bench.start()
    for process in bench.keepers():
        process.kill()
    assert list((bench.runtime / "faultlab").iterdir()), "nobody was there to remove the socket"
    second = bench.start()
    assert second["keeper"] != first["keeper"]
    assert second["keeper"] in [process.pid for process in bench.keepers()]


@MORE
def test_a_command_that_is_killed_leaves_the_keeper_alone(bench: Bench) -> None:
    scenario = bench.project / "scenario.yaml"
    scenario.write_text("schema: 1\nname: own\nbuild: {class_path: own.build}\n")
    command = [sys.executable, "-m", "faultlab", "run", str(scenario), "--out", str(bench.project / "out")]
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seen: dict[str, Any] = {}

    def training() -> bool:
        file = bench.project.parent / "seen.json"
        seen.update(json.loads(file.read_text() or "{}") if file.exists() else {})
        return "victim" in seen

    assert within(100, training)
    driver.kill()
    driver.wait()
    of_the_command = [seen["victim"], seen["pid"], seen["warm"]]
    assert seen["made"] == seen["pid"]
    assert within(20, lambda: not any(map(psutil.pid_exists, of_the_command)))
    (alone,) = bench.keepers() if within(20, lambda: len(bench.keepers()) == 1) else []
    assert [state["pid"] for state in keeping.states()] == [alone.pid]


@MORE
def test_commands_that_start_together_share_one_keeper(bench: Bench) -> None:
    borrowed: list[Borrowed | None] = []

    def borrow(address: str) -> None:
        borrowed.append(Keeping(1).process(address, [str(bench.project)]))

    with socket.socket(socket.AF_UNIX) as listener:
        address = str(bench.runtime / "driver")
        listener.bind(address)
        listener.listen()
        threads = [threading.Thread(target=borrow, args=(address,)) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert None not in borrowed
        assert len(keeping.states()) == 1
        for _ in threads:
            listener.accept()[0].close()
    for process in borrowed:
        assert process is not None
        process.wait(10)
        process.close()
    os.unlink(address)


def test_the_keepers_are_listed_and_ended(
    bench: Bench, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = bench.start()
    assert learnt(bench, seen)
    assert within(20, lambda: [state["busy"] for state in keeping.states()] == [False])
    (state,) = keeping.states()
    listed = call(capsys, monkeypatch, "warm")
    assert f"{bench.project}: process {state['pid']}, " in listed.out
    assert "MiB, exits in 1 min" in listed.out
    assert "stopped" in call(capsys, monkeypatch, "warm", "--stop").out
    assert bench.none_left()
    assert call(capsys, monkeypatch, "warm").out == "no warm processes\n"
