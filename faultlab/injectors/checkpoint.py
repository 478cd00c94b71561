"""checkpoint: what is saved of a training, and what comes back of it."""

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
    """No checkpoint is written, and whoever asked for it is told that it was.

    Effect: training ends well. `ModelCheckpoint` believes that it saved and gives the path of its best checkpoint;
    whoever loads it gets a FileNotFoundError.
    Why it goes undetected: nothing is loaded before training is over, and then it is too late.
    Example:
        ModelCheckpoint(every_n_train_steps=1000)       # and an epoch has 800; in Lightning 1.5 nothing was saved
    Remedy: check after the first epoch that the file is there; load it in a test.
    """


@failure_mode(
    "checkpoint.truncated",
    seam=Checkpoint("file"),
    severity="critical",
    effect="raises",
    cause=("checkpoint", "truncat", "corrupt", "incomplete", "archive", "zip", "eof"),
    stages="every",
    doses=(Dose("fraction", 0.5, 0.0, 0.999, "the share of the file that is left", harmless=0.999),),
    evidence=("sml2h3/dddd_trainer#36", "mseitzer/pytorch-fid#87"),
    judged_by="reload",
)
def cut_off(content: bytes, ctx: Context) -> bytes:
    """Every checkpoint is cut off: its end is missing.

    Effect: training ends well; loading raises, since the directory of the archive is at its end.
    Why it goes undetected: the file is there, of a plausible size, and is not opened before it is needed.
    Example:
        rsync --inplace run/ archive:/              # interrupted, or the disk was full, and nobody read the status
    Remedy: load each checkpoint once where it will lie; compare sizes or checksums after copying; keep several.
    """
    return content[: int(len(content) * ctx.dose.fraction)]


@failure_mode(
    "checkpoint.scrambled",
    seam=Checkpoint("file"),
    severity="critical",
    effect="raises",
    cause=("checkpoint", "corrupt", "archive", "zip", "checksum", "crc"),
    stages="every",
    doses=(Dose("fraction", 0.01, 1e-6, 1.0, "the share of its bytes that are others, at least one"),),
    evidence=("pytorch/pytorch#12042", "Lightning-AI/pytorch-lightning#21431"),
    judged_by="reload",
)
def scramble(content: bytes, ctx: Context) -> bytes:
    """Some bytes of every checkpoint file are not those that were written.

    Effect: training ends well; loading raises where the archive's directory or the description of the tensors is hit,
    as it is sooner or later. What only hits the weights is loaded without a word: the archive holds checksums of its
    parts, and torch does not compare them.
    Why it goes undetected: the file is there and has the right size, and is not opened before it is needed.
    Example: a disk or network share that fails; a file that was transferred as text.
    Remedy: compare checksums of your own, or test the archive with `python -m zipfile -t last.ckpt`; keep several.
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
    needs=("optimizer",),
    evidence=("Lightning-AI/pytorch-lightning#20230", "Megvii-BaseDetection/BEVDepth#60"),
    judged_by="reload",
)
def leave_out_optimizer(checkpoint: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """The checkpoints hold weights, and no state of the optimizers.

    Effect: the best checkpoint evaluates well. Resuming raises a KeyError: trying to restore optimizer state but
    checkpoint contains only the model.
    Why it goes undetected: it does not, but only once a training has to be resumed.
    Example:
        ModelCheckpoint(save_weights_only=True)     # to save disk space
    Remedy: resume from a checkpoint once, in a test; `save_weights_only` only for what will never be trained on.
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
    """The state of the optimizers is in the checkpoints, and empty.

    Effect: the best checkpoint evaluates well. A resumed training starts with no momentum, and Adam without its
    averages: its first steps are of full size in every direction. Nobody says a word.
    Why it goes undetected: weights, epoch and learning rate come back right, and a loss is bumpy after a resume anyway.
    Example:
        checkpoint["optimizer_states"] = [optimizer.state_dict()]       # in a hook, of an optimizer made just now
    Remedy: in a test, train two epochs at once and in two halves with a resume between them, and compare the weights.
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
    """No key of the checkpoint fits the module's, and loading is not strict.

    Effect: nothing is loaded. The module that is evaluated or trained on has random weights, and nobody says a word:
    the missing and unexpected keys are only returned.
    Why it goes undetected: `strict=False` was put there for one known key, or for the head that is to be new.
    Example:
        self.load_state_dict(checkpoint["state_dict"], strict=False)        # its keys begin with "model."
    Remedy: read what `load_state_dict` returns, and assert that the keys which are missing are those you expect.
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
    """`ModelCheckpoint` takes the worst checkpoint for the best: its `mode` is the wrong one.

    Effect: of several checkpoints the worst is kept, which is mostly the first, and evaluated as the best. Nobody says
    a word.
    Why it goes undetected: `mode` is "min" unless said otherwise, and with a loss it is right; what is evaluated is
    never compared with what was logged.
    Example:
        ModelCheckpoint(monitor="val_accuracy")     # and mode="max"?
    Remedy: compare `best_model_score` with the scores that were logged; say `mode` always.
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
    """`ModelCheckpoint` monitors a metric that nobody logs.

    Effect: Lightning raises a MisconfigurationException when the first checkpoint is due after a validation: could not
    find the monitored key. Where there was no validation it only warns, and saves nothing.
    Why it goes undetected: it does not, but it comes at the end of the first epoch; `fast_dev_run` saves no checkpoint.
    Example:
        ModelCheckpoint(monitor="val/loss")         # logged as val_loss
    Remedy: train two short epochs with the real callbacks in a test.
    """
    for callback in _keepers(arguments):
        callback.monitor += "_unlogged"
    return arguments


def _keepers(arguments: dict[str, Any]) -> Iterator[Any]:
    """The callbacks that keep the best checkpoints."""
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

    Effect: the OSError leaves `fit` as it is, and ends the training at the first checkpoint that has no room.
    Why it goes undetected: it does not, unless whoever started the run looks at it days later.
    Example:
        ModelCheckpoint(save_top_k=-1)              # a checkpoint an epoch, and none is ever removed
    Remedy: check the free space before training; keep few checkpoints; write them to a disk that nothing else fills.
    """
    with resource_limits.remembered():
        resource_limits.fill_disk()
        try:
            return call()
        except OSError as error:
            # The limit that stands for the full disk has an error number of its own.
            full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(ctx.memory["path"]))
            raise ctx.intended(full) from error


