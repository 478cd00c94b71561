"""Blind rounds: ill trainings that were written down before the doctor was shown any of them.

Two rounds are after public threads, the third is of everyday mistakes. Of the first round's 20 it named 7 before it was
mended for them; of the second's 10, written after these mends, 4 by the patterns, and 2 with a remedy that heals the
true cause; of the third's 10, written after these, 2. It now names those that are tested here.
"""

from __future__ import annotations

import contextlib
import io
from importlib.util import find_spec
from pathlib import Path

import pytest

from faultlab.doctor.examination import examine
from faultlab.doctor.finding import OK, WRONG, Finding
from faultlab.engines import Engine
from tests.patients.blind import (
    first_lightning,
    first_lightning_losses,
    first_loops,
    first_loops_validation,
    first_trainers,
    second_lightning,
    second_loops,
    second_trainers,
    third_lightning,
    third_loops,
)
from tests.patients.blind.case import Case

_LOOPS = [*first_loops.CASES, *first_loops_validation.CASES, *second_loops.CASES, *third_loops.CASES]
_LIGHTNING = [*first_lightning.CASES, *first_lightning_losses.CASES, *second_lightning.CASES, *third_lightning.CASES]
_TRAINERS = [*first_trainers.CASES, *second_trainers.CASES]
_QUICK = ("validation-accuracy-over-all-epochs", "best-weights-not-copied", "average-too-slow")
_NIGHTLY = pytest.mark.nightly(reason="three loops of them run quick; each takes one training or several")
_HF = pytest.mark.skipif(find_spec("transformers") is None, reason="the extra `hf` is not installed")


def _cases(quick: tuple[str, ...] = ()) -> list[object]:
    return [
        pytest.param(
            one,
            id=one.name,
            marks=[*([] if one.name in quick else [_NIGHTLY]), *([_HF] if one in _TRAINERS else [])],
        )
        for one in [*_LOOPS, *_LIGHTNING, *_TRAINERS]
    ]


def _examined(folder: Path, case: Case, remedied: bool, engine: Engine) -> list[Finding]:
    script = folder / f"{case.name.replace('-', '_')}.py"
    script.write_text(case.script(remedied))
    return list(examine(str(script), 120, engine=engine))


@pytest.mark.parametrize("case", _cases(_QUICK))
def test_the_true_cause_is_among_the_first_two_findings(case: Case, tmp_path: Path, engine: Engine) -> None:
    found = _examined(tmp_path, case, False, engine)
    assert case.named_early(found), [one for one in found if one.verdict != OK]


@pytest.mark.parametrize("case", _cases())
def test_nothing_is_wrong_with_the_remedied_training(case: Case, tmp_path: Path, engine: Engine) -> None:
    found = _examined(tmp_path, case, True, engine)
    assert [one for one in found if one.verdict == WRONG] == []
    assert not case.named_early(found)


@pytest.mark.parametrize("case", _cases(("best-weights-not-copied", "kl-of-probabilities")))
def test_the_remedy_makes_the_training_better(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _score(case, False) > case.worse * _score(case, True)


def test_each_thread_is_written_down_once() -> None:
    threads = [one.thread for one in [*_LOOPS, *_LIGHTNING, *_TRAINERS] if one.thread]
    assert len(set(threads)) == len(threads) == 30


def _score(case: Case, remedied: bool) -> float:
    names: dict[str, object] = {"__name__": "__main__"}
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(Exception):
        exec(compile(case.script(remedied), case.name, "exec"), names)
    score = names["score"]
    assert isinstance(score, float)
    return score
