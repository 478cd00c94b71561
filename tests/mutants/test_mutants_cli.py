"""``faultlab mutate`` as a user meets it: what was judged is reported, and never lost."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.mutants import commands


@pytest.fixture(scope="module")
def judged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, commands.Done]:
    root = commands.written(tmp_path_factory.mktemp("judged") / "the project")
    return root, commands.mutate(root, "model.py", "--json", "--jobs=2")


def test_json_is_one_document_with_every_mutant_and_nothing_else(judged: tuple[Path, commands.Done]) -> None:
    _, done = judged
    assert (done.status, done.err) == (0, "")
    statuses = {
        fault["mutant"]["function"]: [one["status"] for one in done.report["faults"] if one["mutant"]["function"] == f]
        for fault in done.report["faults"]
        for f in [fault["mutant"]["function"]]
    }
    assert set(statuses["greeting"]) == {"ignored"}
    assert set(statuses["unused"]) == {"not_activated"}
    assert set(statuses["clipped"]) == {"detected", "silent"}
    survivors = [f["mutant"] for f in done.report["faults"] if f["status"] == "silent"]
    assert ("10", "11") in [(mutant["before"], mutant["after"]) for mutant in survivors]
    assert all(mutant["diff"].startswith("--- model.py") for mutant in survivors)
    assert done.report["mutants"]["score"] < 1
    killed = [f for f in done.report["faults"] if f["status"] == "detected"]
    assert all(f["detected_by"][0]["name"].startswith("test_model.py::test_a_") for f in killed)


def test_the_second_run_finds_everything_judged_and_says_the_same(judged: tuple[Path, commands.Done]) -> None:
    root, first = judged
    second = commands.mutate(root, "model.py", "--json")
    assert second.verdicts == first.verdicts
    asked = [fault for fault in first.report["faults"] if fault["status"] != "ignored"]
    assert second.report["mutants"]["kept"] == len(asked)
    assert first.report["mutants"]["kept"] == 0


@commands.MORE
def test_shards_hold_every_mutant_once_with_the_verdicts_of_the_whole(judged: tuple[Path, commands.Done]) -> None:
    root, whole = judged
    shares = [commands.mutate(root, "model.py", "--json", f"--shard={number}/3").verdicts for number in (1, 2, 3)]
    assert {name: status for share in shares for name, status in share.items()} == whole.verdicts
    assert sum(map(len, shares)) == len(whole.verdicts)


@commands.MORE
def test_asked_for_it_again_everything_is_judged_anew(judged: tuple[Path, commands.Done]) -> None:
    root, first = judged
    again = commands.mutate(root, "model.py", "--json", "--again")
    assert again.report["mutants"]["kept"] == 0
    assert again.verdicts == first.verdicts


def test_a_score_below_what_is_demanded_ends_with_status_1(judged: tuple[Path, commands.Done]) -> None:
    root, _ = judged
    done = commands.mutate(root, "model.py", "--quiet", "--fail-under=1")
    assert done.status == 1
    assert len(done.out.strip().splitlines()) == 1


def test_only_the_functions_that_are_asked_for_are_judged(judged: tuple[Path, commands.Done]) -> None:
    root, _ = judged
    done = commands.mutate(root, "model.py", "--json", "--function=un*")
    assert {fault["mutant"]["function"] for fault in done.report["faults"]} == {"unused"}


def test_since_a_commit_nothing_may_have_changed(judged: tuple[Path, commands.Done]) -> None:
    root, _ = judged
    done = commands.mutate(root, "model.py", "--json", "--since=HEAD")
    assert (done.status, done.report["faults"], done.report["mutants"]["score"]) == (0, [], None)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[tuple[Path, subprocess.Popen[str]]]:
    root = commands.written(tmp_path / "project", seconds=0.7)
    process = subprocess.Popen(
        commands.command("model.py", "--jobs=1", "--function=clipped"),
        cwd=root,
        env=commands.environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    yield root, process
    process.kill()
    process.wait()


@commands.MORE
def test_what_an_interrupted_run_has_judged_is_kept(running: tuple[Path, subprocess.Popen[str]]) -> None:
    root, process = running
    folder = root / "reports/project-source"
    kept = folder / "mutants/verdicts.jsonl"
    end = time.monotonic() + 120
    while time.monotonic() < end and not (kept.exists() and kept.read_text().count("\n") >= 2):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    done = kept.read_text().count("\n")
    report = json.loads((folder / "report.json").read_text())
    assert 2 <= len(report["faults"]) <= done
    assert any("interrupted: the verdicts so far are kept" in reason for reason in report["gate"]["reasons"])
    again = commands.mutate(root, "model.py", "--json", "--function=clipped")
    assert again.status == 0
    assert again.report["mutants"]["kept"] == done < len(again.report["faults"])
