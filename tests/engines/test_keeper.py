"""The process that stays warm between commands: whose it is, what it knows, how it ends."""

from __future__ import annotations

import importlib
import json
import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import pytest

from faultlab import engines
from faultlab.engines import inherited, keeping
from faultlab.engines.fork import ForkEngine
from faultlab.engines.keeping import Borrowed, Keeping
from faultlab.engines.preloaded import Learning
from faultlab.errors import TargetError, UsageError
from tests import warm
from tests.support import call

MORE = pytest.mark.nightly(
    reason="a keeper of its own, which imports torch; the quick ring has one that serves, refuses and ends"
)
ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.skipif(not keeping.possible(), reason="processes stay warm on Linux alone")

# What a user's module sees when a scenario imports it. Installed packages are imported after it has looked.
MODULE = """
import json, os, resource, sys, random
from pathlib import Path

def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])

umask = os.umask(0)
os.umask(umask)
seen = {
    "version": 1,
    "pid": os.getpid(),
    "warm": os.getppid(),
    "keeper": parent(os.getppid()),
    "loaded": sorted({"installed", "unruly"} & set(sys.modules)),
    "drawn": random.random(),
    "inherited": {
        "environment": dict(os.environ),
        "folder": os.getcwd(),
        "umask": umask,
        "limits": [resource.getrlimit(limit) for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_CORE)],
        "path": sys.path,
        "leads": [os.getsid(os.getppid()) == os.getppid(), os.getsid(0) == os.getpid()],
        "descriptors": len(os.listdir("/proc/self/fd")),
        "threads": os.environ["OMP_NUM_THREADS"],
        "input": os.readlink("/proc/self/fd/0"),
    },
}
SEEN = Path(__file__).parents[1] / "seen.json"  # outside of the project, where no run keeps what it writes to itself
SEEN.write_text(json.dumps(seen))
IMPORTS

def build():
    SEEN.write_text(json.dumps(seen | {"victim": os.getpid(), "made": os.getppid()}))
    import time
    time.sleep(600)
"""


@dataclass
class Bench:
    """A project, what is installed for it, and the folder in which its keepers listen."""

    project: Path
    packages: Path
    runtime: Path

    def write(self, imports: str = "import installed") -> None:
        (self.project / "own.py").write_text(MODULE.replace("IMPORTS", imports))

    def start(self, *folders: Path) -> dict[str, Any]:
        """What the user's module sees when a command starts up."""
        engine = ForkEngine(1)
        engine.keep_warm()
        path = [str(folder) for folder in folders or (self.project,)]
        try:
            engine.open("own", {"path": path, "build": {"class_path": "own.build"}, "guards": []})
        finally:
            engine.close()
        seen: dict[str, Any] = json.loads((self.project.parent / "seen.json").read_text())
        return seen

    def keepers(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter(["cmdline"]):
            words = process.info["cmdline"] or []
            if "faultlab.engines.keeper" in words and any(word.startswith(str(self.runtime)) for word in words):
                found.append(process)
        return found

    def none_left(self) -> bool:
        return within(10, lambda: not self.keepers() and not list(self.runtime.iterdir()))


def within(seconds: float, true: Callable[[], Any]) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if true():
            return True
        time.sleep(0.05)
    return False


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="k") as runtime:
        project, packages = tmp_path / "project", tmp_path / "site-packages"
        project.mkdir()
        # As pip leaves it: a folder for compiled code that is made later would be a change of what is installed.
        (packages / "__pycache__").mkdir(parents=True)
        (packages / "installed.py").write_text("")
        monkeypatch.setenv("FAULTLAB_WARM", "1")
        monkeypatch.setenv("XDG_RUNTIME_DIR", runtime)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(packages), str(ROOT)]))
        monkeypatch.delenv("PYTEST_CURRENT_TEST")
        monkeypatch.chdir(project)
        # What a process is handed by whoever starts it is what these tests are about.
        monkeypatch.setattr(subprocess, "Popen", warm.FRESH)
        made = Bench(project, packages, Path(runtime))
        made.write()
        yield made
        for process in made.keepers():
            process.kill()


def learnt(bench: Bench, before: dict[str, Any]) -> bool:
    """Whether the keeper has left its place to a copy that has imported what the command before it did."""
    return within(60, lambda: [state["pid"] for state in keeping.states()] not in ([], [before["keeper"]]))


