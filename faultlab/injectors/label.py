"""label: failure modes of the values that the model has to learn."""

from __future__ import annotations

from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Batch
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injectors._classes import bounds, numbered, range_of, refill
from faultlab.injectors._draws import derangement, replace_one


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

    Effect: no error or warning is raised. The model learns only the frequencies of the labels, and the loss stays near
    that of guessing.
    Why it goes undetected: inputs and labels are each right on their own, and a loss that does not fall looks like a
    wrong learning rate.
    Example:
        images = images[torch.randperm(len(images))]    # but not the labels
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
    doses=(Dose("fraction", 0.3, 0.01, 1.0, "fraction of each batch's samples whose labels are wrong"),),
    evidence=("doi:10.1145/3460319.3464825 (DeepCrime: change labels)", "arXiv:1805.05206 (DeepMutation: label error)"),
)
def noisy_labels(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Some of the samples have the labels of other samples.

    Effect: no error or warning is raised. The loss stays well above that of a clean run, while validation accuracy
    falls only a little.
    Why it goes undetected: most samples are right, so all curves have their usual shape; only their level is off, and
    the right level is not known beforehand.
    Example:
        labels = annotators.majority(task)              # three in ten tasks were clicked through
    Remedy: have a sample of the labels checked by hand; inspect the samples with the highest loss.
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
    seam=Batch("labels"),
    severity="critical",
    effect="raises",
    cause=("out of bounds", "out of range", "off by one", "label"),
    needs=("class-column",),
    evidence=("PaddlePaddle/Paddle#27095", "EricFillion/happy-transformer#248"),
)
def next_class(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Classes are counted from 1 instead of 0.

    Effect: cross-entropy raises an `IndexError`, target out of bounds, at the first batch with a sample of the last
    class. It also does so for labels that are one too low, among them -1. With a spare output, no error or warning is
    raised. Binary cross-entropy raises none either, and has no minimum for a label of 2.
    Why it goes undetected: if the last class is rare, the error comes late; with a spare output it never comes, and
    every prediction is off by one. Validation reveals that only if its labels are counted differently.
    Example:
        labels = torch.tensor(table["category"].values)     # 1 to 5, for 5 outputs
    Remedy: assert `0 <= labels.min()` and `labels.max() < classes` over the whole dataset.
    """
    return labels + (labels >= 0).to(labels.dtype) if numbered(labels, ctx) else labels


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
    """A single label of one batch is not a valid class.

    Effect: cross-entropy raises an `IndexError`, target out of bounds, at that batch.
    Why it goes undetected: it does not go undetected with cross-entropy, but the run may be hours old by then; other
    losses accept any number.
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
    """All training samples have the same label.

    Effect: no error or warning is raised. The loss falls to almost zero within a few steps, and validation scores like
    a model that always gives the same answer.
    Why it goes undetected: a loss of zero looks like success.
    Example:
        label = classes.index(path.parts[0])            # the top folder; parts[-2] was meant
    Remedy: count the classes of an epoch; be suspicious of a loss of zero.
    """
    if not labels.numel():
        return labels
    own = labels[0] if labels.ndim else labels
    first = ctx.memory.setdefault("label", own.clone())
    # The length of sequences may differ between batches; then use the batch's own first label.
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
    """All labels of one batch are -100, which the loss ignores.

    Effect: cross-entropy is a mean over nothing: NaN, and logged as NaN. Its gradients are zero, so the weights stay
    finite and the next batch's loss looks normal. No error or warning is raised.
    Why it goes undetected: it is documented behavior of the loss, and one NaN among thousands of steps is easily
    overlooked. A hand-written loss may divide by zero in backward, too.
    Example:
        labels[:, :prompt_length] = -100                # a prompt that fills the whole window
    Remedy: skip a batch without labels explicitly, and count how often; drop truncated samples when the data is built.
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
    """Class labels are floats.

    Effect: cross-entropy raises a `RuntimeError`: expected target dtype to be Long or Byte.
    Why it goes undetected: squared error and binary cross-entropy accept floats.
    Example:
        torch.tensor(table["class"].values, dtype=torch.float32)
    Remedy: convert labels where the dataset is built; assert their dtype.
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
    """The highest class never occurs in training; other samples replace its samples.

    Effect: no error or warning is raised. Validation accuracy falls by the share of that class, because each of its
    samples is assigned to another class.
    Why it goes undetected: with many classes, the effect of losing one is within the noise of the average.
    Example:
        train, validation = dataset[:1000], dataset[1000:]  # sorted by class
    Remedy: split with `stratify`; assert that every class of the validation data occurs in training.
    """
    return refill(batch, lambda labels: labels == range_of(labels, ctx)[1], ctx)


@failure_mode(
    "label.imbalanced",
    seam=Batch,
    severity="major",
    effect="silent",
    cause=("balance", "frequen", "rare"),
    needs=("class-per-sample", "several-samples", "samples-apart"),
    doses=(Dose("fraction", 0.9, 0.01, 1.0, "fraction of the rare classes' samples that is replaced"),),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: unbalance training data)",
        "awslabs/sagemaker-debugger-rulesconfig (ClassImbalance)",
    ),
)
def imbalanced_classes(batch: Any, ctx: Context) -> Any:
    """The upper half of the classes is rare in training, because samples of the lower half replace most of theirs.

    Effect: no error or warning is raised, and the loss falls as usual. Validation, with balanced classes, gets most of
    the rare half wrong.
    Why it goes undetected: a split of the same data has the same imbalance, and there accuracy is high.
    Example:
        dataset = healthy[:9000] + ill[:1000]           # the data at hand
    Remedy: log the metric of each class; weight the loss or the sampler by class.
    """

    def rare(labels: torch.Tensor) -> torch.Tensor:
        low, high = range_of(labels, ctx)
        drawn = torch.rand(labels.shape, generator=ctx.generator) < float(ctx.dose.fraction)
        return (labels > (low + high) / 2) & drawn

    return refill(batch, rare, ctx)


