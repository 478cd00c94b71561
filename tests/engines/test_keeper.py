"""The process that stays warm between commands: what it knows, and when it serves."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

from faultlab.engines import inherited, keeping
from faultlab.engines.preloaded import Learning
from tests.engines.bench import MORE, Bench, learnt

pytestmark = pytest.mark.skipif(not keeping.possible(), reason="processes stay warm on Linux alone")


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
