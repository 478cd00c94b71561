"""random: failure modes of seeds and random numbers."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy
import torch

from faultlab.catalogue.injection_points import LoaderArguments, RandomState
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injection.values import Loading


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)


def _drawn(ctx: Context) -> int:
    """Return a seed of the fault's own, the same at every call."""
    seed: int = ctx.memory.setdefault("seed", int(torch.randint(2**31, (), generator=ctx.generator)))
    return seed


@failure_mode(
    "random.unseeded",
    seam=RandomState("construction"),
    severity="minor",
    effect="silent",
    cause=("seed", "reproduc", "random"),
    evidence=("eora-ai/torchok#85", "chemprop/chemprop#1268"),
)
def unseeded(state: None, ctx: Context) -> None:
    """No seed is set, so weights and shuffling differ in every run.

    Effect: a single run shows no effect: it ends as well as any other, but cannot be repeated. Here the module is built
    and trained with a different seed from that of the clean run.
    Why it goes undetected: only a second run reveals it, and by then something else has changed as well.
    Example:
        trainer = pl.Trainer(deterministic=True)        # no pl.seed_everything
    Remedy: call `pl.seed_everything(seed, workers=True)` first; run twice in a test and compare the losses.
    """
    _seed_everything(_drawn(ctx))


@failure_mode(
    "random.reseeded-each-step",
    seam=RandomState,
    severity="major",
    effect="silent",
    cause=("seed", "random", "same noise", "repeat"),
    evidence=("huggingface/diffusers#7991 (once an evaluation)", "huggingface/diffusers#175"),
)
def reseeded(state: None, ctx: Context) -> None:
    """The seed is set again in every training step.

    Effect: no error or warning is raised. Dropout drops the same units in every step, every batch gets the same noise,
    and from the second epoch on, the order of the samples is the same. A model without any of these is not affected.
    Why it goes undetected: losses fall, and runs can be repeated to the bit, which is why the seed was set.
    Example:
        def training_step(self, batch, batch_idx):
            torch.manual_seed(self.hparams.seed)        # for reproducibility
    Remedy: seed once, before the module is built; give code that needs its own seed a `torch.Generator`.
    """
    _seed_everything(_drawn(ctx))


@failure_mode(
    "random.worker-seeds-equal",
    seam=LoaderArguments,
    severity="major",
    effect="silent",
    cause=("seed", "worker", "augment", "random"),
    needs=("workers",),
    evidence=("xingyizhou/CenterNet#233", "pytorch/pytorch#41329"),
)
def equally_seeded_workers(loading: Loading, ctx: Context) -> Loading:
    """Every worker has the same seed, and the same again in every epoch.

    Effect: no error or warning is raised. The workers draw the same random numbers from torch, NumPy and Python, and
    draw them again in each epoch, so there are far fewer different augmentations than samples. Without augmentations
    nothing changes.
    Why it goes undetected: each sample looks well augmented; the repetition shows only side by side.
    Example:
        DataLoader(dataset, num_workers=8, worker_init_fn=lambda worker: pl.seed_everything(42))
    Remedy: leave the seeding of workers to torch, or start from `torch.initial_seed()`, which is different in each.
    """
    seed, own = _drawn(ctx), loading.worker_init_fn

    def init(worker: int) -> None:
        if own is not None:
            own(worker)
        _seed_everything(seed)

    return replace(loading, worker_init_fn=init)


@failure_mode(
    "random.validation-consumes",
    seam=RandomState("validation"),
    severity="minor",
    effect="silent",
    cause=("random", "seed", "reproduc", "validation", "generator"),
    stages=("validate",),
    needs=("training-after-validation",),
    evidence=("Lightning-AI/pytorch-lightning#6988", "Lightning-AI/pytorch-lightning#9017"),
)
def consume_in_validation(state: None, ctx: Context) -> None:
    """Validation draws random numbers from the generators that training uses.

    Effect: the training after a validation shuffles, drops and augments differently from one that validates less often
    or not at all. No error or warning is raised, and it ends as well as any other.
    Why it goes undetected: two runs with the same settings still agree to the bit; only a change of how often or on how
    much is validated changes the training.
    Example:
        def validation_step(self, batch, batch_idx):
            noise = torch.randn_like(batch)     # from the global generator
    Remedy: give validation a generator of its own, or fork the random state around it; compare the state before and
    after.
    """
    random.random()
    numpy.random.rand()
    torch.rand(())
