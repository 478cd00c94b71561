"""distributed: failure modes of the launch, of timeouts and of a rank's pace."""

from __future__ import annotations

import os
import signal
import socket
import time
from datetime import timedelta
from typing import Any

from faultlab.catalogue.failure_mode import Dose
from faultlab.catalogue.injection_points import Collective, Launch, Process
from faultlab.injection.armed_fault import Call, Context
from faultlab.injection.registry import failure_mode


@failure_mode(
    "distributed.port-in-use",
    seam=Launch,
    severity="minor",
    effect="raises",
    cause=("address already in use", "port", "eaddrinuse", "closed by peer", "bind"),
    on_rank=0,
    needs=("several-ranks",),
    evidence=("Lightning-AI/pytorch-lightning#401", "pytorch/pytorch#126510"),
)
def occupy_port(variables: dict[str, str], ctx: Context) -> dict[str, str]:
    """The port where the ranks meet is in use.

    Effect: rank 0 raises a `DistNetworkError`, because it can't listen there; the others wait for it, or connect to the
    program that has the port.
    Why it goes undetected: it does not go undetected, but it appears only if two trainings share a machine.
    Example:
        export MASTER_PORT=29500                # in the script that starts both trainings
    Remedy: let the launcher choose a free port, such as `torchrun --standalone`.
    """
    occupied = ctx.memory["occupied"] = socket.socket()
    occupied.bind(("127.0.0.1", 0))
    occupied.listen()
    return {**variables, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(occupied.getsockname()[1])}


@failure_mode(
    "distributed.node-rank-wrong",
    seam=Launch,
    severity="major",
    effect="raises",
    cause=("rank", "invalid rank", "node", "closed by peer"),
    on_rank=1,
    needs=("several-ranks",),
    evidence=("Lightning-AI/pytorch-lightning#5651", "CompVis/taming-transformers#12"),
)
def change_node_rank(variables: dict[str, str], ctx: Context) -> dict[str, str]:
    """NODE_RANK is that of another machine, so a process computes a rank that does not exist.

    Effect: without faultlab, all processes wait in `init_process_group` for a rank that never comes. Ranks that
    have met already, as those of faultlab have, fail later: the distributed sampler raises a `ValueError` for the
    invalid rank.
    Why it goes undetected: schedulers set the variable for their own purposes, and the first message is about waiting.
    Example:
        export NODE_RANK=1                      # left over from a job on two machines
    Remedy: print rank, local rank, node rank and world size of each process before the group is initialized.
    """
    return {**variables, "NODE_RANK": "1"}


@failure_mode(
    "distributed.sigterm-on-one-rank",
    seam=Process,
    severity="major",
    effect="raises",
    cause=("sigterm", "terminat", "signal", "rank", "closed by peer", "timed out", "hang"),
    when="middle",
    on_rank=1,
    hangs=True,
    needs=("several-ranks", "posix"),
    evidence=("Lightning-AI/pytorch-lightning#20806", "Lightning-AI/pytorch-lightning#20825"),
)
def terminate_one_rank(_: None, ctx: Context) -> None:
    """Only one rank receives SIGTERM.

    Effect: Lightning 2.6.6 broadcasts in the signal's handler, which the other ranks do not expect: the order of the
    collectives of this rank is shifted by one from then on.
    Why it goes undetected: schedulers send the signal to all ranks in tests, and to one machine in an outage.
    Example: a preemption notice for one of several machines.
    Remedy: only set a flag in the handler, and let the ranks agree on it between two steps.
    """
    os.kill(os.getpid(), signal.SIGTERM)


@failure_mode(
    "distributed.rank-slow",
    seam=Process,
    severity="minor",
    effect="silent",
    cause=("slow", "straggler", "throughput", "step time", "seconds"),
    on_rank=1,
    needs=("several-ranks",),
    doses=(Dose("seconds", 0.05, 0.0, 60.0, "time that each step of the rank takes longer, in seconds"),),
    evidence=("traceopt-ai/traceml#252",),
)
def slow_down(_: None, ctx: Context) -> None:
    """One rank is slower than the others in every step.

    Effect: all ranks train at its pace, because each collective waits for it. No error or warning is raised, and the
    result is that of the healthy training.
    Why it goes undetected: the step takes equally long on every rank, and waiting devices look busy.
    Example: a device that is too hot, a disk of one machine, a rank that also logs images.
    Remedy: measure the time between two collectives on each rank, and compare it over the ranks.
    """
    time.sleep(ctx.dose.seconds)


@failure_mode(
    "distributed.timeout-too-short",
    seam=Collective("gradients"),
    severity="major",
    effect="raises",
    cause=("hang", "stuck", "timeout", "timed out", "deadline", "rank"),
    when="middle",
    hangs=True,
    needs=("several-ranks",),
    doses=(Dose("seconds", 0.1, 0.001, 1e4, "timeout of the collective in seconds", harmless=1e4),),
    evidence=("Lightning-AI/pytorch-lightning#19266", "IGNF/myria3d#123"),
)
def wait_too_little(call: Call, ctx: Context) -> Any:
    """The timeout of collectives is shorter than a pause that one rank needs.

    Effect: the waiting ranks raise a `RuntimeError`, and the one that was only slow loses its connections.
    Why it goes undetected: the pause is rare: a download, a cache that is built, an evaluation on one rank.
    Example:
        DDPStrategy(timeout=timedelta(seconds=60))
    Remedy: set the timeout above the longest pause that is legitimate, or put such work before the training.
    """
    return _paused(call, ctx)


@failure_mode(
    "distributed.timeout-swallowed",
    seam=Collective(called="broadcast"),
    severity="major",
    effect="raises",
    cause=("hang", "stuck", "timeout", "timed out", "deadline", "rank", "closed"),
    when="middle",
    hangs=True,
    needs=("several-ranks",),
    doses=(Dose("seconds", 0.1, 0.001, 1e4, "timeout of the collective in seconds", harmless=1e4),),
    evidence=("pytorch/pytorch#196187", "pytorch/pytorch#97191"),
)
def time_out_unheard(call: Call, ctx: Context) -> Any:
    """The timeout of a collective is caught by code that expects another error, and the training continues.

    Effect: Lightning 2.6.6 ignores every exception of the first collective of a batch, the broadcast of its SIGTERM
    flag. With gloo, the timeout closes the connections, so that the next collective raises a `RuntimeError` that does
    not mention the timeout.
    Why it goes undetected: the error that is read names another collective than the one that was waited for.
    Example:
        try:
            dist.broadcast(flag, src=0)
        except Exception:                       # meant for a process group that is not initialized
            flag.zero_()
    Remedy: catch only errors that are expected, and end the process after the timeout of a collective.
    """
    if "struck" in ctx.memory:
        return call()
    ctx.memory["struck"] = True
    return _paused(call, ctx)


def _paused(call: Call, ctx: Context) -> Any:
    """Let rank 0 come late to a collective, and the other ranks wait for it no longer than the dose allows."""
    *arguments, options = ctx.memory["collective"].arguments
    if ctx.rank == 0:
        time.sleep(4 * ctx.dose.seconds)
    else:
        options.timeout = timedelta(seconds=ctx.dose.seconds)
    return call(*arguments, options)
