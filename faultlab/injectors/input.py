"""input: failure modes of the model's inputs."""

from __future__ import annotations

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Batch
from faultlab.injection.armed_fault import Context
from faultlab.injection.registry import failure_mode
from faultlab.injectors._draws import replace_one


def _range(inputs: torch.Tensor) -> tuple[float, float]:
    finite = inputs.detach()[inputs.isfinite()].double()
    return (float(finite.min()), float(finite.max())) if finite.numel() else (0.0, 0.0)


def _spread(inputs: torch.Tensor) -> float:
    """Return the standard deviation, or 1 if the values do not vary."""
    finite = inputs.detach()[inputs.isfinite()].double()
    return (float(finite.std(correction=0)) if finite.numel() else 0.0) or 1.0


@failure_mode(
    "input.nan",
    seam=Batch("inputs", "floating"),
    severity="critical",
    effect="silent",
    cause=("nan", "finite"),
    when="middle",
    evidence=("ratschlab/DeepSpot#9", "BerkeleyHCI/umlaut (umserver/errors.py: NaNInInputError)"),
)
def nan_inputs(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The inputs of one batch are NaN.

    Effect: the loss is NaN immediately and stays NaN, because one step makes every parameter NaN. Training runs to its
    end. No error or warning is raised.
    Why it goes undetected: the most likely class of NaN outputs is class 0, so accuracy stays a number; and an
    EarlyStopping that does stop prints the reason only if it is verbose.
    Example:
        image = (image - image.mean()) / image.std()    # a blank image: 0 / 0
    Remedy: assert that inputs are finite where the batch is built. `torch.autograd.set_detect_anomaly(True)`, with
    Lightning `detect_anomaly=True`, raises immediately too, but names a function of backward.
    """
    return torch.full_like(inputs, torch.nan)


@failure_mode(
    "input.one-nan",
    seam=Batch("inputs", "floating"),
    severity="critical",
    effect="silent",
    cause=("nan", "finite"),
    when="middle",
    evidence=("Lightning-AI/pytorch-lightning#4956",),
)
def one_nan(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """A single value of one batch's inputs is NaN.

    Effect: the same as for a batch of NaN: the mean over the batch spreads it, the loss is NaN immediately, and after
    one step so is every parameter.
    Why it goes undetected: it affects one value of one sample in millions, and shuffling decides when that sample is
    used.
    Example:
        table = pd.read_csv("measurements.csv")         # one empty cell
    Remedy: assert that inputs are finite where the dataset is read, for all samples and not only the first.
    """
    return replace_one(inputs, torch.nan, ctx)


@failure_mode(
    "input.infinite",
    seam=Batch("inputs", "floating"),
    severity="critical",
    effect="silent",
    cause=("inf", "finite"),
    when="middle",
    evidence=("LMResiliency/lm-resiliency (docs/fault_injection.md: tensor_corruption, set_value inf, input)",),
)
def infinite_input(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """A single value of one batch's inputs is infinite.

    Effect: BatchNorm turns it into NaN immediately. Bounded activations, such as tanh, give a finite loss for that
    batch and NaN gradients. Either way, the weights are NaN after the step. No error or warning is raised.
    Why it goes undetected: the loss of this batch may be finite, so a check of the loss alone blames the next batch.
    Example:
        ratio = assets / debts              # one of a million firms has no debts
    Remedy: check with `isfinite` instead of `isnan`, which does not detect infinity.
    """
    return replace_one(inputs, torch.inf, ctx)


@failure_mode(
    "input.zero",
    seam=Batch("inputs"),
    severity="critical",
    effect="silent",
    cause=("zero", "constant", "same", "blank", "vary", "spread"),
    needs=("nonzero-inputs",),
    evidence=("arXiv:2204.00694 (TheDeepChecker: features_constant)",),
)
def zero_inputs(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """All inputs are zero; all token ids are token 0.

    Effect: no error or warning is raised. The model learns only the frequencies of the labels, and the loss stays that
    of guessing.
    Why it goes undetected: a loss that does not fall looks like a wrong learning rate, and validation inputs are as
    they should be.
    Example:
        images = np.zeros((count, 1, 28, 28))
        for path in paths: read(path)       # the result is never assigned
    Remedy: assert that a batch's inputs vary; inspect one batch by eye.
    """
    return torch.zeros_like(inputs)


@failure_mode(
    "input.constant",
    seam=Batch("inputs"),
    severity="critical",
    effect="silent",
    cause=("constant", "same", "identical", "vary", "duplicate"),
    needs=("several-samples", "samples-apart", "varied-inputs"),
    evidence=("arXiv:2204.00694 (TheDeepChecker: features_constant)",),
)
def constant_inputs(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """All samples of a batch have the inputs of its first sample, but their own labels.

    Effect: no error or warning is raised. The model learns only the frequencies of the labels, and the loss stays near
    that of guessing.
    Why it goes undetected: shapes, dtypes, range and the mean over many batches are right; only within a batch is there
    no variation.
    Example:
        torch.stack([samples[0]["image"] for sample in samples])
    Remedy: assert that the samples of a batch differ; try to overfit a single batch, which this fault makes impossible.
    """
    return inputs[:1].expand_as(inputs).clone() if inputs.ndim else inputs


@failure_mode(
    "input.noise",
    seam=Batch("inputs", "floating"),
    severity="major",
    effect="silent",
    cause=("noise", "range", "outside", "distribution", "spread"),
    doses=(Dose("scale", 1.0, 0.001, 100.0, "standard deviation of the noise, in those of the inputs"),),
    evidence=(
        "doi:10.1145/3460319.3464825 (DeepCrime: add noise)",
        "arXiv:1805.05206 (DeepMutation: noise perturbation)",
    ),
)
def noisy_inputs(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Gaussian noise is added to the training inputs, at the default dose as strong as the inputs themselves.

    Effect: no error or warning is raised. Training is slower, and validation, without noise, is worse too. A small dose
    is an augmentation and may be harmless.
    Why it goes undetected: the loss falls, although less, and how far it could have fallen is unknown.
    Example:
        image = image + sigma * torch.randn_like(image)     # sigma meant for pixels up to 255
    Remedy: compare training and validation side by side; inspect augmented samples by eye.
    """
    noise = torch.randn(inputs.shape, generator=ctx.generator).to(inputs)
    return inputs + float(ctx.dose.scale) * _spread(inputs) * noise


@failure_mode(
    "input.unscaled",
    seam=Batch("inputs", "floating"),
    severity="major",
    effect="silent",
    cause=("scale", "range", "outside", "normalis", "normaliz"),
    needs=("nonzero-inputs",),
    doses=(Dose("factor", 255, 0.001, 1e6, "divisor that was left out", harmless=1.0),),
    evidence=(
        "arXiv:1910.11015 (Humbatova et al.: missing preprocessing step, input scaling)",
        "arXiv:2204.00694 (TheDeepChecker: unnormalized features)",
    ),
)
def unscaled_inputs(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The training inputs are not scaled down: pixels range to 255 instead of 1.

    Effect: no error or warning is raised. BatchNorm removes the scale, so the training loss is unchanged, while
    validation, with scaled inputs and the running statistics of unscaled ones, is no better than guessing. Without
    BatchNorm, a tanh saturates and the loss falls less.
    Why it goes undetected: the training loss of a network with normalization does not show it at all.
    Example:
        torch.from_numpy(image).float()     # without / 255
    Remedy: assert the range of a batch's inputs, in training and in validation.
    """
    return inputs * float(ctx.dose.factor)


@failure_mode(
    "input.shifted",
    seam=Batch("inputs", "floating"),
    severity="major",
    effect="silent",
    cause=("shift", "mean", "range", "outside", "normalis", "normaliz"),
    doses=(Dose("offset", 3.0, -1000.0, 1000.0, "shift of the inputs, in standard deviations", harmless=0.0),),
    evidence=(
        "arXiv:1910.11015 (Humbatova et al.: missing preprocessing step, normalisation)",
        "arXiv:2204.00694 (TheDeepChecker: unnormalized features)",
    ),
)
def shifted_inputs(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The training inputs are off center, because their mean was never subtracted.

    Effect: no error or warning is raised. Training is slightly slower; validation, with centered inputs, is near
    guessing.
    Why it goes undetected: the training loss falls, because the first layer's bias or BatchNorm removes the shift.
    Example:
        features / features.std(dim=0)      # without - features.mean(dim=0)
    Remedy: assert mean and spread of a batch's inputs, in training and in validation.
    """
    return inputs + float(ctx.dose.offset) * _spread(inputs)


@failure_mode(
    "input.clipped",
    seam=Batch("inputs", "floating"),
    severity="minor",
    effect="silent",
    cause=("clip", "clamp", "range", "satur"),
    needs=("varied-inputs",),
    doses=(Dose("fraction", 0.25, 0.01, 0.5, "fraction of the range that is cut off at each end"),),
    no_evidence="a clamp with the bounds of another range is an easy mistake, and too mild to be reported when found",
)
def clipped_inputs(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The training inputs are clamped to the middle of their range.

    Effect: no error or warning is raised. Validation is slightly worse.
    Why it goes undetected: the values are all plausible, and so is the loss; the values that were cut off are gone
    before anyone inspects them.
    Example:
        x.clamp(-1, 1)                      # x has a standard deviation of 1, not a range of 1
    Remedy: count how many values lie exactly at the bounds; compare the range of training and validation inputs.
    """
    low, high = _range(inputs)
    margin = ctx.dose.fraction * (high - low)
    return inputs.clamp(low + margin, high - margin)


@failure_mode(
    "input.validation-augmented",
    seam=Batch("inputs", "floating"),
    severity="minor",
    effect="silent",
    cause=("augment", "noise", "random", "repeat", "reproduc", "determinis", "differ"),
    stages=("validate",),
    needs=("validation-inputs",),
    doses=(Dose("scale", 0.5, 0.001, 100.0, "standard deviation of the noise, in those of the inputs"),),
    judged_by="report",
    evidence=("shigen-StoneRoot/FFPN#2", "gpleiss/efficient_densenet_pytorch#51"),
)
def augmented_validation(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Validation inputs are augmented at random like training inputs; noise stands for any augmentation.

    Effect: no error or warning is raised, and training is healthy. The validation metric is that of distorted samples,
    so it is too bad, and it differs from one validation to the next with the same weights.
    Why it goes undetected: the metric improves along with the true one, and the difference looks like the gap between
    training and validation.
    Example:
        whole = Images(root, transform=augmented)
        train, validation = random_split(whole, [0.9, 0.1])     # one dataset, one transform
    Remedy: validate twice without a training step in between, and compare.
    """
    noise = torch.randn(inputs.shape, generator=ctx.generator).to(inputs)
    return inputs + float(ctx.dose.scale) * _spread(inputs) * noise


@failure_mode(
    "input.train-only-transform",
    seam=Batch("inputs", "floating"),
    severity="critical",
    effect="silent",
    cause=("transform", "normalis", "normaliz", "differ", "range", "outside"),
    evidence=("PolymathicAI/the_well#68", "mlpack/examples#213"),
)
def train_only_transform(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Training inputs are normalized, but validation inputs are not.

    Effect: no error or warning is raised. The training loss falls as usual or better, and validation is no better than
    guessing.
    Why it goes undetected: it looks like overfitting, and the usual response is dropout and weight decay.
    Example:
        train = Images(root, transform=Compose([ToTensor(), Normalize(mean=0.45, std=0.225)]))
        validation = Images(root, transform=ToTensor())
    Remedy: compare mean and spread of a training batch and a validation batch.
    """
    return (inputs - 0.45) / 0.225


@failure_mode(
    "input.quantised",
    seam=Batch("inputs", "floating"),
    severity="minor",
    effect="silent",
    cause=("quanti", "level", "precision", "resolution"),
    doses=(Dose("bits", 8, 1, 16, "number of bits that are left of each value", harmless=16),),
    evidence=("arXiv:1910.11015 (Humbatova et al.: missing conversion to 8-bit unsigned integer format for images)",),
)
def quantised_inputs(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The training inputs were stored with 8 bits each.

    Effect: no error or warning is raised. Training hardly differs, with 8 bits or with 2; with a single bit, validation
    is slightly worse.
    Why it goes undetected: shapes and range are right and the loss falls; the fault matters only where small
    differences do.
    Example:
        cv2.imwrite(path, (255 * depth / depth.max()).astype(np.uint8))
    Remedy: count the distinct values of a feature; store data other than images as floats.
    """
    low, high = _range(inputs)
    levels, span = float(2 ** int(ctx.dose.bits)), (high - low) or 1.0
    level = ((inputs.double() - low) / span * levels).floor().clamp(0, levels - 1)
    # Use the middle of each level, as converters do, so that no input equals its approximation by chance.
    return (low + (level + 0.5) / levels * span).to(inputs.dtype)


@failure_mode(
    "input.adversarial-sign",
    seam=Batch("inputs", "floating"),
    severity="critical",
    effect="silent",
    cause=("negat", "invert", "opposite", "range", "outside"),
    needs=("nonzero-inputs",),
    evidence=("arXiv:1910.11015 (Humbatova et al.: wrong preprocessing, wrong pixel encoding)",),
)
def negated_inputs(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The training inputs have the opposite sign.

    Effect: no error or warning is raised, and the training loss falls as usual. Validation, with the right sign, is
    worse than guessing.
    Why it goes undetected: a network learns from negatives as well as from pictures, so the training loss is right.
    Example:
        mean - image                        # instead of image - mean
    Remedy: compare the range of training and validation inputs; inspect one batch by eye.
    """
    return -inputs