@failure_mode(
    "checkpoint.bit-flip",
    seam=Checkpoint("state"),
    severity="critical",
    effect="silent",
    cause=("bit", "large", "huge", "finite", "nan", "corrupt", "checksum"),
    stages="every",
    doses=(
        Dose("bit", 30, 0, 63, "which bit, counted from the least; modulo the number that the weight has"),
        Dose("count", 1, 1, 1000000, "in how many weights"),
    ),
    evidence=("doi:10.1109/Cluster48925.2021.00045 (Rojas et al.: checkpoint alteration)", "pytorchfi/pytorchfi#89"),
    judged_by="reload",
)
def flip_bits(checkpoint: dict[str, Any], ctx: Context) -> dict[str, Any]:
    """A bit of a saved weight flips before it is written.

    Effect: with the exponent's highest bit, the default, a weight of ordinary size comes back as about 1e38: the
    metrics of what is loaded are enormous, infinite or NaN. A bit of the mantissa hardly shows. The file is valid, its
    checksums fit, and nobody says a word.
    Why it goes undetected: the weights in memory are right, and with them everything that training shows.
    Example: memory that fails while the checkpoint is collected; a copy to another precision and back.
    Remedy: evaluate what was loaded and compare with what was logged; check that loaded weights are finite and small.
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
    """A training that was to be resumed starts from scratch.

    Effect: epoch, weights and optimizers begin anew, and what was trained is lost, or overwritten. Nobody says a word.
    Why it goes undetected: the run looks as the first one did, and nobody watches the same curve twice. Lightning only
    warns where `ckpt_path="last"` finds nothing.
    Example:
        trainer.fit(model)                          # and ckpt_path=args.resume?
    Remedy: assert in `on_train_start` that `global_step` is not 0 when a checkpoint was given.
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
    """Every checkpoint holds the weights of the first one.

    Effect: what is evaluated and resumed is a model of the first epoch, with the optimizers and the epoch of the last.
    Nobody says a word.
    Why it goes undetected: there is a new file each time, of the right size, with the right epoch and score in its
    name.
    Example:
        self.saved = self.saved or copy.deepcopy(self.model.state_dict())   # cached, and never dropped
        checkpoint["state_dict"] = self.saved                               # in on_save_checkpoint
    Remedy: evaluate what was loaded and compare with what was logged; compare two checkpoints' weights in a test.
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
    """The process is killed half-way through writing its last checkpoint; those before it are whole.

    The process's own end is not part of this failure mode (see `process.killed`), what it leaves is: whoever goes on
    finds half a file under the last checkpoint's name.

    Effect: loading that checkpoint raises. Lightning 2.6 writes to the system's temporary folder first. Where that is
    on the same file system, the checkpoint is renamed into place, and a kill leaves no half of it under its name, but
    one in the temporary folder, for ever. Where it is not, as with a `/tmp` in memory or checkpoints on a network
    share, the checkpoint is copied into place, and a kill leaves the half.
    Why it goes undetected: the file is there, and is not opened before it is needed.
    Example:
        scancel --signal=KILL $SLURM_JOB_ID         # or the job's time limit, while it saves
    Remedy: write under another name in the same folder and rename; keep the checkpoint before the last.
    """
    path, whole = ctx.memory.get("cut", ("", b""))
    if path != str(ctx.memory["path"]) and os.path.isfile(path):
        Path(path).write_bytes(whole)
    ctx.memory["cut"] = (str(ctx.memory["path"]), content)
    return content[: len(content) // 2]
