"""Vectors of words that are in the rows of other words, and those that are in their own."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from faultlab.core.user_code import UserCode
from faultlab.doctor.whole.stages import STAGES
from faultlab.doctor.whole.vectors import Vectors, moved, vectors_of

_WORDS = [f"word{number}" for number in range(40)]
_ROWS = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
_VECTORS = dict(zip(_WORDS, _ROWS.numpy(), strict=True))
_INDEX = {"<pad>": 0, "<unk>": 1, **{word: 2 + number for number, word in enumerate(_WORDS)}}


def _matrix(first: int, size: int = 42) -> torch.Tensor:
    matrix = torch.zeros(size, 6)
    matrix[first : first + 40] = _ROWS
    return matrix


def _told(found: dict[str, Any]) -> list[str]:
    return [one.what for one in STAGES.run({"whole": {"vectors": found}})]


@pytest.mark.parametrize("first", [0, 1])
def test_vectors_in_the_rows_of_other_words_are_found(first: int) -> None:
    (told,) = _told(moved(_matrix(first), [_INDEX], _VECTORS))
    assert f"all moved by {first - 2:+d}" in told


def test_vectors_in_another_order_are_found() -> None:
    matrix = torch.cat([torch.zeros(2, 6), _ROWS.flip(0)])
    (told,) = _told(moved(matrix, [_INDEX], _VECTORS))
    assert "do not match the numbers" in told


def test_vectors_in_their_own_rows_are_healthy_whatever_else_numbers_the_words() -> None:
    places = {word: number for number, word in enumerate(_WORDS)}
    assert _told(moved(_matrix(2), [_INDEX], _VECTORS)) == []
    assert _told(moved(_matrix(2), [places, _INDEX], _VECTORS)) == []
    # The numbering that the texts are encoded by is not among the variables.
    assert _told(moved(_matrix(2), [places], _VECTORS)) == []


def test_an_embedding_that_holds_other_vectors_is_healthy() -> None:
    assert _told(moved(torch.randn(42, 6), [_INDEX], _VECTORS)) == []
    assert _told(moved(torch.randn(42, 5), [_INDEX], _VECTORS)) == []


def test_vectors_are_read_from_mappings_and_keyed_vectors_only() -> None:
    keyed = SimpleNamespace(key_to_index={word: number for number, word in enumerate(_WORDS)}, vectors=_ROWS.numpy())
    assert vectors_of(keyed).keys() == vectors_of(_VECTORS).keys() == set(_WORDS)
    assert vectors_of(_INDEX) == {}
    assert vectors_of({"state": 1}) == {}


def test_the_variables_of_the_running_function_are_compared_with_the_model() -> None:
    code = UserCode(frozenset({__name__.partition(".")[0]}))
    model = nn.Embedding.from_pretrained(_matrix(1))
    looking = Vectors(code)
    looking.called(model)
    assert looking.found["shift"] == -1
