"""batch: failure modes of the batches that the loader yields."""

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
    """Return the outermost parts of a tuple, list or mapping by name, and an empty dict for anything else."""
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
    """The batch contains only the inputs, because the dataset was built without labels.

    Effect: unpacking raises a `ValueError`: not enough values to unpack. With a dict, a `KeyError` is raised.
    Why it goes undetected: it goes undetected only if the step treats labels as optional.
    Example:
        TensorDataset(images)               # instead of TensorDataset(images, labels)
    Remedy: in a test, take one batch from every loader and compare its structure with what the step expects.
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
    needs=("unequal-tensors",),
    evidence=("weiaicunzai/pytorch-cifar100#7",),
)
def swap(batch: Any, ctx: Context) -> Any:
    """Inputs and labels are swapped.

    Effect: the first layer raises a `RuntimeError` about a shape or dtype that mentions neither inputs nor labels. If
    both have the same form, such as token ids and the tokens that follow them, training continues and learns the
    reverse mapping.
    Why it goes undetected: if two tensors have the same shape and dtype, no check of either one can distinguish them.
    Example:
        return label, image                 # in __getitem__; the step unpacks `image, label`
    Remedy: use a dict or a NamedTuple for the batch, so that its parts have names instead of positions.
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
    """The batch has one more part than the step unpacks: the indices of the samples.

    Effect: unpacking raises a `ValueError`: too many values to unpack. An additional key in a dict changes nothing,
    unless the step forwards the whole dict.
    Why it goes undetected: a step that reads `batch[0]` and `batch[1]` never looks at the other parts.
    Example:
        return image, label, index          # in __getitem__, after an update of the data package
    Remedy: test one batch of every loader against the step; pin the version of the package that provides the dataset.
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
    """The batch is a dict where the step expects a tuple, or a tuple where the step expects a dict.

    Effect: unpacking a dict yields its keys, so the first layer raises a `TypeError` because it receives a string.
    Indexing a tuple with a key raises a `TypeError` immediately.
    Why it goes undetected: unpacking a dict with the same number of parts raises no error; the error occurs lines later
    and mentions only strings.
    Example:
        def collate(samples):
            return {"x": torch.stack(...), "y": torch.tensor(...)}      # the step unpacks `x, y = batch`
    Remedy: change the collate function and the step in the same commit, with a test that runs both.
    """
    parts = _parts(batch)
    return tuple(parts.values()) if isinstance(batch, Mapping) else parts or batch


@failure_mode(
    "batch.none",
    seam=Batch,
    severity="minor",
    effect={"lightning": "warns", "torch": "raises"},
    cause=("none", "skip"),
    when="middle",
    evidence=("Lightning-AI/pytorch-lightning#6753", "Lightning-AI/pytorch-lightning#7342"),
)
def no_batch(batch: Any, ctx: Context) -> Any:
    """The collate function returns None instead of a batch.

    Effect: Lightning skips the batch without running the step, and warns once per process that `train_dataloader`
    yielded None.
    Why it goes undetected: the warning appears only once, however many batches are lost, and is easily overlooked.
    Example:
        samples = [sample for sample in samples if sample is not None]
        return default_collate(samples) if samples else None
    Remedy: filter bad samples out of the dataset once, and count them, instead of filtering while collating.
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
    """The inputs are float64, NumPy's default.

    Effect: the first layer raises a `RuntimeError`: input and weight have different types.
    Why it goes undetected: it goes undetected only if the module converts its inputs or uses only operations that
    promote dtypes.
    Example:
        torch.from_numpy(features)          # without .float()
    Remedy: convert the dtype where the dataset is built; assert the dtype of one sample in a test.
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
    """The inputs are integers, because the conversion to float is missing or follows a conversion to integers.

    Effect: the first layer raises a `RuntimeError`: input and weight have different types.
    Why it goes undetected: if the module converts its inputs itself, every fractional part is already lost, and images
    in [0, 1] are black.
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
    """The inputs are float16 although the weights are float32.

    Effect: the first layer raises a `RuntimeError`: input and weight have different types.
    Why it goes undetected: autocast converts both, but inputs above 65,504 have already become infinite by then.
    Example:
        np.save(path, features.astype(np.float16))      # to halve the file size; never converted back
    Remedy: convert where the dataset is read, and leave precision to autocast; with Lightning, to the Trainer's
    `precision` argument.
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
    """The inputs' dimensions are in the wrong order, such as channels last, or features before samples.

    Effect: the first layer raises a `RuntimeError` about channels, or about shapes that cannot be multiplied. A square
    input, such as 32 sequences of 32 tokens, is accepted and mixes samples with positions.
    Why it goes undetected: if both dimensions have the same size, no shape changes.
    Example:
        torch.from_numpy(image)             # height, width, channels
    Remedy: assert the shape of one sample; test with a batch size that differs from every other dimension.
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
    """Each sample's input has an additional dimension of size one.

    Effect: a convolution raises a `RuntimeError` about the number of dimensions. Linear layers accept the input; their
    output then has the additional dimension too, and a mean squared error broadcasts over it with only a warning.
    Why it goes undetected: layers that operate on the last dimension accept any number of other dimensions.
    Example:
        features = table[[row]]             # [1, f] instead of [f]
    Remedy: assert that output and target have the same shape before the loss is computed.
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
    """The inputs are a list of samples, because the collate function did not stack them.

    Effect: the first layer raises a `TypeError`: it expects a tensor, not a list.
    Why it goes undetected: a list has a length and can be indexed, so code that needs nothing more still runs.
    Example:
        images, labels = zip(*samples)
        return list(images), torch.tensor(labels)
    Remedy: stack in the collate function; assert the types of a batch's parts.
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
    """One part of the batch, usually the first input, is on a different device from the model.

    It stays on the CPU if there is an accelerator. Otherwise, torch's `meta` device represents the other device.
    Tensors on it hold no values, so a step that moves the part itself raises there, too.

    Effect: the first operation that combines this part with a weight raises a `RuntimeError` that names two devices. On
    the `meta` device convolutions raise no error, but the operations after them do.
    Why it goes undetected: code that is only tried on a CPU has a single device, so the error first occurs on a GPU; a
    tensor that holds a single number may stay on the CPU anyway.
    Example:
        def transfer_batch_to_device(self, batch, device, dataloader_idx):
            batch.target = batch.target.to(device)          # batch.features is forgotten
            return batch
    Remedy: let Lightning move the batch, and give your own batch type a `.to` method; test one batch on a GPU.
    """
    batch = call()
    parts = dict(tree.tensors(batch))
    left = [path for path in ctx.profile.movable if path in parts][:1]
    return tree.replace(batch, {path: parts[path].to(_elsewhere(parts[path].device)) for path in left})


def _elsewhere(device: torch.device) -> str:
    return "meta" if device.type == "cpu" else "cpu"
