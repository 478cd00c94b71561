"""Engines are found by their names, those of other packages too, and each owes what all do."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from faultlab import api, engines
from faultlab.cli import options
from faultlab.config.scenario import load
from faultlab.core.report import Status
from faultlab.engines import spawn
from faultlab.errors import UsageError
from tests.engines import toy
from tests.engines.contract import EngineTester
from tests.engines.toy import ToyEngine
from tests.installed import distribution
from tests.lab import ROOT

SCENARIO = """\
schema: 1
name: trial
build: {class_path: tests.zoo.models.classifier}
trainer: {max_epochs: 2}
"""
IMPORTS = 6.0
"""The seconds that a run which hangs is given for its imports here, where they are warm."""
SPAWN = pytest.mark.nightly(reason="a process anew for each run; the quick ring has a toy engine that starts the same")
CAMPAIGN = pytest.mark.nightly(reason="a whole campaign; the quick ring has each kind of order")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="it forks")
class TestFork(EngineTester):
    name = "fork"


@SPAWN
class TestSpawn(EngineTester):
    name = "spawn"

    @pytest.fixture(scope="class")
    @classmethod
    def installed(cls) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(spawn, "_IMPORTS", IMPORTS)
            yield


class TestToy(EngineTester):
    name = "toy"

    @pytest.fixture(scope="class")
    @classmethod
    def installed(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            patch.syspath_prepend(_site(tmp_path_factory.mktemp("toy")))
            patch.setattr(toy, "IMPORTS", IMPORTS)
            yield

    @CAMPAIGN
    def test_a_campaign_comes_to_its_verdicts(self, installed: None, tmp_path: Path) -> None:
        (tmp_path / "trial.yaml").write_text(SCENARIO)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("PYTHONPATH", str(ROOT))
            report = api.run(
                load(tmp_path / "trial.yaml"),
                out=tmp_path,
                engine="toy",
                select=["step.raises@step=3", "loss.negated@always"],
                advice=False,
            )
        assert report.reasons == []
        statuses = {fault.id: fault.status for fault in report.faults}
        assert statuses == {"step.raises@step=3": Status.DETECTED, "loss.negated@always": Status.SILENT}


def _site(folder: Path) -> Path:
    entries = {
        "absent": "tests.engines.nowhere:Engine",
        "fork": "tests.engines.toy:ToyEngine",
        "toy": "tests.engines.toy:ToyEngine",
    }
    distribution(folder, engines.ENTRY_POINT_GROUP, entries)
    return folder


def test_faultlabs_own_engines_come_first_and_nobody_takes_their_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert engines.names() == ["fork", "spawn"]
    monkeypatch.syspath_prepend(_site(tmp_path))
    assert engines.names() == ["fork", "spawn", "absent", "toy"]
    for name in ("fork", "spawn"):
        engine = engines.create(name, 1)
        engine.close()
        assert not isinstance(engine, ToyEngine)


def test_an_engine_that_is_not_there_is_told_with_those_that_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(_site(tmp_path))
    with pytest.raises(UsageError, match="unknown engine 'warp'; use one of fork, spawn, absent, toy"):
        engines.create("warp", 1)
    with pytest.raises(UsageError, match=r"'absent', tests\.engines\.nowhere:Engine, can't be imported: ModuleNotFo"):
        engines.create("absent", 1)


def test_the_command_line_knows_engines_by_name_and_imports_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import click

    monkeypatch.syspath_prepend(_site(tmp_path))
    monkeypatch.delitem(sys.modules, "tests.engines.toy")

    @click.command()
    @options.engine
    def command(engine: str | None) -> None:
        click.echo(engine)

    assert CliRunner().invoke(command, ["--engine", "toy"]).output == "toy\n"
    assert "[fork|spawn|absent|toy]" in CliRunner().invoke(command, ["--help"]).output
    wrong = CliRunner().invoke(command, ["--engine", "warp"])
    assert wrong.exit_code == 2
    assert "'warp' is not one of 'fork', 'spawn', 'absent', 'toy'." in wrong.output
    (param,) = command.params
    completed = param.type.shell_complete(click.Context(command), param, "s")
    assert [item.value for item in completed] == ["spawn"]
    assert "tests.engines.toy" not in sys.modules
