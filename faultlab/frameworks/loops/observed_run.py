"""One observed clean run of a training loop, in processes of its own, one for each rank: it shows the loop's layout."""

from __future__ import annotations

import argparse
import json
import os
import select
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import torch

from faultlab.core.alert import safe_text
from faultlab.core.collectives import read, standstill
from faultlab.core.patching import Patches
from faultlab.errors import TargetError
from faultlab.frameworks.loops.layout import Layout
from faultlab.frameworks.loops.observation import Observation
from faultlab.injection import compilation, mutant_activation
from faultlab.ranks import joining
from faultlab.ranks.gang import Gang
from faultlab.ranks.joining import RankEnds
from faultlab.sandbox import file_calls

_DEADLINE = 600.0
"""Seconds that the observed run may take."""
_LATE = "Timed out waiting"
_COMMAND_LINE = "Give its arguments under `arguments` in the scenario, or after -- in the command."
_TOGETHER = "Look for collectives or validations under `if rank == 0`, and for ranks with fewer batches than others."


@dataclass(frozen=True)
class _Run:
    """The training, its user's folders, its number of ranks, and a folder of its own."""

    train: Callable[[], object]
    folders: Sequence[str]
    ranks: int
    root: str


def observe(train: Callable[[], object], folders: Sequence[str], ranks: int = 1) -> Layout:
    """Run ``train`` in a copy of this process for each rank, and return the layout of the first rank's loop.

    Args:
        train: Trains to its end.
        folders: The user's folders, which nothing is written to.
        ranks: The number of processes that train together.

    Raises:
        TargetError: It trains nothing, raises, exits, or takes longer than ten minutes; or its ranks stay alone.
    """
    run = _Run(train, folders, ranks, tempfile.mkdtemp(prefix="faultlab-observed-"))
    sys.stdout.flush()
    copies = [_begun(run, rank) for rank in range(ranks)]
    try:
        told = _heard(copies)
        if _LATE in told.get("error", "") and (where := standstill(read(_meeting(run), ranks))):
            told = _problem(f"the ranks wait for each other: {where}", _TOGETHER)
    finally:
        for pid, reading in copies:
            os.close(reading)
            _end(pid)
        shutil.rmtree(run.root, ignore_errors=True)
    if "error" in told:
        raise TargetError(tuple(told["where"]), told["error"], told["remedy"])
    return Layout.from_json(told)


def _begun(run: _Run, rank: int) -> tuple[int, int]:
    """Fork the process of a rank; return its id, and where it can be heard."""
    reading, writing = os.pipe()
    pid = os.fork()
    if not pid:
        os.close(reading)
        _in_copy(run, rank, writing)
    os.close(writing)
    return pid, reading


def _in_copy(run: _Run, rank: int, writing: int) -> NoReturn:
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        os.write(writing, json.dumps(_observed(run, rank)).encode())
    finally:
        # Nothing of the parent's is to be flushed or finalized here.
        os._exit(0)


def _observed(run: _Run, rank: int) -> dict[str, Any]:
    torch.set_num_threads(1)
    observation = Observation()
    mutant_activation.rest()
    refused: list[str] = []
    try:
        with Patches() as patches:
            patches.wrap(argparse.ArgumentParser, "error", lambda refuse: _noting(refuse, refused))
            gang = Gang.of(rank, run.ranks, lambda: observation.step, joins=True)
            if gang is not None:
                gang.meet(_meeting(run), _DEADLINE)
            else:
                joining.refuse(patches)
            redirected = file_calls.redirected(os.path.join(run.root, "files"), [os.getcwd(), *run.folders])
            with compilation.lifted(), redirected:
                observation.attach(patches)
                _trained(run.train)
        if rank:
            return {}  # it may have no loader of its own for validation
        layout = observation.layout().to_json()
        if gang is not None and not gang.joined:
            raise TargetError(("ranks",), "the training makes no process group, so each rank would train alone",
                              "Let it call torch.distributed.init_process_group, or remove `ranks`.")  # fmt: skip
        return layout
    except TargetError as error:
        return {"where": list(error.where), "error": error.message, "remedy": error.remedy}
    except BaseException as error:
        of_rank = f" on rank {rank}" if run.ranks > 1 else ""
        if isinstance(error, SystemExit) and refused:
            # Its own code is in SystemExit, and the reason on standard error only.
            message = f"the script refuses its command line{of_rank}: {safe_text(refused[-1])}"
            return {"where": ["train"], "error": message, "remedy": _COMMAND_LINE}
        message = f"the clean run ends{of_rank} with {type(error).__name__}: {safe_text(error)}"
        remedy = "It has to train to its end before it can be broken."
        return {"where": ["train"], "error": message, "remedy": remedy}


def _noting(refuse: Callable[..., Any], refused: list[str]) -> Callable[..., Any]:
    def noting(parser: argparse.ArgumentParser, message: str) -> Any:
        refused.append(message)
        return refuse(parser, message)

    return noting


def _meeting(run: _Run) -> str:
    return os.path.join(run.root, "meeting")


def _trained(train: Callable[[], object]) -> None:
    try:
        train()
    except RankEnds:
        return


def _heard(copies: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Return the result of the first rank, or the first error of any rank."""
    texts = {reading: b"" for _, reading in copies}
    first, deadline = copies[0][1], time.monotonic() + _DEADLINE
    answer: dict[str, Any] = {}
    waiting = set(texts)
    while waiting and (left := deadline - time.monotonic()) > 0:
        for reading in select.select(waiting, [], [], left)[0]:
            if part := os.read(reading, 1 << 16):
                texts[reading] += part
                continue
            waiting.remove(reading)
            if not texts[reading]:
                return _problem("the process of the clean run died", "Run it by itself and see how it ends.")
            told: dict[str, Any] = json.loads(texts[reading])
            if "error" in told:
                return told
            answer = told if reading == first else answer
    if waiting:
        return _problem(f"the clean run takes more than {_DEADLINE:.0f} s", "Give it less data or fewer epochs.")
    return answer


def _problem(error: str, remedy: str) -> dict[str, Any]:
    return {"where": ["train"], "error": error, "remedy": remedy}


def _end(pid: int) -> None:
    """End a process that may have ended."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
