"""What holds for all tests."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests import rings, warm

if TYPE_CHECKING:
    from faultlab.discovery.candidates import Scouting
    from faultlab.engines import Engine

pytest_plugins = ["pytester"]
# A project with tests of its own, which those of `faultlab mutate` run.
collect_ignore = ["mutated"]
# Commands that tests run are told by them what service they are in.
os.environ.pop("GITHUB_ACTIONS", None)
# No process of theirs stays; the tests of those that do set it anew.
os.environ["FAULTLAB_WARM"] = "0"

_session = contextlib.ExitStack()


def pytest_configure(config: pytest.Config) -> None:
    """Workers of pytest-xdist use the warm processes of the session that started them."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # Begun in the background, as some services do: the commands that tests interrupt would ignore it too.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if hasattr(config.option, "loadscopereorder"):
        # xdist would keep the files of a single long test for the end, and give one worker three of them.
        config.option.loadscopereorder = False
    if not hasattr(config, "workerinput"):
        _session.enter_context(warm.folder())


def pytest_unconfigure() -> None:
    _session.close()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    rings.keep(config, items)


@pytest.fixture(scope="session", autouse=True)
def training_begins_warm() -> Iterator[None]:
    """What faultlab starts to train in is a copy of a process that has imported torch."""
    if "pytorch_lightning" in sys.modules:
        from faultlab.frameworks.lightning import namespaces

        # Otherwise each of thousands of Trainers reads the metadata of everything that is installed.
        namespaces.find_plugins_once()
    with pytest.MonkeyPatch.context() as patch:
        warm.begin_warm(patch.setattr)
        yield


@pytest.fixture(scope="module")
def from_the_root() -> Iterator[None]:
    """The tests of a module run in the repository's folder, whose scenarios name their code from there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(Path(__file__).parents[1])
        yield


@pytest.fixture
def nothing_compiled() -> Iterator[None]:
    """A test begins and ends without anything that `torch.compile` has made."""
    import torch

    from tests.zoo import compiled

    torch.set_num_threads(1)
    torch._dynamo.reset()
    compiled.graphs.clear()
    yield
    torch._dynamo.reset()


@pytest.fixture(scope="module")
def scouting() -> Iterator[Scouting]:
    """What tries scripts for ``faultlab init``, one for a file of tests."""
    from faultlab.discovery.candidates import Scouting

    with Scouting() as working:
        yield working


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    """The default engine with two jobs, one for a file of tests."""
    from faultlab import engines

    working = engines.create(engines.default(), 2)
    yield working
    working.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder, of whose files nothing is remembered."""
    from faultlab.discovery import project_index

    project_index.read.cache_clear()
    monkeypatch.chdir(tmp_path)
    return tmp_path