@failure_mode(
    "label.overlapping",
    seam=Batch("labels"),
    severity="major",
    effect="silent",
    cause=("overlap", "confus", "ambigu", "label"),
    needs=("several-classes",),
    doses=(Dose("fraction", 0.5, 0.01, 1.0, "fraction of each class that has the other class's label"),),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: make output classes overlap)",
        "arXiv:1910.11015 (Humbatova et al.: overlapping output classes in training data)",
    ),
)
def overlapping_classes(labels: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Classes overlap in pairs: half of class 0 is labeled 1, half of class 1 is labeled 0, and so on.

    Effect: no error or warning is raised, and the loss stays above that of a clean run. At the default dose the two
    classes of a pair are indistinguishable, and validation accuracy is half of what it was.
    Why it goes undetected: the model predicts the right pair, so the loss falls, and no sample looks absurd.
    Example:
        classes = ["sofa", "couch", "chair", "seat"]    # the annotators' own words
    Remedy: inspect the confusion matrix: errors come in blocks.
    """
    if not numbered(labels, ctx):
        return labels
    other = labels.long() ^ 1
    drawn = (torch.rand(labels.shape, generator=ctx.generator) < ctx.dose.fraction).to(labels.device)
    swapped = drawn & (labels >= 0) & (other <= range_of(labels, ctx)[1])
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

    Effect: a squared error is NaN immediately and stays NaN, because one step makes every parameter NaN. Training runs
    to its end. No error or warning is raised.
    Why it goes undetected: inputs are checked more often than targets, and the loss of the previous step was fine.
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
    """The targets have shape `[n]` where the output has `[n, 1]`, or the reverse.

    Effect: `mse_loss` warns that the target size differs from the input size and continues: every output is compared
    with every target, and the model learns the mean of the targets.
    Why it goes undetected: the loss is a scalar and falls, although not far; `(output - target) ** 2` does not even
    warn.
    Example:
        F.mse_loss(self(x), y)              # [n, 1] and [n] broadcast to [n, n]
    Remedy: assert `output.shape == target.shape` where the loss is computed.
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
    """Classes are numbered, or one-hot encoded, in a different order in training than in validation.

    Effect: no error or warning is raised, and the loss falls as usual. Validation accuracy is far below guessing,
    because every answer is a different class.
    Why it goes undetected: within training everything is consistent. If the same process encodes the validation data,
    validation is consistent too, and the wrong names appear only in production.
    Example:
        classes = {name: number for number, name in enumerate(set(names))}
    Remedy: number the sorted names once, and keep the mapping with the model.
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
    """The order of the labels is reversed: the first class is the last one, and high is low.

    Effect: no error or warning is raised, and the loss falls as usual. Validation accuracy is far below guessing, and a
    regression predicts the opposite.
    Why it goes undetected: if validation has the same inversion, every metric is excellent, and only the meaning is
    wrong.
    Example:
        label = int(row["healthy"])         # the model's output is the probability of illness
    Remedy: test the model on a few samples with known answers; be suspicious of an accuracy far below guessing.
    """
    low, high = bounds("floating" if labels.is_floating_point() else "integer", ctx)
    inverted = (low + high - labels.double()).to(labels.dtype)
    within = (labels >= low) & (labels <= high)
    return inverted if labels.is_floating_point() else torch.where(within, inverted, labels)
