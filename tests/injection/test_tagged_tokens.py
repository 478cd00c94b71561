"""Labels of padded sequences that are not their tokens: where they are ignored as padding."""

from __future__ import annotations

import pytest
import torch

from faultlab.catalogue.requirements.tokens import _ignored_padding, _token_labels
from faultlab.core.target_profile import TargetProfile
from faultlab.frameworks.torch.facts import tokens as facts
from faultlab.injection import tokens

TOKENS = torch.tensor([[5, 6, 7, 8], [9, 5, 0, 0], [7, 6, 5, 0]])
TAGS = torch.tensor([[1, 2, 1, 3], [2, 1, -100, -100], [3, 3, 1, -100]])
FRAMES = TOKENS[:, :, None].float().expand(3, 4, 2)


@pytest.mark.parametrize(
    ("given", "tags"),
    [(TOKENS, TAGS), (TOKENS.flip(1), TAGS.flip(1)), (FRAMES, TAGS)],
    ids=["after", "before", "frames"],
)
def test_tags_are_ignored_as_padding_where_the_inputs_are_padded(given: torch.Tensor, tags: torch.Tensor) -> None:
    batch = {"x": given, "tags": tags}
    found = tokens.tagged(batch, ("x",), ("tags",))
    assert found is not None
    assert torch.equal(found.padding, tags == -100)
    assert torch.equal(found.ids, tags.clamp(min=0))
    assert facts(batch, ("x",), ("tags",)) == ("padding",)


def test_a_mask_tells_padding_from_other_ignored_labels() -> None:
    mask = (TOKENS != 0).long()
    tags = TAGS.masked_fill(TOKENS == 5, -100)
    batch = {"x": TOKENS, "attention_mask": mask, "tags": tags}
    found = tokens.tagged(batch, ("x", "attention_mask"), ("tags",))
    assert found is not None
    assert torch.equal(found.padding, mask == 0)


@pytest.mark.parametrize(
    "tags",
    [TAGS.clamp(min=0), torch.where(TOKENS == 6, -100, 1), torch.full_like(TAGS, -100), torch.tensor([1, 2, 3])],
    ids=["none ignored", "words ignored", "all ignored", "of samples"],
)
def test_other_labels_are_not_ignored_as_padding(tags: torch.Tensor) -> None:
    assert tokens.tagged({"x": TOKENS, "tags": tags}, ("x",), ("tags",)) is None


def test_padding_that_is_ignored_is_enough_for_its_failure_modes() -> None:
    profile = TargetProfile(inputs=("x",), labels=("tags",), tokens=("padding",))
    assert _ignored_padding(profile) == ""
    assert _token_labels(profile) == "the labels are not the tokens of a text"
