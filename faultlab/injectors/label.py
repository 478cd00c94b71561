"""label: the values of what the model is to learn."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Batch
from faultlab.injection import tree
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injectors._draws import derangement, replace_one
from faultlab.injectors._samples import rows, size


def bounds(kind: str, ctx: Context) -> tuple[float, float]:
    """The lowest and highest value that the clean run's labels of this kind all share, ignored ones (-100) aside."""
    leaves = [leaf for path in ctx.profile.labels if (leaf := ctx.profile.leaves.get(path)) and leaf.kind == kind]
    known = [(leaf.low, leaf.high) for leaf in leaves if leaf.low is not None and leaf.high is not None]
    varied = [(0.0 if low == -100 else low, high) for low, high in known if low < high]
    return (max(low for low, _ in varied), min(high for _, high in varied)) if varied else (0.0, 1.0)


def refill(batch: Any, unwanted: Any, ctx: Context) -> Any:
    """The batch with every sample whose class is unwanted replaced by one of the others, drawn at random."""
    for path, leaf in tree.tensors(batch):
        classes = path in ctx.profile.labels and not leaf.is_floating_point() and leaf.ndim
        if classes and leaf.numel() == len(leaf) == size(batch, ctx):
            out = unwanted(leaf.flatten().cpu())
            wanted = (~out).nonzero().flatten()
            index = torch.arange(len(out))
            if len(wanted):
                index[out] = wanted[torch.randint(len(wanted), (int(out.sum()),), generator=ctx.generator)]
            return rows(batch, index, ctx)
    return batch


