"""Vocabularies and label maps that each split has made for itself."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from faultlab.core.user_code import UserCode
from faultlab.doctor.whole.numberings import Numberings, is_numbering
from faultlab.doctor.whole.stages import STAGES


class _Texts:
    def __init__(self, words: str, numbers: dict[str, int] | None = None) -> None:
        self.numbers = numbers or {word: number for number, word in enumerate(words.split())}


def _found(one: Any, other: Any) -> list[str]:
    conflict = Numberings(UserCode()).conflict([one], [other])
    return [finding.what for finding in STAGES.run({"whole": {"numberings": conflict}})]


def test_a_vocabulary_for_each_split_is_found() -> None:
    (found,) = _found(_Texts("a b c d"), _Texts("d c b e"))
    assert "numbers 3 of 3 shared names differently" in found


def test_one_vocabulary_and_one_that_continues_it_are_healthy() -> None:
    train = _Texts("a b c d")
    assert _found(train, _Texts("", train.numbers)) == []
    assert _found(train, _Texts("a b c d e f")) == []


_ENCODING = """
class Texts:
    def __init__(self, words):
        numbers = {word: number for number, word in enumerate(words)}
        self.encoded = [numbers[word] for word in words]
train, val = Texts("abcd"), Texts("dcba")
"""


def test_a_numbering_that_only_the_constructor_has_is_known_too(tmp_path: Path) -> None:
    followed = Numberings(UserCode(frozenset(), (str(tmp_path),)))
    names: dict[str, Any] = {}
    code = compile(_ENCODING, str(tmp_path / "train.py"), "exec")
    followed.begin()
    exec(code, names)
    followed.end()
    assert sys.getprofile() is None
    assert followed.conflict([names["train"]], [names["val"]])["apart"] == 4
    assert followed.conflict([names["train"]], [names["train"]]) == {}


@pytest.mark.parametrize(
    "value", [{"a": 5, "b": 5, "c": 2}, {"a": 0, "b": 1}, {0: 0, 1: 1, 2: 2}, {"a": 100, "b": 7000, "c": 3}, [0, 1, 2]]
)
def test_counts_and_other_mappings_are_no_numberings(value: object) -> None:
    assert not is_numbering(value)
