"""``faultlab watch`` says what became of a process, and leaves none behind."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from faultlab.engines.supervisor import VARIABLE
from faultlab.guards import heartbeat

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="watch needs a POSIX system")
BEGUN = """echo '{"state": "begun", "step": 7, "epoch": 1, "error": ""}' > $FAULTLAB_HEARTBEAT;"""
# Seconds that nothing takes unless it hangs, however busy the machine.
PATIENCE = 120
FINISHED = """echo '{"state": "finished", "step": 9, "epoch": 2, "error": ""}' > $FAULTLAB_HEARTBEAT;"""


def begin(script: str, *options: str, **arguments: Any) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "faultlab", "watch", *options, "--", "sh", "-c", script]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "stdin": subprocess.DEVNULL}
    return subprocess.Popen(command, text=True, **{**pipes, **arguments})


def watch(script: str, *options: str) -> subprocess.CompletedProcess[str]:
    process = begin(script, *options)
    out, err = process.communicate(timeout=PATIENCE)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be asked about does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def until(condition: Any) -> None:
    late = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < late
        time.sleep(0.01)


def test_guard_and_supervisor_speak_of_the_same_variable() -> None:
    assert heartbeat.VARIABLE == VARIABLE


def test_a_command_that_is_fine_is_left_alone() -> None:
    done = watch("echo out; echo err >&2; " + BEGUN + FINISHED)
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "err\n")


def test_a_command_without_heartbeat_is_fine_by_its_status() -> None:
    assert watch("true").returncode == 0


def test_a_failure_keeps_its_status() -> None:
    done = watch("exit 3")
    assert done.returncode == 3
    assert "ended with status 3" in done.stderr


def test_status_0_before_the_training_was_done_is_a_failure() -> None:
    done = watch(BEGUN + "exit 0")
    assert done.returncode == 1
    assert "status 0, last heartbeat at step 7 (epoch 1), before its training was done" in done.stderr


def test_an_exception_that_was_swallowed_is_named() -> None:
    done = watch(BEGUN.replace("begun", "failed").replace('"error": ""', '"error": "SIGTERMException"'))
    assert done.returncode == 1
    assert "at step 7 (epoch 1), before its training was done, by SIGTERMException" in done.stderr


def test_a_training_that_never_was_is_a_failure_where_one_is_expected() -> None:
    assert watch("true", "--expect-finish").returncode == 1
    assert watch(FINISHED, "--expect-finish").returncode == 0


def test_a_kill_is_told_from_a_failure() -> None:
    done = watch(BEGUN + "kill -KILL $$")
    assert done.returncode == 128 + signal.SIGKILL
    assert "killed by SIGKILL, last heartbeat at step 7 (epoch 1)" in done.stderr


def test_a_kill_for_memory_is_told_from_others() -> None:
    # In a process of its own: a supervisor takes note of every child of the one that it runs in.
    code = """
from faultlab.engines import memory_kills, supervisor
counts = iter([4, 5])
memory_kills.count = lambda: next(counts)
ending = supervisor.Supervisor(["sh", "-c", "kill -KILL $$"]).run()
print(ending.outcome, ending.found)
"""
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
    assert told.startswith("killed the command was killed, after 0 s, for lack of memory")


def test_a_crash_in_native_code_is_told() -> None:
    done = watch("kill -SEGV $$")
    assert done.returncode == 128 + signal.SIGSEGV
    assert "crashed with SIGSEGV" in done.stderr


def test_a_full_disk_is_told() -> None:
    done = watch("echo 'OSError: [Errno 28] No space left on device' >&2; exit 1")
    assert "The disk is full" in done.stderr


def test_a_hung_command_is_ended_and_shows_where_it_was() -> None:
    hung = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    done = watch(f"exec {sys.executable} -S -c '{hung}'", "--stall", "1.5", "--grace", "1")
    assert done.returncode == 124
    assert "hung: no sign of life for 1.5 s" in done.stderr
    assert "most recent call first" in done.stderr


def test_output_is_no_sign_of_life_of_a_training_that_has_begun() -> None:
    done = watch(BEGUN + "while true; do echo still here; sleep 0.05; done", "--stall", "1", "--grace", "0.1")
    assert done.returncode == 124
    assert "at step 7" in done.stderr


def test_output_and_heartbeats_are_signs_of_life() -> None:
    script = (
        f"for i in $(seq 16); do echo $i; sleep 0.05; done; for i in $(seq 16); do {BEGUN} sleep 0.05; done; {FINISHED}"
    )
    # Longer than the pauses by as much as a busy machine may add, and shorter than the whole.
    assert watch(script, "--stall", "1").returncode == 0


def test_signals_reach_the_command() -> None:
    process = begin("trap 'echo heard; exit 0' TERM;" + BEGUN + "echo ready; while true; do sleep 0.02; done")
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE)
    assert (out, process.returncode) == ("heard\n", 1)
    assert "before its training was done, after SIGTERM" in err


def test_a_signal_that_ends_the_command_is_its_status() -> None:
    process = begin("echo ready; exec sleep 30")
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + signal.SIGINT


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux gives a process its descendants' orphans")
def test_children_that_fork_away_are_ended_too() -> None:
    daemon = f"{sys.executable} -S -c 'import os, time; os.setsid(); print(os.getpid(), flush=True); time.sleep(60)' &"
    done = watch(f"({daemon}) ; sleep 60 & echo $!; sleep 0.1; exit 0")
    pids = [int(line) for line in done.stdout.split()]
    assert done.returncode == 0
    assert len(pids) == 2
    assert not any(map(alive, pids))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills a child with its parent")
def test_the_command_does_not_outlive_the_watch() -> None:
    process = begin("echo $$; exec sleep 60")
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.kill()
    process.communicate(timeout=PATIENCE)
    until(lambda: not alive(pid))


def test_a_flood_goes_through() -> None:
    done = watch("head -c 20000000 /dev/zero; echo end >&2")
    assert len(done.stdout) == 20_000_000
    assert done.stderr == "end\n"


def test_a_reader_that_has_gone_ends_a_flood_as_ever() -> None:
    process = begin("yes")
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.wait(timeout=PATIENCE) == 128 + signal.SIGPIPE


def test_a_terminal_stays_one_to_the_command() -> None:
    outer, inner = pty.openpty()
    process = begin("test -t 1 && echo a terminal", stdout=inner, stderr=inner)
    os.close(inner)
    process.wait(timeout=PATIENCE)
    said = b""
    with contextlib.suppress(OSError):
        while data := os.read(outer, 1024):
            said += data
    os.close(outer)
    assert said == b"a terminal\r\n"


def test_what_happened_as_json() -> None:
    told = json.loads(watch(BEGUN + "exit 0", "--json").stderr)
    assert (told["outcome"], told["status"], told["step"], told["epoch"]) == ("unfinished", 1, 7, 1)
    assert json.loads(watch("true", "--json").stderr)["outcome"] == "finished"


def test_a_command_that_does_not_exist_is_told() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "faultlab", "watch", "--", "no-such-command"], capture_output=True, text=True
    )
    assert done.returncode == 127
    assert "no-such-command could not be started: No such file or directory" in done.stderr


def test_watching_imports_no_torch() -> None:
    code = "import sys, faultlab.engines.supervisor, faultlab.cli.watch_command; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