@failure_mode(
    "label.shuffled",
    seam=Batch("labels"),
    severity="critical",
    effect="silent",
    cause=("shuffl", "permut", "belong", "label"),
    needs=("several-labels", "varied-labels"),
    evidence=("arXiv:2204.00694 (TheDeepChecker: wrong labels)",),
)
def shuffled_labels(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Every sample has the label of another sample of its batch.

    Effect: training is silent and learns how frequent the labels are; the loss stays near that of guessing.
    Why it goes undetected: inputs and labels are both right when looked at apart, and a loss that does not fall looks
    like a learning rate that is wrong.
    Example:
        images = images[torch.randperm(len(images))]    # and the labels as they were
    Remedy: compare the loss with that of guessing; try to overfit a single batch.
    """
    return labels[derangement(len(labels), ctx).to(labels.device)] if labels.ndim else labels


@failure_mode(
    "label.noisy",
    seam=Batch("labels"),
    severity="major",
    effect="silent",
    cause=("noise", "noisy", "label"),
    needs=("several-labels", "varied-labels"),
    doses=(Dose("fraction", 0.3, 0.01, 1.0, "the part of each batch's samples whose labels are wrong"),),
    evidence=("doi:10.1145/3460319.3464825 (DeepCrime: change labels)", "arXiv:1805.05206 (DeepMutation: label error)"),
)
def noisy_labels(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """A part of the samples have the labels of other samples.

    Effect: training is silent; its loss stays well above the healthy one, while validation accuracy falls by little.
    Why it goes undetected: most samples are right, so that all curves have their usual form; only their level is off,
    which nobody knows beforehand.
    Example:
        labels = annotators.majority(task)              # three in ten tasks were clicked through
    Remedy: have a sample of the labels checked by hand; look at the samples with the highest loss.
    """
    count = len(labels) if labels.ndim else 0
    if count < 2:
        return labels
    wrong = torch.randperm(count, generator=ctx.generator)[: max(1, round(ctx.dose.fraction * count))]
    index = torch.arange(count)
    index[wrong] = (wrong + torch.randint(1, count, wrong.shape, generator=ctx.generator)) % count
    return labels[index.to(labels.device)]


@failure_mode(
    "label.off-by-one",
    seam=Batch("labels", "integer"),
    severity="critical",
    effect="raises",
    cause=("out of bounds", "out of range", "off by one", "label"),
    needs=("class-labels",),
    evidence=("PaddlePaddle/Paddle#27095", "EricFillion/happy-transformer#248"),
)
def next_class(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Classes are counted from 1.

    Effect: cross-entropy raises an IndexError, target out of bounds, at the first batch with a sample of the last
    class; so it does for labels one too low, of which one is -1. With a spare output it says nothing.
    Why it goes undetected: where the last class is rare it raises late, with a spare output never, and every prediction
    is off by one. Validation shows that only if its labels are counted otherwise.
    Example:
        labels = torch.tensor(table["category"].values)     # 1 to 5, for 5 outputs
    Remedy: assert `0 <= labels.min()` and `labels.max() < classes` over the whole dataset.
    """
    return labels + (labels >= 0).to(labels.dtype)


@failure_mode(
    "label.out-of-range",
    seam=Batch("labels", "integer"),
    severity="major",
    effect="raises",
    cause=("out of bounds", "out of range", "label"),
    needs=("numbered-classes",),
    when="middle",
    evidence=("activeloopai/deeplake#1699",),
)
def foreign_class(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """A single label of one batch is no class at all.

    Effect: cross-entropy raises an IndexError, target out of bounds, at that batch.
    Why it goes undetected: it does not; but a loss that is no cross-entropy takes any number, and a run may be hours
    old by then.
    Example:
        labels = vocabulary.get(word, 2**31 - 1)
    Remedy: assert the range of the labels over the whole dataset, before training.
    """
    highest = 1 if labels.dtype == torch.bool else min(torch.iinfo(labels.dtype).max, 2**31 - 1)
    return replace_one(labels, highest, ctx)


@failure_mode(
    "label.constant",
    seam=Batch("labels"),
    severity="critical",
    effect="silent",
    cause=("constant", "single class", "one class", "label", "vary"),
    needs=("varied-labels",),
    evidence=("arXiv:2204.00694 (TheDeepChecker: constant targets)",),
)
def constant_labels(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Every sample of the training has one and the same label.

    Effect: training is silent, its loss falls to nearly zero within a few steps, and validation is that of always
    giving the same answer.
    Why it goes undetected: nothing looks more like success than a loss of zero.
    Example:
        label = classes.index(path.parts[0])            # the folder of them all, in place of parts[-2]
    Remedy: count the classes of an epoch; distrust a loss of zero.
    """
    if not labels.numel():
        return labels
    own = labels[0] if labels.ndim else labels
    first = ctx.memory.setdefault("label", own.clone())
    # Of sequences, which may have another length in every batch, the batch's own first one must do.
    return (first if first.shape == own.shape else own).expand_as(labels).clone()


@failure_mode(
    "label.ignored",
    seam=Batch("labels", "integer"),
    severity="major",
    effect="silent",
    cause=("ignore", "-100", "nan", "finite", "label"),
    needs=("class-labels",),
    when="middle",
    evidence=("pytorch/pytorch#70348", "OpenRLHF/OpenRLHF#583"),
)
def ignored_labels(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """All labels of one batch are to be ignored: -100.

    Effect: cross-entropy is a mean over nothing: NaN, and logged so. Its gradients are zero, so that the weights stay
    finite and the next batch's loss looks as before. Nobody warns.
    Why it goes undetected: it is documented behaviour of the loss, and one NaN among thousands of steps is easily
    overlooked; a loss made by hand may divide by zero in backward too.
    Example:
        labels[:, :prompt_length] = -100                # a prompt that fills the whole window
    Remedy: skip a batch without labels on purpose, and count how often; drop truncated samples when the data is made.
    """
    return torch.full_like(labels, -100, dtype=torch.int64)


@failure_mode(
    "label.float",
    seam=Batch("labels", "integer"),
    severity="major",
    effect="raises",
    cause=("float", "dtype", "scalar type", "label"),
    needs=("class-labels",),
    evidence=("pytorch/pytorch#103813", "allenai/satlaspretrain_models#5"),
)
def float_labels(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Class numbers are floats.

    Effect: cross-entropy raises a RuntimeError: expected target dtype to be Long or Byte.
    Why it goes undetected: a squared error, and a binary cross-entropy, take floats gladly.
    Example:
        torch.tensor(table["class"].values, dtype=torch.float32)
    Remedy: convert labels where the dataset is made; assert their dtype.
    """
    return labels.float()


@failure_mode(
    "label.class-missing",
    seam=Batch,
    severity="major",
    effect="silent",
    cause=("missing", "absent", "never seen", "class"),
    needs=("class-per-sample", "several-samples", "samples-apart"),
    evidence=("HealthCatalyst/healthcareai-py#437", "alteryx/evalml#760"),
)
def missing_class(batch: Any, ctx: Context) -> Any:
    """One class, the highest, never comes in training; other samples take the place of its own.

    Effect: training is silent; validation accuracy falls by the share of that class, every sample of which is given to
    another.
    Why it goes undetected: with many classes the loss of one is within the noise of the average.
    Example:
        train, validation = dataset[:1000], dataset[1000:]  # sorted by class
    Remedy: split with `stratify`; assert that every class of the validation data comes in training.
    """
    highest = bounds("integer", ctx)[1]
    return refill(batch, lambda labels: labels == highest, ctx)


@failure_mode(
    "label.imbalanced",
    seam=Batch,
    severity="major",
    effect="silent",
    cause=("balance", "frequen", "rare"),
    needs=("class-per-sample", "several-samples", "samples-apart"),
    doses=(Dose("fraction", 0.9, 0.01, 1.0, "the part of the rare classes' samples that others take the place of"),),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: unbalance training data)",
        "awslabs/sagemaker-debugger-rulesconfig (ClassImbalance)",
    ),
)
def imbalanced_classes(batch: Any, ctx: Context) -> Any:
    """The upper half of the classes is rare in training: most of their samples are replaced by the lower half's.

    Effect: training is silent and its loss falls as ever; validation, where classes are balanced, loses most of the
    rare half.
    Why it goes undetected: a split of the same data has the same imbalance, and there accuracy is high.
    Example:
        dataset = healthy[:9000] + ill[:1000]           # what was at hand
    Remedy: log the metric of each class; weigh the loss or the sampler by class.
    """
    low, high = bounds("integer", ctx)

    def rare(labels: torch.Tensor) -> torch.Tensor:
        drawn = torch.rand(labels.shape, generator=ctx.generator) < float(ctx.dose.fraction)
        return (labels > (low + high) / 2) & drawn

    return refill(batch, rare, ctx)


@failure_mode(
    "label.overlapping",
    seam=Batch("labels", "integer"),
    severity="major",
    effect="silent",
    cause=("overlap", "confus", "ambigu", "label"),
    needs=("several-classes",),
    doses=(Dose("fraction", 0.5, 0.01, 1.0, "the part of each class that has the other class's label"),),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: make output classes overlap)",
        "arXiv:1910.11015 (Humbatova et al.: overlapping output classes in training data)",
    ),
)
def overlapping_classes(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Classes overlap two by two: half of class 0 is labelled 1, half of class 1 is labelled 0, and so on.

    Effect: training is silent and its loss stays above the healthy one; at the default dose two classes of a pair can't
    be told apart, and validation accuracy is half of what it was.
    Why it goes undetected: the model gets the pair right, so that curves fall, and no sample looks absurd.
    Example:
        classes = ["sofa", "couch", "chair", "seat"]    # the annotators' own words
    Remedy: look at the confusion matrix: errors come in blocks.
    """
    other = labels.long() ^ 1
    drawn = (torch.rand(labels.shape, generator=ctx.generator) < ctx.dose.fraction).to(labels.device)
    swapped = drawn & (labels >= 0) & (other <= bounds("integer", ctx)[1])
    return torch.where(swapped, other.to(labels.dtype), labels)


@failure_mode(
    "label.nan",
    seam=Batch("labels", "floating"),
    severity="critical",
    effect="silent",
    cause=("nan", "finite"),
    needs=("real-labels",),
    when="middle",
    evidence=("Nixtla/neuralforecast#186",),
)
def nan_label(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """A single value of one batch's targets is NaN.

    Effect: a squared error is NaN at once and stays so: one step makes every parameter NaN. Training runs to its end;
    nobody warns.
    Why it goes undetected: inputs are checked more often than targets, and the loss of the step before was fine.
    Example:
        target = torch.tensor(table["price"].values)    # one empty cell
    Remedy: assert that targets are finite where the dataset is read; check the loss before backward.
    """
    return replace_one(labels, torch.nan, ctx)


@failure_mode(
    "label.broadcast",
    seam=Batch("labels", "floating"),
    severity="critical",
    effect="warns",
    cause=("broadcast", "shape", "size", "dimension"),
    needs=("broadcastable-labels",),
    evidence=("pytorch/pytorch#16045", "arXiv:2204.00694 (TheDeepChecker: wrong loss function, broadcasting)"),
)
def broadcast_labels(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The targets are `[n]` where the output is `[n, 1]`, or the other way round.

    Effect: `mse_loss` warns of a target size that differs from the input size and goes on: every output is compared
    with every target, and the model learns the mean of the targets.
    Why it goes undetected: the loss is a scalar and falls, if not far; `(output - target) ** 2` does not even warn.
    Example:
        F.mse_loss(self(x), y)              # [n, 1] and [n] broadcast to [n, n]
    Remedy: assert `output.shape == target.shape` where the loss is made.
    """
    if labels.ndim == 2 and labels.shape[1] == 1:
        return labels.squeeze(1)
    return labels.unsqueeze(1) if labels.ndim == 1 else labels


@failure_mode(
    "label.one-hot-permuted",
    seam=Batch("labels"),
    severity="critical",
    effect="silent",
    cause=("permut", "renumber", "mapping", "label"),
    needs=("coded-classes",),
    evidence=("diegoantognini/pyGAT#51", "uzh-rpg/rpg_event_representation_learning#2"),
)
def renumbered_classes(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Classes are numbered, or one-hot encoded, in another order in training than in validation.

    Effect: training is silent and its loss falls as ever; validation accuracy is far below guessing, for every answer
    is another class.
    Why it goes undetected: within training all is consistent; and where validation is encoded by the same process, it
    is there too, and the wrong names come only in production.
    Example:
        classes = {name: number for number, name in enumerate(set(names))}
    Remedy: number sorted names, once, and keep the mapping with the model.
    """
    if labels.ndim == 2 and labels.shape[1] > 1 and bool(((labels == 0) | (labels == 1)).all()):
        order = ctx.memory.setdefault("columns", derangement(labels.shape[1], ctx))
        return labels[:, order.to(labels.device)] if len(order) == labels.shape[1] else labels
    if labels.is_floating_point():
        return labels
    count = int(bounds("integer", ctx)[1]) + 1
    order = ctx.memory.setdefault("classes", derangement(count, ctx)).to(labels.device)
    renumbered = order[labels.long().clamp(0, count - 1)].to(labels.dtype)
    return torch.where((labels >= 0) & (labels < count), renumbered, labels)


@failure_mode(
    "label.inverted",
    seam=Batch("labels"),
    severity="critical",
    effect="silent",
    cause=("invert", "opposite", "revers", "label"),
    needs=("varied-labels",),
    evidence=("Giskard-AI/giskard-oss#1042",),
)
def inverted_labels(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The order of the labels is turned round: the first class is the last one, and high is low.

    Effect: training is silent and its loss falls as ever; validation accuracy is far below guessing, and a regression
    predicts the opposite.
    Why it goes undetected: where validation has the same inversion, every metric is excellent, and only the meaning is
    wrong.
    Example:
        label = int(row["healthy"])         # the model's output is the probability of illness
    Remedy: test the model on a few samples whose answer everybody knows; distrust an accuracy far below guessing.
    """
    low, high = bounds("floating" if labels.is_floating_point() else "integer", ctx)
    inverted = (low + high - labels.double()).to(labels.dtype)
    within = (labels >= low) & (labels <= high)
    return inverted if labels.is_floating_point() else torch.where(within, inverted, labels)