def test_the_next_command_finds_imported_what_is_installed_and_imports_the_users_code_anew(bench: Bench) -> None:
    first = bench.start()
    assert first["loaded"] == []
    assert learnt(bench, first)
    bench.write("import installed, another")
    (bench.project / "another.py").write_text("")
    own = bench.project / "own.py"
    own.write_text(own.read_text().replace('"version": 1', '"version": 2'))
    second = bench.start()
    assert (first["version"], second["version"]) == (1, 2)
    assert second["loaded"] == ["installed"]
    assert second["keeper"] == keeping.states()[0]["pid"]
    assert second["drawn"] != first["drawn"], "random numbers are drawn anew by every process that starts"


@MORE
def test_a_process_of_a_keeper_is_as_one_that_the_command_started(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    import resource

    first = bench.start()
    assert learnt(bench, first)
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    umask = os.umask(0o027)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (500, limit[1]))
        monkeypatch.setenv("SHLVL", "7")
        warm = bench.start()
        assert warm["loaded"] == ["installed"]
        monkeypatch.setenv("FAULTLAB_WARM", "0")
        cold = bench.start()
    finally:
        os.umask(umask)
        resource.setrlimit(resource.RLIMIT_NOFILE, limit)
    assert cold["loaded"] == []
    monkeypatch.setenv("FAULTLAB_WARM", "1")
    for seen in (warm, cold):
        seen["inherited"]["environment"].pop("FAULTLAB_WARM")
    assert warm["inherited"] == cold["inherited"]
    assert warm["inherited"]["umask"] == 0o027
    assert warm["inherited"]["environment"]["SHLVL"] == "7"


@pytest.mark.parametrize(
    "change",
    ["package", *(pytest.param(c, marks=MORE) for c in ("environment", "new package", "own folder", "shadow"))],
)
def test_a_keeper_serves_no_command_that_would_have_imported_something_else(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, change: str
) -> None:
    first = bench.start()
    assert learnt(bench, first)
    (before,) = keeping.states()
    if change == "environment":
        monkeypatch.setenv("KMP_WARNINGS", "0")
    elif change == "package":
        (bench.packages / "installed.py").write_text("# changed")
    elif change == "new package":
        (bench.packages / "optional.py").write_text("")
    elif change == "own folder":
        monkeypatch.chdir(tmp_path)
    else:
        (bench.project / "installed.py").write_text("")
    second = bench.start()
    assert second["loaded"] == []
    pids = [state["pid"] for state in keeping.states()]
    if change in ("own folder", "shadow"):
        assert before["pid"] in pids, "what it knows is still right for others"
    else:
        assert before["pid"] not in pids
    assert len(pids) == 1 + (change == "own folder")


THREAD = "import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()"
EXIT = "import os, sys\nif 'own' not in sys.modules: os._exit(1)"


@MORE
@pytest.mark.parametrize(
    ("source", "before"),
    [(THREAD, ""), (EXIT, ""), ("", "os.environ['SETTING'] = 'so'; ")],
    ids=["starts a thread", "ends the process", "is configured by the user"],
)
def test_what_can_not_be_imported_ahead_is_left_to_the_scenario(bench: Bench, source: str, before: str) -> None:
    (bench.packages / "unruly.py").write_text(source)
    bench.write(f"{before}import installed, unruly")
    assert learnt(bench, bench.start()), "the rest of it was imported"
    second = bench.start()
    assert second["loaded"] == []
    assert [state["pid"] for state in keeping.states()] == [second["keeper"]]


@MORE
def test_what_the_scenario_names_is_not_imported_ahead_though_it_is_installed(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(bench.packages))
    learning = Learning()
    monkeypatch.setitem(sys.modules, "installed", importlib.import_module("installed"))
    assert learning.learnt([])["modules"] == ["installed"]
    assert learning.learnt(["installed"])["modules"] == []


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


def test_the_fingerprint_is_that_of_what_can_not_be_changed_later(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    found = inherited.fingerprint()
    umask = os.umask(0o077)
    monkeypatch.setenv("SHLVL", "9")
    assert inherited.fingerprint() == found
    os.umask(umask)
    with monkeypatch.context() as changed:
        changed.setenv("LD_LIBRARY_PATH", "/opt")
        assert inherited.fingerprint() != found
    with monkeypatch.context() as changed:
        other = tmp_path / "python"
        other.symlink_to(sys.executable)
        changed.setattr(sys, "executable", str(other))
        assert inherited.fingerprint() != found
    with monkeypatch.context() as changed:
        changed.setattr("faultlab.core.version.__version__", "99")
        assert inherited.fingerprint() != found
    with monkeypatch.context() as changed:
        changed.chdir(tmp_path)
        assert inherited.fingerprint() != found
    assert inherited.fingerprint() == found


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
