"""batch: the structure of what the loader yields."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

import torch

from faultlab.catalogue.injection_points import Batch, StepCall
from faultlab.injection import tree
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode
from faultlab.injectors._samples import size


def _parts(batch: Any) -> dict[Any, Any]:
    """The outermost parts by name, of a tuple, a list or a mapping; of anything else, none."""
    if isinstance(batch, Mapping):
        return dict(batch)
    if isinstance(batch, (tuple, list)):
        return dict(zip(getattr(batch, "_fields", map(str, range(len(batch)))), batch))
    return {}


@failure_mode(
    "batch.inputs-only",
    seam=Batch,
    severity="major",
    effect="raises",
    cause=("label", "target", "unpack", "pair", "structure", "parts"),
    needs=("more-than-inputs",),
    evidence=("moskomule/homura#20",),
)
def keep_inputs(batch: Any, ctx: Context) -> Any:
    """The batch holds the inputs and nothing else: the dataset was built without its labels.

    Effect: unpacking raises a ValueError: not enough values to unpack; a dict raises a KeyError.
    Why it goes undetected: it does not, unless the step takes the labels only where they are there.
    Example:
        TensorDataset(images)               # instead of TensorDataset(images, labels)
    Remedy: pull one batch out of every loader in a test and compare its structure with what the step expects.
    """
    kept = {name: part for name, part in _parts(batch).items() if _holds_input(str(name), ctx)}
    if isinstance(batch, MutableMapping):
        return tree.with_items(batch, kept)
    return kept if isinstance(batch, Mapping) else list(kept.values()) if kept else batch


def _holds_input(name: str, ctx: Context) -> bool:
    return any(tree.under(path, (name,)) for path in ctx.profile.inputs)


@failure_mode(
    "batch.swapped",
    seam=Batch,
    severity="major",
    effect="raises",
    cause=("swap", "order", "dtype", "shape", "integer", "floating"),
    needs=("several-tensors",),
    evidence=("weiaicunzai/pytorch-cifar100#7",),
)
def swap(batch: Any, ctx: Context) -> Any:
    """Inputs and labels have changed places.

    Effect: the first layer raises a RuntimeError about a shape or a dtype that names neither inputs nor labels. Where
    both have one form, such as token ids and their successors, training goes on and learns the reverse.
    Why it goes undetected: two tensors of the same shape and dtype can't be told apart by any check of either.
    Example:
        return label, image                 # in __getitem__; the step unpacks `image, label`
    Remedy: name the parts of a batch, with a dict or a NamedTuple, in place of counting them.
    """
    leaves = dict(tree.tensors(batch))
    first = next((path for path in leaves if path in ctx.profile.contents), next(iter(leaves), ""))
    others = [path for path in leaves if path != first]
    other = next((path for path in others if path in ctx.profile.labels), others[0] if others else first)
    return tree.replace(batch, {first: leaves[other], other: leaves[first]} if others else {})


@failure_mode(
    "batch.extra-element",
    seam=Batch,
    severity="major",
    effect="raises",
    cause=("unpack", "element", "extra", "pair", "structure", "parts"),
    needs=("batch-parts",),
    evidence=("lightly-ai/lightly#1279",),
)
def append_element(batch: Any, ctx: Context) -> Any:
    """The batch has one part more than the step unpacks: the samples' numbers.

    Effect: unpacking raises a ValueError: too many values to unpack. A dict with one key more changes nothing, unless
    the step passes on all of it.
    Why it goes undetected: a step that takes `batch[0]` and `batch[1]` never looks at the rest.
    Example:
        return image, label, index          # in __getitem__, since the data package was updated
    Remedy: test one batch of every loader against the step; pin the package that brings the dataset.
    """
    numbers = torch.arange(max(1, size(batch, ctx)))
    if isinstance(batch, MutableMapping):
        return tree.with_items(batch, {**batch, "index": numbers})
    if isinstance(batch, Mapping):
        return {**batch, "index": numbers}
    if isinstance(batch, (tuple, list)):
        return [*batch, numbers] if isinstance(batch, list) else (*batch, numbers)
    return batch


@failure_mode(
    "batch.as-dict",
    seam=Batch,
    severity="major",
    effect="raises",
    cause=("dict", "tuple", "pair", "type", "structure"),
    needs=("batch-parts",),
    evidence=("Lightning-AI/pytorch-lightning#1221",),
)
def change_container(batch: Any, ctx: Context) -> Any:
    """The batch is a dict where the step expects a tuple, or the other way round.

    Effect: a dict unpacks into its keys, so that the first layer raises a TypeError: it was given a string. A tuple
    indexed by a key raises a TypeError at once.
    Why it goes undetected: unpacking a dict of as many parts raises nothing; the error comes lines later and speaks of
    strings.
    Example:
        def collate(samples):
            return {"x": torch.stack(...), "y": torch.tensor(...)}      # the step unpacks `x, y = batch`
    Remedy: change the collate function and the step in one commit, with a test that runs both.
    """
    parts = _parts(batch)
    return tuple(parts.values()) if isinstance(batch, Mapping) else parts or batch


@failure_mode(
    "batch.none",
    seam=Batch,
    severity="minor",
    effect="warns",
    cause=("none", "skip"),
    when="middle",
    evidence=("Lightning-AI/pytorch-lightning#6753", "Lightning-AI/pytorch-lightning#7342"),
)
def no_batch(batch: Any, ctx: Context) -> Any:
    """The collate function returns None in place of a batch.

    Effect: Lightning skips the batch and says so in one warning a process: train_dataloader yielded None. The step is
    not run.
    Why it goes undetected: the warning comes once, however many batches are lost, and scrolls by.
    Example:
        samples = [sample for sample in samples if sample is not None]
        return default_collate(samples) if samples else None
    Remedy: filter bad samples out of the dataset, once and counted, and not while batches are collated.
    """
    return None


@failure_mode(
    "batch.double-inputs",
    seam=Batch("inputs", "floating"),
    severity="major",
    effect="raises",
    cause=("double", "float64", "dtype"),
    needs=("single-precision-inputs",),
    evidence=("pytorch/pytorch#15436", "YosefLab/mrvi_archive#5"),
)
def double_inputs(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The inputs are float64, as NumPy makes them.

    Effect: the first layer raises a RuntimeError: input and weight have different types.
    Why it goes undetected: it does not, unless the module converts what it is given, or has only operations that
    promote.
    Example:
        torch.from_numpy(features)          # without .float()
    Remedy: convert where the dataset is made; assert the dtype of one sample in a test.
    """
    return inputs.double()


