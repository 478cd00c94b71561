"""logger: where metrics go once they are logged."""

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
    """The logger gets nothing to write.

    Effect: training is as it was, and its curves are empty. Nobody says a word.
    Why it goes undetected: what callbacks monitor and the progress bar shows does not come from the logger.
    Example:
        os.environ["WANDB_MODE"] = "disabled"   # in the shell, from a trial run
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

    Effect: the logger's exception ends `fit`. What was learnt since the last checkpoint is lost.
    Why it goes undetected: it does not; but it happens far into a run that had nothing else wrong with it.
    Example:
        self.run.log(metrics)                   # to a server that is down for a minute
    Remedy: give loggers an offline mode, or a wrapper that warns in place of raising; save checkpoints on exceptions.
    """
    raise ctx.intended(ConnectionError("the tracking server can't be reached"))
