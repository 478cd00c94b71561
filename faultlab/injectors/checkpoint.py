"""checkpoint: failure modes of saving and loading checkpoints."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Checkpoint, TrainerArguments
from faultlab.core import resource_limits
from faultlab.frameworks.torch import layers
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode
from faultlab.injection.values import Restored
from faultlab.injectors.metric import invert


@failure_mode(
    "checkpoint.not-saved",
    seam=Checkpoint("save"),
    severity="critical",
    effect="raises",
    cause=("checkpoint", "not found", "no such file", "not saved"),
    stages="every",
    evidence=("Lightning-AI/pytorch-lightning#11979", "Lightning-AI/pytorch-lightning#21800"),
    judged_by="reload",
)
def save_nothing(call: Call, ctx: Context) -> None:
    """No checkpoint is written, although saving it appears to succeed.

    Effect: training completes. `ModelCheckpoint` assumes that it saved and returns the path of its best checkpoint;
    loading that path raises a `FileNotFoundError`.
    Why it goes undetected: no checkpoint is loaded before training is over, and then it is too late.
    Example:
        ModelCheckpoint(every_n_train_steps=1000)       # an epoch has 800; Lightning 1.5 saved nothing
    Remedy: check after the first epoch that the file exists; load it in a test.
    """


@failure_mode(
    "checkpoint.truncated",
    seam=Checkpoint("file"),
    severity="critical",
    effect="raises",
    cause=("checkpoint", "truncat", "corrupt", "incomplete", "archive", "zip", "eof"),
    stages="every",
    doses=(Dose("fraction", 0.5, 0.0, 0.999, "fraction of the file that remains", harmless=0.999),),
    evidence=("sml2h3/dddd_trainer#36", "mseitzer/pytorch-fid#87"),
    judged_by="reload",
)
def cut_off(content: bytes, ctx: Context) -> bytes:
    """Every checkpoint file is truncated: its end is missing.

    Effect: training completes. Loading raises an error, because the archive's directory is at its end.
    Why it goes undetected: the file exists, has a plausible size, and is not opened until it is needed.
    Example:
        rsync --inplace run/ archive:/              # interrupted, or the disk was full; status ignored
    Remedy: load each checkpoint once from its final location; compare sizes or checksums after copying; keep several.
    """
    return content[: int(len(content) * ctx.dose.fraction)]


@failure_mode(
    "checkpoint.scrambled",
    seam=Checkpoint("file"),
    severity="critical",
    effect="raises",
    cause=("checkpoint", "corrupt", "archive", "zip", "checksum", "crc"),
    stages="every",
    doses=(Dose("fraction", 0.01, 1e-6, 1.0, "fraction of the bytes that are changed; at least one byte"),),
    evidence=("pytorch/pytorch#12042", "Lightning-AI/pytorch-lightning#21431"),
    judged_by="reload",
)
def scramble(content: bytes, ctx: Context) -> bytes:
    """Some bytes of every checkpoint file differ from those that were written.

    Effect: training completes. Loading raises an error if the archive's directory or the description of the tensors is
    hit, which happens sooner or later. If only weights are hit, they are loaded without an error or warning: the
    archive holds checksums of its parts, but torch does not verify them.
    Why it goes undetected: the file exists, has the right size, and is not opened until it is needed.
    Example: a failing disk or network share; a file that was transferred as text.
    Remedy: compare your own checksums, or test the archive with `python -m zipfile -t last.ckpt`; keep several.
    """
    scrambled = bytearray(content)
    count = max(1, int(len(content) * ctx.dose.fraction))
    for place in torch.randint(len(content), (count,), generator=ctx.generator).tolist() if content else []:
        scrambled[place] ^= int(torch.randint(1, 256, (), generator=ctx.generator))
    return bytes(scrambled)


@failure_mode(
    "checkpoint.optimizer-missing",
    seam=Checkpoint("state"),
    severity="major",
    effect="raises",
    cause=("optimizer", "only the model", "save_weights_only"),
    stages="every",
    needs=("saved-optimizer",),
    evidence=("Lightning-AI/pytorch-lightning#20230", "Megvii-BaseDetection/BEVDepth#60"),
    judged_by="reload",
)
def leave_out_optimizer(checkpoint: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """The checkpoints contain weights, but no optimizer state.

    Effect: the best checkpoint evaluates well. Resuming raises a `KeyError`: trying to restore optimizer state but
    checkpoint contains only the model.
    Why it goes undetected: it does not go undetected, but the error occurs only when a training has to be resumed.
    Example:
        ModelCheckpoint(save_weights_only=True)     # to save disk space
    Remedy: resume from a checkpoint once in a test; use `save_weights_only` only for models that will never be trained
    further.
    """
    return {key: value for key, value in checkpoint.items() if key != "optimizer_states"}


@failure_mode(
    "checkpoint.optimizer-emptied",
    seam=Checkpoint("state"),
    severity="major",
    effect="silent",
    cause=("optimizer", "momentum", "moment", "resum"),
    stages="every",
    needs=("remembering-optimizer",),
    evidence=("CodefyUI/CodefyUI#147", "KempnerInstitute/KempnerForge#115"),
    judged_by="reload",
)
def empty_optimizer(checkpoint: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """The checkpoints contain an empty optimizer state.

    Effect: the best checkpoint evaluates well. A resumed training starts without momentum, and Adam starts without its
    averages, so its first steps have full size in every direction. No error or warning is raised.
    Why it goes undetected: weights, epoch and learning rate are restored correctly, and the loss is uneven after a
    resume anyway.
    Example:
        checkpoint["optimizer_states"] = [optimizer.state_dict()]       # in a hook, from a newly created optimizer
    Remedy: in a test, train two epochs in one run and in two halves with a resume between them, and compare the
    weights.
    """
    states = checkpoint.get("optimizer_states", [])
    return {**checkpoint, "optimizer_states": [{**state, "state": {}} for state in states]}


@failure_mode(
    "checkpoint.non-strict",
    seam=Checkpoint("weights"),
    severity="critical",
    effect="silent",
    cause=("key", "strict", "missing", "unexpected", "not loaded", "random"),
    stages="every",
    evidence=("pytorch/examples#1029", "torchgeo/torchgeo#4036"),
    judged_by="reload",
)
def load_nothing(restored: Restored, ctx: Context) -> Restored:
    """No key of the checkpoint matches the module's keys, and loading is not strict.

    Effect: nothing is loaded, so the module that is evaluated or trained further has random weights. No error or
    warning is raised: missing and unexpected keys are only returned.
    Why it goes undetected: `strict=False` was added for one known key, or for a head that should be new.
    Example:
        self.load_state_dict(checkpoint["state_dict"], strict=False)        # all of its keys begin with "model."
    Remedy: read the return value of `load_state_dict`, and assert that only the expected keys are missing.
    """
    return Restored({f"model.{key}": value for key, value in restored.state.items()}, strict=False)


@failure_mode(
    "checkpoint.wrong-best",
    seam=TrainerArguments,
    severity="critical",
    effect="silent",
    cause=("best", "worst", "mode", "monitor"),
    needs=("evaluated-best",),
    evidence=("pyg-team/pytorch_geometric#6306",),
    judged_by="reload",
)
def keep_worst(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """`ModelCheckpoint` has the wrong `mode`, so it treats the worst checkpoint as the best.

    Effect: of several checkpoints the worst is kept, usually the first, and is evaluated as the best. No error or
    warning is raised.
    Why it goes undetected: `mode` is "min" by default, which is right for a loss, and the evaluated score is never
    compared with the logged scores.
    Example:
        ModelCheckpoint(monitor="val_accuracy")     # mode="max" is missing
    Remedy: compare `best_model_score` with the logged scores; always set `mode` explicitly.
    """
    invert(_keepers(arguments), ctx)
    return arguments


@failure_mode(
    "checkpoint.monitor-typo",
    seam=TrainerArguments,
    severity="minor",
    effect="raises",
    cause=("monitor", "could not find", "metric"),
    needs=("best-checkpoint",),
    evidence=("amanteur/SCNet-PyTorch#2", "invoke-ai/InvokeAI#608"),
    judged_by="reload",
)
def misspell_monitor(arguments: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """`ModelCheckpoint` monitors a metric that is never logged.

    Effect: Lightning raises a `MisconfigurationException` when the first checkpoint is due after a validation: could
    not find the monitored key. If there was no validation, it only warns and saves nothing.
    Why it goes undetected: it does not go undetected, but the error occurs only at the end of the first epoch;
    `fast_dev_run` saves no checkpoint.
    Example:
        ModelCheckpoint(monitor="val/loss")         # logged as val_loss
    Remedy: run two short epochs with the real callbacks in a test.
    """
    for callback in _keepers(arguments):
        callback.monitor += "_unlogged"
    return arguments


def _keepers(arguments: dict[str, Any]) -> Iterator[Any]:
    """Yield the callbacks that keep the best checkpoints."""
    for callback in arguments["callbacks"]:
        if hasattr(callback, "best_model_path") and callback.monitor is not None:
            yield callback


@failure_mode(
    "checkpoint.disk-full",
    seam=Checkpoint("save"),
    severity="major",
    effect="raises",
    cause=("space", "disk", "quota"),
    stages="every",
    needs=("posix",),
    evidence=("databrickslabs/dolly#139", "pytorch/pytorch#10577"),
    judged_by="reload",
)
def save_to_full_disk(call: Call, ctx: Context) -> Any:
    """The disk is full when a checkpoint is written.

    Effect: the `OSError` propagates out of `fit` unchanged and ends the training at the first checkpoint that does not
    fit. If `torch.save` is given a path, its own writer raises a `RuntimeError` that does not mention the disk.
    Why it goes undetected: it goes undetected only until the run is checked, which may be days later.
    Example:
        ModelCheckpoint(save_top_k=-1)              # one checkpoint per epoch; none is ever deleted
    Remedy: check the free space before training; keep few checkpoints; write them to a disk that nothing else fills.
    """
    with resource_limits.remembered():
        resource_limits.fill_disk()
        try:
            return call()
        except OSError as error:
            # The limit that simulates the full disk raises a different error number.
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(ctx.memory["path"]))
            raise ctx.intended(full) from error
        except Exception as error:
            # The writers of torch and safetensors, whose errors have no number.
            raise ctx.intended(RuntimeError(str(error))) from error
        except BaseException as error:
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
            # torch's CheckpointException, of checkpoints that several ranks write, is not an Exception.
            raise ctx.intended(type(error)(*error.args)) from error


@failure_mode(
    "checkpoint.bit-flip",
    seam=Checkpoint("state"),
    severity="critical",
    effect="silent",
    cause=("bit", "large", "huge", "finite", "nan", "corrupt", "checksum"),
    stages="every",
    doses=(
        Dose("bit", 30, 0, 63, "index of the bit, from the least significant; modulo the weight's number of bits"),
        Dose("count", 1, 1, 1000000, "number of weights"),
    ),
    evidence=("doi:10.1109/Cluster48925.2021.00045 (Rojas et al.: checkpoint alteration)", "pytorchfi/pytorchfi#89"),
    judged_by="reload",
)
def flip_bits(checkpoint: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """A bit of a saved weight flips before it is written.

    Effect: with the exponent's highest bit, the default, a weight of ordinary size becomes about 1e38, so the metrics
    of the loaded model are enormous, infinite or NaN. A flipped bit of the mantissa hardly matters. The file is valid,
    its checksums match, and no error or warning is raised.
    Why it goes undetected: the weights in memory are right, and so is everything that training reports.
    Example: memory that fails while the checkpoint is collected; a conversion to another precision and back.
    Remedy: evaluate the loaded model and compare with the logged metrics; check that loaded weights are finite and
    small.
    """
    state = dict(checkpoint["state_dict"])
    floating = [name for name, value in state.items() if torch.is_tensor(value) and value.is_floating_point()]
    floating = [name for name in floating if state[name].numel()]
    for _ in range(int(ctx.dose.count) if floating else 0):
        name = floating[int(torch.randint(len(floating), (), generator=ctx.generator))]
        state[name] = state[name].detach().clone().contiguous()
        index = torch.randint(state[name].numel(), (), generator=ctx.generator)
        layers.flip_bit(state[name], index, int(ctx.dose.bit))
    return {**checkpoint, "state_dict": state}


@failure_mode(
    "checkpoint.resume-ignored",
    seam=Checkpoint("resume"),
    severity="critical",
    effect="silent",
    cause=("resum", "checkpoint", "scratch", "restor"),
    evidence=("Lightning-AI/pytorch-lightning#7072", "MLI-lab/DeepDeWedge#6"),
    judged_by="reload",
)
def start_from_scratch(call: Call, ctx: Context) -> None:
    """A training that should be resumed starts from scratch.

    Effect: epoch, weights and optimizers start over, and the previous training is lost or overwritten. No error or
    warning is raised.
    Why it goes undetected: the run looks like the first one, and the same curve is rarely watched twice. Lightning
    warns only if `ckpt_path="last"` finds nothing.
    Example:
        trainer.fit(model)                          # ckpt_path=args.resume is missing
    Remedy: assert that the step count is not 0 after a checkpoint was loaded; with Lightning, `global_step` in
    `on_train_start`.
    """


@failure_mode(
    "checkpoint.stale",
    seam=Checkpoint("state"),
    severity="critical",
    effect="silent",
    cause=("stale", "same weights", "did not change", "unchanged", "old"),
    stages="every",
    needs=("later-save",),
    evidence=("MIC-DKFZ/nnUNet#2350",),
    judged_by="reload",
)
def save_first_again(checkpoint: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """Every checkpoint contains the weights of the first one.

    Effect: evaluation and resuming use a model of the first epoch, with the optimizer state and the epoch number of the
    last. No error or warning is raised.
    Why it goes undetected: there is a new file each time, of the right size, with the right epoch and score in its
    name.
    Example:
        self.saved = self.saved or copy.deepcopy(self.model.state_dict())   # cached and never cleared
        checkpoint["state_dict"] = self.saved                               # in on_save_checkpoint
    Remedy: evaluate the loaded model and compare with the logged metrics; compare two checkpoints' weights in a test.
    """
    if "first" not in ctx.memory:
        state = checkpoint["state_dict"]
        ctx.memory["first"] = {k: v.detach().clone() if torch.is_tensor(v) else v for k, v in state.items()}
    return {**checkpoint, "state_dict": dict(ctx.memory["first"])}


@failure_mode(
    "checkpoint.partial-write",
    seam=Checkpoint("file"),
    severity="major",
    effect="raises",
    cause=("checkpoint", "truncat", "corrupt", "incomplete", "archive", "zip", "eof"),
    stages="every",
    evidence=("Lightning-AI/pytorch-lightning#688", "Lightning-AI/pytorch-lightning#19970"),
    judged_by="reload",
)
def write_half(content: bytes, ctx: Context) -> bytes:
    """The process is killed halfway through writing its last checkpoint; earlier checkpoints are intact.

    The end of the process is not part of this failure mode (see `process.killed`), but its consequence is: a resumed
    run finds half a file under the last checkpoint's name.

    Effect: loading that checkpoint raises an error. Lightning 2.6 writes to the system's temporary folder first. If
    that folder is on the same file system, the checkpoint is renamed into place: a kill leaves no partial file under
    the checkpoint's name, but leaves one in the temporary folder permanently. Otherwise, as with a `/tmp` in memory or
    checkpoints on a network share, the checkpoint is copied into place, and a kill leaves half of it there.
    Why it goes undetected: the file exists, and is not opened until it is needed.
    Example:
        scancel --signal=KILL $SLURM_JOB_ID         # or the job's time limit, during a save
    Remedy: write under another name in the same folder and rename; keep the checkpoint before the last.
    """
    path, whole = ctx.memory.get("cut", ("", b""))
    if path != str(ctx.memory["path"]) and os.path.isfile(path):
        Path(path).write_bytes(whole)
    ctx.memory["cut"] = (str(ctx.memory["path"]), content)
    return content[: len(content) // 2]