@failure_mode(
    "batch.integer-inputs",
    seam=Batch("inputs", "floating"),
    severity="major",
    effect="raises",
    cause=("integer", "int64", "dtype", "floating"),
    evidence=("pytorch/pytorch#64145", "pytorch/pytorch#2458"),
)
def integer_inputs(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The inputs are whole numbers: the conversion to floats is missing, or came after one to integers.

    Effect: the first layer raises a RuntimeError: input and weight have different types.
    Why it goes undetected: where the module converts its inputs itself, everything after the decimal point is gone, and
    images in [0, 1] are black.
    Example:
        torch.tensor(rows, dtype=torch.long)
    Remedy: assert the dtype and the range of one sample in a test.
    """
    return inputs.nan_to_num().long()


@failure_mode(
    "batch.half-inputs",
    seam=Batch("inputs", "floating"),
    severity="major",
    effect="raises",
    cause=("half", "float16", "dtype", "precision"),
    needs=("single-precision-inputs",),
    evidence=("d8ahazard/sd_dreambooth_extension#503", "Megvii-BaseDetection/BEVDepth#165"),
)
def half_inputs(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The inputs are float16 while the weights are float32.

    Effect: the first layer raises a RuntimeError: input and weight have different types.
    Why it goes undetected: under autocast both are converted, and inputs beyond 65,504 have turned infinite before.
    Example:
        np.save(path, features.astype(np.float16))      # to halve the files, and never converted back
    Remedy: leave precision to the Trainer's `precision`; convert where the dataset is read.
    """
    return inputs.half()


@failure_mode(
    "batch.transposed",
    seam=Batch("inputs"),
    severity="major",
    effect="raises",
    cause=("shape", "transpose", "channel", "dimension"),
    needs=("matrix-inputs",),
    evidence=("arXiv:1910.11015 (Humbatova et al.: wrong input format)",),
)
def transpose(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """The inputs' dimensions have another order: channels last, or features before samples.

    Effect: the first layer raises a RuntimeError about channels or about shapes that can't be multiplied. A square
    input, such as 32 sequences of 32 tokens, goes through and mixes samples with positions.
    Why it goes undetected: wherever both dimensions are of one size, no shape changes.
    Example:
        torch.from_numpy(image)             # height, width, channels
    Remedy: assert the shape of one sample; try a batch size that no other dimension has.
    """
    if inputs.ndim < 2:
        return inputs
    return (inputs.t() if inputs.ndim == 2 else inputs.movedim(1, -1)).contiguous()


@failure_mode(
    "batch.extra-dimension",
    seam=Batch("inputs"),
    severity="major",
    effect="raises",
    cause=("dimension", "shape", "squeeze", "broadcast"),
    evidence=("arXiv:1910.11015 (Humbatova et al.: wrong tensor shape, missing squeeze)",),
)
def extra_dimension(inputs: torch.Tensor, ctx: Context) -> torch.Tensor:
    """Each sample of the inputs has one dimension more, of size one.

    Effect: a convolution raises a RuntimeError about the number of dimensions. Linear layers accept it; the output then
    has the dimension too, and a mean squared error broadcasts over it with no more than a warning.
    Why it goes undetected: layers that work on the last dimension take any number of others.
    Example:
        features = table[[row]]             # [1, f] and not [f]
    Remedy: assert that output and target have one shape before the loss compares them.
    """
    return inputs.unsqueeze(min(1, inputs.ndim))


@failure_mode(
    "batch.non-tensor",
    seam=Batch("inputs"),
    severity="major",
    effect="raises",
    cause=("list", "tensors", "not a tensor", "collate", "stack"),
    needs=("kept-lists",),
    evidence=("pytorch/pytorch#50272", "junhsss/consistency-models#12"),
)
def unstack(inputs: torch.Tensor, ctx: Context) -> list[torch.Tensor]:
    """The inputs are a list of samples: collating left them unstacked.

    Effect: the first layer raises a TypeError: it must be given a tensor, not a list.
    Why it goes undetected: lists have a length and can be indexed, so that code which only asks for those runs on.
    Example:
        images, labels = zip(*samples)
        return list(images), torch.tensor(labels)
    Remedy: stack in the collate function; assert the type of a batch's parts.
    """
    return list(inputs.unbind()) if inputs.ndim else [inputs]


@failure_mode(
    "batch.wrong-device",
    seam=StepCall("transfer_batch_to_device"),
    severity="major",
    effect="raises",
    cause=("device", "meta", "cuda", "cpu"),
    needs=("transferred-part",),
    evidence=(
        "arXiv:1910.11015 (taxonomy of faults: missing transfer of data to GPU)",
        "Lightning-AI/pytorch-lightning#195",
        "Lightning-AI/pytorch-lightning#1467",
    ),
)
def leave_behind(call: Call, ctx: Context) -> Any:
    """One part of the batch, the first input as a rule, is on another device than the model.

    It is left on the CPU where there is an accelerator. Where there is none, torch's `meta` device stands in for the
    other one. Its tensors hold no values, so that a step which moves the part itself raises there, too.

    Effect: the first operation on this part and a weight raises a RuntimeError that names two devices; on the `meta`
    device convolutions let it pass, and what follows them raises.
    Why it goes undetected: code that is tried out on a CPU has one device only, so that it comes on the first day on a
    GPU; a single number may stay on the CPU anyway.
    Example:
        def transfer_batch_to_device(self, batch, device, dataloader_idx):
            batch.target = batch.target.to(device)          # and batch.features?
            return batch
    Remedy: let Lightning move the batch, and give a batch of your own type a `.to`; test one batch on a GPU.
    """
    batch = call()
    parts = dict(tree.tensors(batch))
    left = [path for path in ctx.profile.movable if path in parts][:1]
    return tree.replace(batch, {path: parts[path].to(_elsewhere(parts[path].device)) for path in left})


def _elsewhere(device: torch.device) -> str:
    return "meta" if device.type == "cpu" else "cpu"
