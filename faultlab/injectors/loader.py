"""loader: failure modes of how batches are loaded."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import torch
from torch.utils.data import IterableDataset

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Batch, Loader, LoaderArguments, Loaders
from faultlab.injection import tree
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injection.values import Loading, Stream
from faultlab.injectors._classes import class_paths
from faultlab.injectors._samples import size


@failure_mode(
    "loader.none",
    seam=Loaders,
    severity="minor",
    effect="raises",
    cause=("none", "invalid dataloader", "dataloader"),
    evidence=("Lightning-AI/pytorch-lightning#17154", "project-lighter/lighter#137"),
)
def no_loader(loaders: Any, ctx: Context) -> None:
    """`train_dataloader` returns None.

    Effect: `fit` raises a `TypeError`: an invalid dataloader, found None. The two reports in the evidence are about
    validation loaders; the same applies to training loaders.
    Why it goes undetected: it does not go undetected.
    Example:
        def train_dataloader(self):
            DataLoader(self.dataset, batch_size=32)     # `return` is missing
    Remedy: take one batch from every loader in a test.
    """
    return


@failure_mode(
    "loader.short",
    seam=Loader,
    severity="critical",
    effect="silent",
    cause=("batches", "short", "length", "validation", "epoch"),
    needs=("several-batches",),
    doses=(Dose("fraction", 0.5, 0.01, 1.0, "fraction of an epoch's batches that never come"),),
    evidence=("s-sahoo/duo#15 (an eighth of the batches is left)",),
)
def short_loader(stream: Stream, ctx: Context) -> Stream:
    """The loader's iterator ends halfway through every epoch, although the loader's length promises more.

    Effect: half of the data is never seen, and if the loader has a length, Lightning skips validation because the
    expected last batch never comes. No error or warning is raised, unless early stopping misses its monitored metric
    and raises an error.
    Why it goes undetected: epochs finish sooner, and a progress bar that jumps from half to full is easily overlooked.
    Example:
        def __iter__(self):
            for shard in self.shards[self.rank :: self.world]:  # of a world that has shrunk
    Remedy: count the batches of an epoch and compare with `len(loader)`; check that validation ran.
    """
    count = ctx.profile.steps_per_epoch
    kept = count - min(count, max(1, round(ctx.dose.fraction * count)))
    return replace(stream, iterator=islice(stream.iterator, kept))


@failure_mode(
    "loader.overstated-length",
    seam=LoaderArguments,
    severity="critical",
    effect="silent",
    cause=("length", "len", "validation", "batches"),
    needs=("sized-loader",),
    evidence=("Lightning-AI/pytorch-lightning#10290", "Lightning-AI/pytorch-lightning#19624"),
)
def overstated_length(loading: Loading, ctx: Context) -> Loading:
    """The training loader reports twice its actual length.

    Effect: every batch is trained on, but the batch that Lightning expects to be the last never comes: validation never
    runs, and schedulers that are stepped once per epoch are not stepped. No error or warning is raised, unless early
    stopping misses its monitored metric and raises an error. An epoch that `limit_train_batches` cuts short is not
    affected.
    Why it goes undetected: the loss falls, and missing validation is easily mistaken for a matter of settings.
    Example:
        def __len__(self):
            return math.ceil(self.samples / self.batch_size)    # counted before invalid ones were filtered
    Remedy: compare `len(loader)` with the number of batches that come; check that validation ran.
    """
    return loading if loading.length is None else replace(loading, length=2 * loading.length)


@failure_mode(
    "loader.exhausted",
    seam=Loader,
    severity="critical",
    effect="silent",
    cause=("exhaust", "empty", "batches", "epoch", "iterator"),
    needs=("several-epochs", "epoch-limit"),
    evidence=("huggingface/datasets#3646", "allenai/allennlp#1055"),
)
def exhausted_loader(stream: Stream, ctx: Context) -> Stream:
    """The loader can be iterated only once, so it yields nothing in any epoch but the first.

    Effect: all epochs but the first have no steps and no validation, and the run ends immediately, as if it were
    complete. No error or warning is raised.
    Why it goes undetected: the epoch counter reaches the last epoch, and callbacks see each epoch begin and end.
    Example:
        batches = (collate(chunk) for chunk in chunks)      # a generator, not a list
        trainer.fit(model, batches)
    Remedy: pass an object whose `__iter__` starts over each time; check that `global_step` grows in every epoch.
    """
    return stream if ctx.epoch == 0 else replace(stream, iterator=iter(()))


@failure_mode(
    "loader.no-batch-for-epoch",
    seam=Loader,
    severity="major",
    effect="silent",
    cause=("no batch", "empty", "zero batches", "epoch"),
    evidence=("Lightning-AI/pytorch-lightning#6810",),
)
def empty_epoch(stream: Stream, ctx: Context) -> Stream:
    """One epoch in the middle of the run gets no batches.

    Effect: the epoch begins and ends without a step and without validation; the next one is normal. Older Lightning
    versions raised an obscure exception; the current one raises no error or warning.
    Why it goes undetected: all curves are drawn over steps, and no step was taken.
    Example:
        def __iter__(self):
            return iter(self.shards_of(self.epoch))     # there are fewer shards than epochs
    Remedy: check at the end of each epoch that it had batches; with Lightning, in `on_train_epoch_end`.
    """
    return replace(stream, iterator=iter(())) if ctx.epoch == ctx.profile.epochs // 2 else stream


@failure_mode(
    "loader.sorted",
    seam=Loader,
    severity="critical",
    effect="silent",
    cause=("sort", "shuffl", "order", "single class", "one class"),
    needs=("class-per-sample", "several-batches"),
    evidence=("Deci-AI/super-gradients#416",),
)
def sorted_by_class(stream: Stream, ctx: Context) -> Stream:
    """The samples of an epoch are sorted by class.

    Samples that cannot change batches, because they are padded to different lengths or joined into one graph, are
    sorted batch by batch.

    Effect: no error or warning is raised. The model forgets each class while it learns the next one: the loss of a
    batch is very low within a class and jumps where a new one begins, and in validation the model knows little but the
    last class.
    Why it goes undetected: the loss falls to almost zero within the first batches.
    Example:
        DataLoader(ImageFolder(path), batch_size=32)        # the folders are the classes; shuffle is off
    Remedy: shuffle; assert that the batches of the first steps hold more than one class.
    """
    count = ctx.profile.steps_per_epoch

    def arranged() -> Iterator[Any]:
        yield from _arranged(list(islice(stream.iterator, count)), ctx)
        yield from stream.iterator

    return replace(stream, iterator=arranged())


def _arranged(items: list[Any], ctx: Context) -> list[Any]:
    """Return the batches of these items, refilled with their samples in the order of the classes."""
    batches = [batch for batch, *_ in items]
    rows = [{path: leaf for path, leaf in tree.tensors(batch) if _rowwise(leaf, size(batch, ctx))} for batch in batches]
    labels = [path for path in class_paths(ctx) if all(_one_each(row.get(path)) for row in rows)]
    if not labels:
        return items
    shapes = [{path: (leaf.shape[1:], leaf.dtype) for path, leaf in row.items()} for row in rows]
    if ctx.profile.joins or any(shape != shapes[0] for shape in shapes):
        middle = [float(row[labels[0]].double().mean()) for row in rows]
        order = sorted(range(len(items)), key=middle.__getitem__)
        return [(batches[found], *item[1:]) for found, item in zip(order, items)]
    sizes = [len(row[labels[0]]) for row in rows]
    classes = torch.cat([row[labels[0]].flatten() for row in rows])
    by_class = classes.argsort(stable=True)
    joined = {path: torch.split(torch.cat([row[path] for row in rows])[by_class], sizes) for path in rows[0]}
    filled = [
        tree.replace(batch, {path: parts[index] for path, parts in joined.items()})
        for index, batch in enumerate(batches)
    ]
    return [(batch, *item[1:]) for batch, item in zip(filled, items)]


def _rowwise(leaf: torch.Tensor, samples: int) -> bool:
    return leaf.layout is torch.strided and leaf.ndim > 0 and len(leaf) == samples


def _one_each(leaf: torch.Tensor | None) -> bool:
    """Return whether the leaf holds one number per sample."""
    return leaf is not None and leaf.numel() == len(leaf)


@failure_mode(
    "loader.unshuffled",
    seam=LoaderArguments,
    severity="major",
    effect="silent",
    cause=("shuffl", "order"),
    needs=("shuffled-loader", "plain-sampling"),
    evidence=("Deci-AI/super-gradients#416", "joaoamcarvalho/mpd-public#6"),
)
def unshuffled_loader(loading: Loading, ctx: Context) -> Loading:
    """The training loader does not shuffle.

    Effect: no error or warning is raised. Every epoch has the same batches in the same order. The cost depends on the
    order of the data: little if it is random, almost everything if it is sorted by class.
    Why it goes undetected: not to shuffle is the default of DataLoader, so there is nothing to see in the code.
    Example:
        DataLoader(train_dataset, batch_size=32)
    Remedy: assert in a test that the training loader has a RandomSampler, or that two epochs differ in their order.
    """
    return replace(loading, shuffled=False)


@failure_mode(
    "loader.batch-size-wrong",
    seam=LoaderArguments,
    severity="major",
    effect="silent",
    cause=("batch size", "batch_size", "batch-size", "batches"),
    needs=("several-in-a-batch", "plain-sampling"),
    doses=(Dose("factor", 0.25, 0.001, 1000.0, "factor for the batch size", harmless=1.0),),
    evidence=(
        "Lightning-Universe/lightning-bolts#334",
        "Lightning-Universe/lightning-bolts#417",
        "doi:10.1145/3460319.3464825 (DeepCrime: change batch size)",
    ),
)
def wrong_batch_size(loading: Loading, ctx: Context) -> Loading:
    """Batches have a different size from the configured one.

    Effect: no error or warning is raised. Batches of a quarter of the size mean four times as many steps per epoch, at
    a learning rate that is meant for larger ones. Batch normalization uses fewer samples, and rejects batches of one.
    Why it goes undetected: the logged setting is the configured one, and losses fall anyway.
    Example:
        def train_dataloader(self):
            return DataLoader(self.dataset, batch_size=32)      # self.batch_size is unused
    Remedy: assert the size of the first batch against the hyperparameter.
    """
    if loading.batch_size is None:
        return loading
    return replace(loading, batch_size=max(1, round(loading.batch_size * ctx.dose.factor)))


@failure_mode(
    "loader.batching-disabled",
    seam=LoaderArguments,
    severity="major",
    effect="raises",
    cause=("batch", "dimension", "expected 2d", "shape", "size"),
    needs=("batching-loader", "plain-sampling"),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: disable data batching)",
        "Lightning-AI/pytorch-lightning#11423 (in prediction)",
    ),
)
def unbatched(loading: Loading, ctx: Context) -> Loading:
    """The loader does not batch: each step gets a single sample, without the dimension of samples.

    Effect: operations that need that dimension raise an error: batch normalization, and losses over classes. A model of
    linear layers with a squared error accepts the sample and trains on one per step.
    Why it goes undetected: most torch layers accept samples with and without that dimension.
    Example:
        DataLoader(dataset, batch_size=None, shuffle=True)      # copied from a project whose dataset yields batches
    Remedy: assert the number of dimensions of the inputs at the beginning of the step.
    """
    return replace(loading, batch_size=None, drop_last=False)


@failure_mode(
    "loader.drops-everything",
    seam=LoaderArguments,
    severity="critical",
    # A scheduler of a loop warns that its optimizer made no step.
    effect={"lightning": "warns", "torch": "silent"},
    cause=("empty", "zero", "no training batches", "length", "drop_last"),
    needs=("sized-dataset", "batching-loader", "plain-sampling"),
    evidence=("facebookresearch/sscd-copy-detection#9", "RasmussenLab/vamb#425"),
)
def drop_all(loading: Loading, ctx: Context) -> Loading:
    """The dataset is smaller than one batch, and incomplete batches are dropped.

    Effect: Lightning warns that the total length of the loader is zero, logs that `fit` stopped because there are no
    training batches, and returns as if training were complete, although nothing was trained.
    Why it goes undetected: the same code trains on the full dataset; on the small one, the exit status is 0.
    Example:
        DataLoader(dataset, batch_size=1024, drop_last=True)    # 966 samples
    Remedy: assert `len(loader) > 0`; turn the warning into an error.
    """
    if isinstance(loading.dataset, IterableDataset):
        return loading
    return replace(loading, batch_size=max(loading.batch_size or 1, len(loading.dataset) + 1), drop_last=True)


@failure_mode(
    "loader.slow",
    seam=Loader,
    severity="minor",
    effect="silent",
    cause=("slow", "wait", "throughput", "seconds", "bottleneck"),
    # Relative to the step, because with a fixed time a run of many short steps would not end in time.
    doses=(Dose("factor", 3.0, 0.1, 1000.0, "waiting time for each batch, in durations of a step"),),
    evidence=("Lightning-AI/pytorch-lightning#1216", "Lightning-AI/pytorch-lightning#1322"),
)
def slow_loader(stream: Stream, ctx: Context) -> Stream:
    """Training has to wait for each batch.

    Effect: training takes longer, and its result is identical to the bit.
    Why it goes undetected: it works; how fast it could be is unknown, and an idle GPU is not visible.
    Example:
        DataLoader(dataset, num_workers=0)          # with augmentations that take longer than the step
    Remedy: measure how long the step waits for data (with Lightning, `profiler="simple"`); use more workers.
    """

    def slowly() -> Iterator[Any]:
        # The shortest: a step of several ranks takes as long as the others', and their waits would add up.
        shortest = math.inf
        for item in stream.iterator:
            asked = time.perf_counter()
            yield item
            shortest = min(shortest, time.perf_counter() - asked)
            time.sleep(ctx.dose.factor * shortest)

    return replace(stream, iterator=slowly())


@failure_mode(
    "loader.hangs",
    seam=Batch,
    severity="major",
    effect="raises",
    cause=("hang", "timeout", "timed out", "deadlock", "stuck"),
    when="middle",
    hangs=True,
    evidence=("pytorch/pytorch#1355", "Lightning-AI/pytorch-lightning#4450"),
)
def hanging_loader(batch: Any, ctx: Context) -> Any:
    """A batch never arrives.

    Effect: the run stops forever, because a DataLoader waits for its workers without a time limit. No error or warning
    is raised.
    Why it goes undetected: a progress bar that stands still looks like a slow step, until someone looks again hours
    later.
    Example:
        with lock:                              # held by another thread when the worker was forked
            image = decode(path)
    Remedy: give the DataLoader a `timeout`; monitor from outside the process that steps complete.
    """
    while True:
        time.sleep(1)
