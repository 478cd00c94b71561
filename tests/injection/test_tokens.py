"""Batches of text: which labels are tokens, which of them are ignored, and what keeps packed samples apart."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch.utils.data import default_collate

from faultlab.injection import registry, tokens
from scenarios.text.answers import END, IGNORED, PADDING, Answers

INPUTS = ("input_ids", "segment_ids", "attention_mask")


def _batch(rows: int = 6) -> dict[str, torch.Tensor]:
    data = Answers(rows, seed=3)
    return default_collate([data[index] for index in range(rows)])


def _inject(mode: str, value: Any, **dose: Any) -> Any:
    """What the injector makes of a value of the training on answers."""
    profile = SimpleNamespace(inputs=INPUTS, labels=("labels",))
    ctx: Any = SimpleNamespace(
        profile=profile, dose=SimpleNamespace(**dose), generator=torch.Generator().manual_seed(0), memory={}, step=0
    )
    return registry.load()[mode].injector(value, ctx)


def test_labels_are_tokens_in_place_and_the_mask_tells_padding_from_prompts() -> None:
    batch = _batch()
    found = tokens.found(batch, INPUTS, ["labels"])
    assert found is not None
    assert torch.equal(found.ids, batch["input_ids"])
    assert torch.equal(found.padding, batch["attention_mask"] == 0)
    assert torch.equal(found.prompt, (batch["labels"] == IGNORED) & (batch["attention_mask"] == 1))
    assert found.prompt.any()


def test_labels_are_tokens_one_place_further_left_and_without_a_mask_padding_is_what_follows_the_last_label() -> None:
    ids = torch.tensor([[5, 6, 7, 8, 0, 0], [3, 4, 9, 2, 7, 0]])
    labels = torch.tensor([[-100, 7, 8, -100, -100, -100], [-100, 9, 2, 7, -100, -100]])
    found = tokens.found({"ids": ids, "labels": labels}, ["ids"], ["labels"])
    assert found is not None
    assert found.ids.tolist() == [[6, 7, 8, 0, 0, -100], [4, 9, 2, 7, 0, -100]]
    assert found.prompt.sum(1).tolist() == [1, 1]
    assert found.padding.sum(1).tolist() == [3, 2]


def test_labels_that_are_no_tokens_are_not_taken_for_any() -> None:
    batch = {"ids": torch.arange(12).view(2, 6), "tags": torch.arange(12).view(2, 6) % 3}
    assert tokens.found(batch, ["ids"], ["tags"]) is None
    assert tokens.found({"ids": torch.ones(2, 6).long(), "tags": torch.ones(2, 6).long()}, ["ids"], ["tags"]) is None
    assert tokens.found({"ids": torch.arange(4), "tags": torch.arange(4)}, ["ids"], ["tags"]) is None


def test_numbers_of_segments_keep_samples_apart_and_else_positions_that_start_again() -> None:
    positions = torch.tensor([[0, 1, 2, 0, 1], [0, 1, 2, 3, 4]])
    segments = torch.tensor([[1, 1, 1, 2, 2], [1, 1, 1, 1, 1]])
    both = {"position_ids": positions, "segment_ids": segments}
    assert list(tokens.boundaries(both, both)) == ["segment_ids"]
    assert list(tokens.boundaries({"position_ids": positions}, ["position_ids"])) == ["position_ids"]
    assert not tokens.boundaries({"position_ids": positions[1:], "segment_ids": segments[1:]}, both)
    assert tokens.joined("position_ids", positions).tolist() == [[0, 1, 2, 3, 4]] * 2
    assert tokens.joined("segment_ids", segments).tolist() == [[2] * 5] * 2


def test_the_end_is_masked_wherever_it_stands_and_nothing_else() -> None:
    batch = _batch()
    masked = _inject("label.eos-masked", batch["labels"])
    assert torch.equal(masked == IGNORED, (batch["labels"] == IGNORED) | (batch["labels"] == END))
    plain = torch.tensor([[4, 5, 6], [7, 8, 4]])
    assert _inject("label.eos-masked", plain).tolist() == [[4, 5, -100], [7, 8, -100]]


def test_prompts_and_padding_are_learned_apart_from_each_other() -> None:
    batch = _batch()
    padded = batch["attention_mask"] == 0
    with_prompt = _inject("label.prompt-supervised", batch)["labels"]
    assert torch.equal(with_prompt, batch["input_ids"].masked_fill(padded, IGNORED))
    with_padding = _inject("label.padding-supervised", batch)["labels"]
    assert (with_padding[padded] == PADDING).all()
    assert torch.equal(with_padding[~padded], batch["labels"][~padded])


def test_one_sample_keeps_its_labels_where_all_are_cut_off() -> None:
    labels = _batch()["labels"]
    cut = _inject("label.truncated-away", labels, fraction=1.0)
    kept = (cut != IGNORED).any(1)
    assert kept.sum() == 1
    assert torch.equal(cut[kept], labels[kept])


def test_a_compiled_backward_is_wrong_in_half_of_the_gradient_and_the_forward_is_the_same() -> None:
    value = torch.randn(3, 4, requires_grad=True)
    profile: Any = SimpleNamespace(memory={}, step=0)
    injector = registry.load()["gradient.compiled-differs"].injector
    for step, scale in enumerate((2.0, 3.0)):
        profile.step = step
        value.grad = None
        output = injector(value, profile)
        assert torch.equal(output, value)
        (scale * output).sum().backward(retain_graph=True)
        (second,) = torch.autograd.grad((scale * output).sum(), value)
        assert value.grad is not None
        assert torch.equal(second, value.grad), "a second look at the same step sees the same gradient"
        assert value.grad[:, :2].eq(scale).all()
        assert value.grad[:, 2:].eq(0.0 if step == 0 else 2.0).all()
