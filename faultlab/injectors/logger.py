"""logger: failure modes of the loggers."""

from __future__ import annotations

from faultlab.catalogue.injection_points import LoggerCall
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "logger.silent",
    seam=LoggerCall,
    severity="minor",
    effect="silent",
    cause=("logger", "logged", "missing", "no metric"),
    stages="every",
    evidence=("wandb/wandb#1507", "Lightning-AI/pytorch-lightning#5931"),
)
def write_nothing(call: Call, ctx: Context) -> None:
    """The logger receives nothing to write.

    Effect: training is the same, but its curves are empty. No error or warning is raised.
    Why it goes undetected: callbacks and the progress bar do not get their metrics from the logger.
    Example:
        os.environ["WANDB_MODE"] = "disabled"   # left in the shell by a trial run
    Remedy: read one metric back from the logger at the end of the first epoch.
    """


@failure_mode(
    "logger.raises",
    seam=LoggerCall,
    severity="major",
    effect="raises",
    cause=("connection", "logger", "network", "unreachable"),
    when="middle",
    needs=("later-logger-call",),
    stages="every",
    evidence=("Lightning-AI/pytorch-lightning#6641", "Lightning-AI/pytorch-lightning#12833"),
)
def lose_connection(call: Call, ctx: Context) -> None:
    """The logger's connection breaks, and its exception ends the training.

    Effect: the logger's exception ends `fit`, and everything learned since the last checkpoint is lost.
    Why it goes undetected: it does not go undetected, but it happens far into a run that is otherwise healthy.
    Example:
        self.run.log(metrics)                   # to a server that is down for a minute
    Remedy: use the logger's offline mode, or a wrapper that warns instead of raising; save checkpoints on exceptions.
    """
    raise ctx.intended(ConnectionError("the tracking server is unreachable"))
