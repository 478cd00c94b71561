"""The doctor on language models: labels that are shifted twice are named, those that are shifted once are not."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from faultlab.doctor.examination import examine
from faultlab.doctor.finding import OK
from faultlab.doctor.loops.data import DATA
from faultlab.doctor.loops.tokens import Ahead, distance
from faultlab.engines import Engine
from tests.patients.loop_scripts import Ill
from tests.patients.tokens import HEALTHY, ILL

_MORE = pytest.mark.nightly(reason="a training or several each; the quick ring has one of each kind")


@pytest.mark.parametrize(
    "ill", [pytest.param(one, id=one.name, marks=_MORE if one is not ILL[1] else ()) for one in ILL]
)
def test_labels_that_are_shifted_twice_are_named_first(ill: Ill, tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "train.py").write_text(ill.text())
    found = list(examine(str(tmp_path / "train.py"), 60, engine=engine))
    assert ill.named_first(found), [one for one in found if one.verdict != OK]


@pytest.mark.parametrize("name", [pytest.param(name, marks=_MORE if name != "two-heads" else ()) for name in HEALTHY])
def test_a_language_model_whose_labels_are_shifted_once_is_well(name: str, tmp_path: Path, engine: Engine) -> None:
    (tmp_path / "train.py").write_text(HEALTHY[name])
    assert [one for one in examine(str(tmp_path / "train.py"), 60, engine=engine) if one.verdict != OK] == []


def _ids() -> torch.Tensor:
    return torch.randint(0, 50, (8, 16), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("by", range(5))
def test_the_distance_is_that_at_which_targets_are_the_tokens_of_the_input(by: int) -> None:
    ids = _ids()
    assert distance(ids, ids[:, by:]) == by
    padded = torch.cat([ids[:, by:], torch.full((8, by), -100)], 1)
    assert distance(ids, padded) == by


def test_the_distance_of_other_targets_and_of_ambiguous_ones_is_unknown() -> None:
    ids = _ids()
    assert distance(ids, ids.flip(0)) is None
    assert distance(ids, ids.masked_fill(ids > 4, -100)) is None, "few targets are left"
    repeated = torch.arange(8)[:, None].expand(8, 16)
    assert distance(repeated, repeated) is None, "every token is the next one's"


def test_classes_of_the_samples_are_not_compared_with_their_tokens() -> None:
    ahead, ids = Ahead(), _ids()
    ahead.called((ids,), {})
    ahead.compared(ids[:, 0], -100)
    ahead.compared(torch.rand(8, 16), -100)
    assert ahead.found == []
    ahead.compared(ids[:, 1:].flatten(), -100)
    assert ahead.found == [{"by": 1, "labels": None}]


def test_a_decoder_that_is_given_its_labels_as_they_are_is_found_and_a_shifted_one_is_not() -> None:
    def told(decoder: torch.Tensor) -> list[str]:
        ahead, labels = Ahead(), _ids().masked_fill(torch.arange(16) > 12, -100)
        for _ in range(3):
            ahead.called((), {"input_ids": _ids(), "decoder_input_ids": decoder, "labels": labels})
        (check,) = (one for one in DATA.known if one.name == "decoder inputs")
        return [one.what for one in check.run({"given": ahead.given, "places": {}})]

    ids = _ids()
    assert ["equal to the labels, not shifted" in what for what in told(ids)] == [True]
    assert told(ids.roll(1, 1)) == []
