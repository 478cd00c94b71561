"""label: failure modes of labels that are the tokens of a text."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Batch
from faultlab.injection import tokens, tree
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode


def learned(batch: Any, which: str, ctx: Context) -> Any:
    """Return the batch with the labels of the prompt or of the padding no longer ignored."""
    found = tokens.found(batch, ctx.profile.inputs, ctx.profile.labels)
    if found is None and which == "padding":
        found = tokens.tagged(batch, ctx.profile.inputs, ctx.profile.labels)
    if found is None:
        return batch
    wanted = (found.prompt if which == "prompt" else found.padding) & (found.ids != tokens.IGNORED)
    return tree.replace(batch, {found.path: torch.where(wanted, found.ids, found.labels)})


def _last(labels: torch.Tensor) -> torch.Tensor:
    """Return where the last label of each row is that is not ignored."""
    known = labels != tokens.IGNORED
    return known & (known.flip(1).cumsum(1).flip(1) == 1)


@failure_mode(
    "label.eos-masked",
    seam=Batch("labels", "integer"),
    severity="major",
    effect="silent",
    cause=("eos", "end of", "end token", "ignore", "-100", "mask", "label"),
    needs=("token-labels",),
    evidence=("huggingface/transformers#23530", "huggingface/trl#976"),
)
def mask_end(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The token that ends a text is ignored by the loss, because it is the padding token, too.

    If all texts of a batch end with the same token, it is ignored wherever it stands; otherwise the last token of each
    text is.

    Effect: the model never learns where a text ends, and generates until a limit stops it. No error or warning is
    raised, and the training loss falls as usual.
    Why it goes undetected: it is one token of hundreds. If validation ignores it, too, only generating text shows it.
    Example:
        tokenizer.pad_token = tokenizer.eos_token
        labels[labels == tokenizer.pad_token_id] = -100
    Remedy: use a padding token of its own, or ignore labels by the attention mask; assert that the last label of a text
    is the end token.
    """
    last = _last(labels)
    ends = labels[last]
    masked = labels == ends[0] if len(ends) and bool((ends == ends[0]).all()) else last
    return labels.masked_fill(masked, tokens.IGNORED)


@failure_mode(
    "label.prompt-supervised",
    seam=Batch,
    severity="major",
    effect="silent",
    cause=("prompt", "instruction", "question", "ignore", "-100", "mask", "label", "supervised"),
    needs=("ignored-prompt",),
    evidence=("PaddlePaddle/PaddleNLP#5339", "axolotl-ai-cloud/axolotl#2089"),
)
def supervise_prompt(batch: Any, ctx: Context) -> Any:
    """The prompt is learned as well as the answer.

    Effect: most of the loss is that of prompts, which the model will never have to write, and the answers weigh less
    the longer their prompts are. No error or warning is raised.
    Why it goes undetected: the loss falls, even faster where prompts follow a template.
    Example:
        batch["labels"] = batch["input_ids"].clone()        # no -100 for the prompt
    Remedy: decode the labels that are not -100 of one sample, and read them; log the share of supervised tokens.
    """
    return learned(batch, "prompt", ctx)


@failure_mode(
    "label.padding-supervised",
    seam=Batch,
    severity="major",
    effect="silent",
    cause=("pad", "ignore", "-100", "mask", "label", "supervised"),
    needs=("ignored-padding",),
    evidence=("lukas-blecher/LaTeX-OCR#305", "01-ai/Yi#110"),
)
def supervise_padding(batch: Any, ctx: Context) -> Any:
    """Padding is learned as if it were text: the labels of padding are not ignored.

    Labels that are not the tokens themselves, such as tags, are 0 there.

    Effect: the mean of the loss includes the padding, which is easy to predict, so the loss is lower and the text
    weighs less, the more a batch is padded. No error or warning is raised.
    Why it goes undetected: the loss is lower than ever.
    Example:
        loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())      # padding is 0, ignore_index is -100
    Remedy: test that more padding leaves the loss of a batch unchanged.
    """
    return learned(batch, "padding", ctx)


@failure_mode(
    "label.shifted-twice",
    seam=Batch("labels", "integer"),
    severity="critical",
    effect="silent",
    cause=("shift", "next token", "align", "position", "label"),
    needs=("token-labels",),
    evidence=("wdndev/tiny-llm-zh#10", "huggingface/transformers#44642"),
)
def shift_again(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The labels are shifted once more than they should be, so the model learns the token after the next one.

    Effect: the model learns to skip a token, and the loss ends higher, since a token in between is unknown. Validation,
    with the right labels, stays near guessing. No error or warning is raised.
    Why it goes undetected: the loss falls. If validation is shifted in the same way, only generated text shows it.
    Example:
        return {"input_ids": ids[:-1], "labels": ids[1:]}       # for a model that shifts the labels itself
    Remedy: test that the model's loss on one text equals a manually computed one; overfit one text and generate it.
    """
    return torch.cat([labels[:, 1:], torch.full_like(labels[:, :1], tokens.IGNORED)], 1)


@failure_mode(
    "label.truncated-away",
    seam=Batch("labels", "integer"),
    severity="major",
    effect="silent",
    cause=("truncat", "too long", "length", "ignore", "-100", "no label", "label", "supervised"),
    doses=(
        Dose("fraction", 0.5, 0.0, 1.0, "fraction of each batch's samples without a label; one sample keeps its own"),
    ),
    needs=("token-labels", "several-labels"),
    evidence=("huggingface/trl#6320", "bytedance/UniVR#13"),
)
def cut_answers_off(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Long prompts fill the window, and truncation removes the whole answer, so that a sample has no label left.

    Effect: these samples take part in every batch and teach nothing. No error or warning is raised; a batch of nothing
    else would have a loss of 0 or NaN (see `label.ignored`).
    Why it goes undetected: the mean over the tokens that are left is an ordinary loss.
    Example:
        tokenizer(prompt + answer, truncation=True, max_length=512)     # the prompt alone has 600
    Remedy: drop samples without labels when the data is built, and count them; log the share of supervised tokens.
    """
    count = round(ctx.dose.fraction * len(labels))
    cut = torch.randperm(len(labels), generator=ctx.generator)[: min(count, len(labels) - 1)].to(labels.device)
    return labels.index_fill(0, cut, tokens.IGNORED)
