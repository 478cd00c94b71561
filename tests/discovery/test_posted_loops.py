"""Training loops of any make get a scenario that runs at once, and find their folder as it was."""

from __future__ import annotations

import hashlib
from importlib.util import find_spec
from pathlib import Path

import pytest

from faultlab import engines
from faultlab.campaign.campaign import Campaign, Options
from faultlab.campaign.healthy_runs import Watch
from faultlab.config.loop_parts import SCRIPT
from faultlab.config.scenario import load
from faultlab.core.report import Status
from faultlab.discovery import loops
from faultlab.errors import UsageError
from faultlab.frameworks.loops.target import LoopTarget
from tests.posted_loops import OUT_OF_REACH, POSTED_LOOPS, PostedLoop
from tests.support import Quiet

MOST = pytest.mark.nightly(reason="an init and a campaign of a posted loop each")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _state(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts
    }


@MOST
@pytest.mark.parametrize("posted", POSTED_LOOPS, ids=lambda one: one.name)
def test_a_posted_loop_gets_a_scenario_that_runs_at_once(posted: PostedLoop, folder: Path) -> None:
    if posted.needs and find_spec(posted.needs) is None:
        pytest.skip(f"{posted.needs} is not installed")
    posted.copy_to(folder)
    before = _state(folder)
    loop = loops.find(posted.target, posted.arguments)
    assert loop is not None
    answer = loops.tried(loop, 280)
    Path("mine.yaml").write_text(loops.render(loop, answer, "faultlab init"))
    assert (answer["root"].rpartition(".")[2], answer["steps"]) == (posted.root, posted.steps)
    scenario = load(Path("mine.yaml"))
    assert (scenario.monitor.metric if scenario.monitor else "") == posted.monitor
    assert _state(folder).keys() - before.keys() == {"mine.yaml"}
    working = engines.create(engines.default(), 2)
    try:
        options = Options(
            select=("weights.nan", "optimizer.drops-update", "gradient.zero"), watch=Watch(quiet=0, advised=False)
        )
        report = Campaign(scenario, working, options, Quiet()).run()
    finally:
        working.close()
    assert report.reasons == []
    ended = {fault.mode: fault.status for fault in report.faults}
    assert set(ended.values()) <= {Status.SILENT, Status.DETECTED}
    assert report.baseline.deterministic
    assert before.items() <= _state(folder).items(), "a run changes no file of the user's"


@MOST
def test_a_loop_that_updates_by_hand_is_an_error_that_says_what_is_missing(folder: Path) -> None:
    OUT_OF_REACH.copy_to(folder)
    loop = loops.find(OUT_OF_REACH.target, ())
    assert loop is not None
    with pytest.raises(UsageError, match="although backward was called"):
        loops.tried(loop, 280)


def _layout(posted: str, folder: Path) -> LoopTarget:
    (one,) = (one for one in POSTED_LOOPS if one.name == posted)
    one.copy_to(folder)
    return LoopTarget({"train": {"class_path": SCRIPT, "init_args": {"script": one.target}}, "path": [""]})


def test_a_script_of_folds_is_that_of_its_first_fold(folder: Path) -> None:
    layout = _layout("kfold_cfg", folder).layout
    assert layout.roots == (("__main__.Model", 1),)
    assert layout.until == ("__main__.Model", 2)
    assert len(layout.counting) == 1


@pytest.mark.parametrize(
    ("files", "trains"),
    [
        ({"train.py": "import engine\nengine.run()", "engine.py": "def run():\n    loss.backward()"}, True),
        ({"train.py": "from parts.engine import run\nrun()", "parts/engine.py": "loss.backward()"}, True),
        ({"train.py": "from pytorch_tabnet.tab_model import TabNetClassifier\nTabNetClassifier().fit()"}, True),
        ({"train.py": "import engine\nengine.run()", "engine.py": "import pytorch_lightning as pl"}, False),
        ({"train.py": "import engine\nengine.run()", "engine.py": "from lightning import Trainer"}, False),
        ({"train.py": "import numpy as np\nprint(np.zeros(3))"}, False),
        ({"train.py": "import helpers", "helpers.py": "import json"}, False),
    ],
)
def test_a_script_may_train_by_what_it_imports(files: dict[str, str], trains: bool, folder: Path) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text)
    assert (loops.find("train.py", ()) is not None) is trains
