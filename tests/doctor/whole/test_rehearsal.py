"""Scripts of a Trainer that are run to their last line, and those that are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from faultlab.doctor.examination import scripted
from faultlab.doctor.whole import rehearsal

_FIT = "import lightning as L\ntrainer = L.Trainer()\ntrainer.fit(model)\n"


@pytest.mark.parametrize(
    ("more", "goes_on"),
    [
        ("", False),
        ("print(trainer.callback_metrics)\n", False),
        ("trainer.test(model)\n", True),
        ("trainer.fit(other)\n", True),
        ("model = Net.load_from_checkpoint(path)\n", True),
        ("with torch.no_grad():\n    model(x)\n", True),
    ],
)
def test_a_script_that_does_more_than_one_training_goes_on(more: str, goes_on: bool, tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(_FIT + more)
    assert rehearsal.goes_on(scripted(script)) is goes_on


def test_a_script_that_reports_to_a_server_is_not_run_again(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(_FIT + "logger = MLFlowLogger()\ntrainer.test(model)\n")
    engine: object = None  # never asked
    assert rehearsal.whole(scripted(script), engine, 10, 0) == {}  # type: ignore[arg-type]


def test_a_training_learns_later_if_the_whole_script_brings_its_loss_further_down() -> None:
    seen = {"cut": True, "losses": [2.3] * 100}
    assert rehearsal.learns_later(seen, {"losses": [2.3] * 100 + [0.5] * 300})
    assert not rehearsal.learns_later(seen, {"losses": [2.3] * 400})
    assert not rehearsal.learns_later(seen, {})
    assert not rehearsal.learns_later({**seen, "cut": False}, {"losses": [0.5] * 400})
