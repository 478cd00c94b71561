"""dataset: failure modes of the dataset's samples, and of fetching them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import torch
from torch.utils.data import IterableDataset, Subset

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Batch, LoaderArguments, Sample
from faultlab.injection import joined, tree
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injection.values import Loading
from faultlab.injectors._classes import bounds, refill
from faultlab.injectors._draws import derangement
from faultlab.injectors._samples import size


def _selected(loading: Loading, indices: list[int]) -> Loading:
    """Return the loading with these samples only, or unchanged for a stream, whose samples have no indices."""
    if isinstance(loading.dataset, IterableDataset):
        return loading
    return replace(loading, dataset=Subset(loading.dataset, indices))


def _samples(loading: Loading) -> int:
    return 0 if isinstance(loading.dataset, IterableDataset) else len(loading.dataset)


def _relabel(row: torch.Tensor, generator: torch.Generator, ctx: Context, binary: bool) -> torch.Tensor:
    """Return a random label of the same kind; entries that are ignored (-100) stay as they are."""
    if row.ndim and len(row) > 1 and row.is_floating_point() and bool(((row == 0) | (row == 1)).all()):
        return row[torch.randperm(len(row), generator=generator)]
    if binary:
        return torch.randint(2, row.shape, generator=generator).to(row.dtype)
    low, high = bounds("floating" if row.is_floating_point() else "integer", ctx)
    if row.is_floating_point():
        return (low + (high - low) * torch.rand(row.shape, generator=generator)).to(row.dtype)
    drawn = torch.randint(int(low), int(high) + 1, row.shape, generator=generator).to(row.dtype)
    return torch.where(row == -100, row, drawn)


def _content(row: torch.Tensor) -> bytes:
    """Return a sample's bytes without the zeros at its ends, which may be padding to its neighbors' length."""
    flat = row.detach().cpu().contiguous().flatten()
    kept = flat.nonzero().flatten()
    flat = flat[kept[0] : kept[-1] + 1] if len(kept) else flat[:0]
    return flat.view(torch.uint8).numpy().tobytes() if flat.numel() else b""


@failure_mode(
    "dataset.item-raises",
    seam=Sample,
    severity="minor",
    effect="raises",
    cause=("nonetype", "subscript", "item", "sample", "image", "read"),
    needs=("fetching-half-way",),
    when="middle",
    evidence=("liutinglt/CE2P#18",),
)
def item_raises(item: Any, ctx: Context) -> Any:
    """A single item cannot be read: `__getitem__` raises an exception.

    Effect: the exception ends the training; if a worker raised it, its message contains the worker's traceback.
    Why it goes undetected: it does not go undetected, but one broken file among a million may be read only hours into
    the first epoch.
    Example:
        edge = cv2.imread(path)             # None if the file is missing
        edge[edge == 255] = 1               # TypeError
    Remedy: read every item once before training, or replace unreadable items and log how many there are.
    """
    raise ctx.intended(TypeError("'NoneType' object is not subscriptable: the item could not be read"))


@failure_mode(
    "dataset.item-none",
    seam=Sample,
    severity="minor",
    effect="raises",
    cause=("nonetype", "none"),
    needs=("fetching-half-way",),
    when="middle",
    evidence=("pytorch/pytorch#74337", "Megvii-BaseDetection/YOLOX#1523"),
)
def item_none(item: Any, ctx: Context) -> None:
    """A single item is None.

    Effect: torch's `default_collate` raises a `TypeError` that mentions NoneType. A loader that does not batch passes
    the item on, and Lightning warns that the loader yielded None and skips it.
    Why it goes undetected: a `collate_fn` that filters out None hides every such item, and how many there are.
    Example:
        def __getitem__(self, index):
            if self.is_valid(index):
                return self.samples[index]      # and None otherwise
    Remedy: exclude invalid samples where the dataset is built; count the items that a `collate_fn` filters out.
    """
    return


@failure_mode(
    "dataset.item-stop-iteration",
    seam=Sample,
    severity="critical",
    effect="silent",
    cause=("stopiteration", "stop iteration", "epoch", "batches", "validation"),
    needs=("fetching-half-way",),
    when="middle",
    evidence=("Lightning-AI/pytorch-lightning#5055",),
)
def item_stops(item: Any, ctx: Context) -> Any:
    """A single item raises StopIteration, because a `next` in its code finds an exhausted iterator.

    Effect: the training loop treats it as the end of the epoch: the remaining batches are lost, and if the loader has a
    length, the epoch's validation is skipped. No error or warning is raised.
    Why it goes undetected: the next epoch begins as usual, and a progress bar that jumps is easily overlooked.
    Example:
        def __getitem__(self, index):
            return next(self.crops[index])      # a generator, empty for an image that is too small
    Remedy: give `next` a default in `__getitem__`; check the number of batches and validations per epoch.
    """
    raise ctx.intended(StopIteration())


@failure_mode(
    "dataset.ragged",
    seam=Sample,
    severity="minor",
    effect="raises",
    cause=("size", "shape", "stack", "resiz", "collate"),
    needs=("fetching-half-way", "array-items", "batching-loader"),
    when="middle",
    evidence=("facebookresearch/pytorchvideo#56", "amdegroot/ssd.pytorch#546"),
)
def ragged_item(item: Any, ctx: Context) -> Any:
    """A single item has a different shape from the others.

    Effect: torch's `default_collate` raises a `RuntimeError`: stack expects each tensor to be equal size. A
    `collate_fn` that pads accepts the item.
    Why it goes undetected: it does not go undetected, but the error occurs only when that sample is loaded.
    Example:
        return to_tensor(image), boxes[index]   # as many boxes as there are objects
    Remedy: check the shapes of all items before training; pad or crop in the dataset or in `collate_fn`.
    """
    for path, leaf in tree.leaves(item):
        if getattr(leaf, "ndim", 0) and len(leaf):
            return tree.replace(item, {path: leaf[:-1]})
    return item


@failure_mode(
    "dataset.truncated",
    seam=LoaderArguments,
    severity="major",
    effect="silent",
    cause=("sample", "dataset", "fewer", "length", "truncat", "batches"),
    needs=("sized-dataset", "plain-sampling"),
    doses=(Dose("fraction", 0.5, 0.01, 1.0, "fraction of the training samples that is missing, from the end"),),
    evidence=(
        "machamp-nlp/machamp#11",
        "cleverhans-lab/cleverhans#20",
        "doi:10.1145/3460319.3464825 (DeepCrime: delete training data)",
    ),
)
def truncated_dataset(loading: Loading, ctx: Context) -> Loading:
    """The last part of the training data is missing.

    Effect: no error or warning is raised. Epochs are shorter, and validation is slightly worse, as with less data.
    Why it goes undetected: a shorter epoch is welcome, and loss and accuracy have their usual curves.
    Example:
        for index in range(len(files) // chunk):    # the last, incomplete chunk is never read
    Remedy: assert the number of samples against the number of lines or files on the disk.
    """
    count = _samples(loading)
    return _selected(loading, list(range(count - min(count - 1, max(1, round(ctx.dose.fraction * count))))))


@failure_mode(
    "dataset.duplicated",
    seam=LoaderArguments,
    severity="major",
    effect="silent",
    cause=("duplicat", "repeat", "unique", "copies", "copy"),
    needs=("sized-dataset", "plain-sampling"),
    doses=(Dose("times", 10, 2, 1000, "occurrences per epoch of each repeated sample, a tenth of the data"),),
    evidence=(
        "instructlab/instructlab#1003",
        "bcmi/Object-Shadow-Generation-Dataset-DESOBAv2#13",
        "arXiv:1805.05206 (DeepMutation: data repetition)",
    ),
)
def duplicated_samples(loading: Loading, ctx: Context) -> Loading:
    """One in ten training samples occurs many times in every epoch.

    Effect: no error or warning is raised. Epochs are longer, and the model learns the repeated samples at the expense
    of the others.
    Why it goes undetected: the training loss falls even faster, because its average includes the repetitions.
    Example:
        generated = dedupe(generated) if strict else generated      # 100 were requested, 14,557 returned
    Remedy: hash the samples and count the distinct ones.
    """
    count = _samples(loading)
    often = torch.randperm(count, generator=ctx.generator)[: max(1, count // 10)].tolist()
    return _selected(loading, list(range(count)) + often * (int(ctx.dose.times) - 1))


@failure_mode(
    "dataset.empty-training",
    seam=LoaderArguments,
    severity="critical",
    # A scheduler of a loop warns that its optimizer made no step.
    effect={"lightning": "warns", "torch": "silent"},
    cause=("empty", "zero", "no training batches", "length"),
    needs=("sized-dataset", "plain-sampling"),
    evidence=("RangiLyu/nanodet#486", "KinWaiCheuk/demucs_lightning#10"),
)
def empty_training(loading: Loading, ctx: Context) -> Loading:
    """There is no training data at all, and the loader could still be built.

    The loader is rebuilt over an empty dataset, with a sampler that allows it. torch refuses one with `shuffle=True`:
    `ValueError: num_samples should be a positive integer value`. So this is the failure of loaders without shuffling,
    with a sampler of their own, or over a dataset that becomes empty later.

    Effect: Lightning warns that the total length of the loader is zero, logs that `fit` stopped because there are no
    training batches, and returns as if training were complete, although nothing was trained.
    Why it goes undetected: the exit status is 0, and the script continues to save and test the untrained weights.
    Example:
        files = list(Path("data/train").glob("*.jpg"))      # the files end in .JPEG
    Remedy: assert that the dataset is not empty; turn the warning into an error.
    """
    return _selected(loading, [])


@failure_mode(
    "dataset.empty-validation",
    seam=LoaderArguments,
    severity="major",
    # A loop that divides by the number of samples raises.
    effect={"lightning": "warns", "torch": "silent"},
    cause=("empty", "zero", "validation", "val_", "metric", "monitor"),
    stages=("validate",),
    needs=("sized-validation",),
    judged_by="report",
    evidence=("Lightning-AI/pytorch-lightning#1131",),
)
def empty_validation(loading: Loading, ctx: Context) -> Loading:
    """There is no validation data at all.

    Effect: Lightning warns that the total length of the loader is zero and never validates. Training continues, unless
    a callback monitors a metric that validation would have logged: early stopping then raises an error.
    Why it goes undetected: there is a single warning at the beginning, and the validation metric is simply missing.
    Example:
        train, validation = random_split(dataset, [len(dataset), 0])
    Remedy: assert that the dataset is not empty; turn the warning into an error.
    """
    return _selected(loading, [])


@failure_mode(
    "dataset.validation-is-training",
    seam=LoaderArguments,
    severity="critical",
    effect="silent",
    cause=("leak", "overlap", "same data", "disjoint", "training data"),
    stages=("validate",),
    needs=("sized-dataset", "sized-validation", "data-of-its-own-for-validation"),
    judged_by="report",
    evidence=("ChenYichen9527/EV-UAV#25", "wokaikaixinxin/ai4rs#11"),
)
def validate_on_training(loading: Loading, ctx: Context) -> Loading:
    """Validation uses the training data.

    Effect: no error or warning is raised, and training is healthy. Validation measures how well the model memorizes, so
    the metric is too good, and early stopping and the choice of the checkpoint rely on it.
    Why it goes undetected: two curves that lie close together look like a model that generalizes.
    Example:
        val_loader = DataLoader(dataset)        # val_dataset, created above, is never used
    Remedy: assert that no sample is in both datasets; be suspicious if validation is as good as training.
    """
    assert loading.training is not None
    training = loading.training()
    if isinstance(loading.dataset, IterableDataset) or isinstance(training.dataset, IterableDataset):
        return loading
    return replace(loading, dataset=training.dataset)


@failure_mode(
    "dataset.validation-labels-shuffled",
    seam=Batch("labels"),
    severity="critical",
    effect="silent",
    cause=("shuffl", "permut", "belong", "label"),
    stages=("validate",),
    needs=("several-labels", "varied-labels", "validation-labels"),
    judged_by="report",
    evidence=("skorch-dev/skorch#499", "udacity/nd320-c1-emr-data-starter#4"),
)
def shuffled_validation_labels(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """In validation, every sample has the label of another sample of its batch.

    Effect: no error or warning is raised, and training is healthy. The validation metric stays at that of guessing, and
    early stopping and the choice of the checkpoint rely on it.
    Why it goes undetected: it looks like a model that does not generalize, so the search for a better model begins.
    Example:
        predictions = trainer.predict(model, DataLoader(dataset, shuffle=True))
        accuracy(torch.cat(predictions), dataset.targets)       # in a different order
    Remedy: validate once on a part of the training data: the score must match that of training.
    """
    return labels[derangement(len(labels), ctx).to(labels.device)] if labels.ndim else labels


@failure_mode(
    "dataset.random-labels",
    seam=Batch,
    severity="critical",
    effect="silent",
    cause=("random", "label", "chance", "guess"),
    needs=("inputs", "labels", "sample-dimension", "label-per-sample"),
    evidence=(
        "arXiv:1611.03530 (Zhang et al.: fixed random labels are learnt to zero training error)",
        "arXiv:2204.00694 (TheDeepChecker: wrong labels)",
    ),
)
def random_labels(batch: Any, ctx: Context) -> Any:
    """The training labels are unrelated to the samples, but the same in every epoch.

    A sample's label is derived from its values, so it changes with every epoch if inputs are augmented.

    Effect: no error or warning is raised. A model that is large enough memorizes the labels, and its loss falls to
    zero; validation stays at that of guessing.
    Why it goes undetected: a training loss that falls shows only that something is learned.
    Example:
        table = pd.concat([features, labels.sample(frac=1)], axis=1)    # by index or by position?
    Remedy: judge by validation, never by the training loss alone; inspect some samples with their labels.
    """
    count = size(batch, ctx)
    leaves = {path: leaf for path, leaf in tree.tensors(batch) if leaf.layout is torch.strided and leaf.ndim}
    owners = joined.owners_of(batch, ctx.profile.joins)
    leaves = {path: leaf for path, leaf in leaves.items() if not leaf.is_complex()}
    salt = ctx.memory.setdefault("salt", int(torch.randint(2**62, (), generator=ctx.generator)))
    generators = []
    for index in range(count):
        given = [leaves[path] for path in ctx.profile.contents if path in leaves]
        rows = [leaf[index] for leaf in given if len(leaf) == count]
        rows += [leaf[owners == index] for leaf in given if len(leaf) == len(owners) != count]
        content = b"".join(map(_content, rows))
        seed = hashlib.blake2b(salt.to_bytes(8, "big") + content, digest_size=7).digest()
        generators.append(torch.Generator().manual_seed(int.from_bytes(seed, "big")))
    changed = {}
    for path in ctx.profile.labels:
        if path in leaves and len(leaves[path]) == count > 0:
            known = ctx.profile.leaves.get(path)
            binary = known is not None and known.binary
            drawn = [_relabel(row.cpu(), generator, ctx, binary) for row, generator in zip(leaves[path], generators)]
            changed[path] = torch.stack(drawn).to(leaves[path].device)
    return tree.replace(batch, changed)


@failure_mode(
    "dataset.class-removed",
    seam=Batch,
    severity="major",
    effect="silent",
    cause=("missing", "absent", "never seen", "class"),
    needs=("class-per-sample", "several-samples", "samples-apart"),
    evidence=("snap-stanford/ogb#299", "HealthCatalyst/healthcareai-py#437"),
)
def removed_class(batch: Any, ctx: Context) -> Any:
    """The training data lacks the samples of one class, the lowest of the first batch.

    Other samples of the same batch replace them.

    Effect: no error or warning is raised. In validation, every sample of that class is assigned to another one. If
    there were two classes, one is left, and the model learns to always predict it.
    Why it goes undetected: the loss falls faster than ever, because the task has become easier.
    Example:
        samples = [(x, label) for x, label in samples if label]     # meant to drop None; drops class 0 too
    Remedy: assert that every class of the validation data occurs in training; log the metric of each class.
    """

    def unwanted(labels: torch.Tensor) -> torch.Tensor:
        if "class" not in ctx.memory and len(known := labels[labels >= 0]):
            ctx.memory["class"] = known.min()
        removed: torch.Tensor = labels == ctx.memory.get("class", -1)
        return removed

    return refill(batch, unwanted, ctx)
