"""Checks of the variables that launchers of several ranks set: half set, contradictory, or left over in a shell."""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Iterator, Mapping

from faultlab.doctor.finding import Checks, Finding, Seen, attention, fine, wrong

LAUNCH = Checks()
check = LAUNCH.check

_NUMBERS = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "NODE_RANK", "MASTER_PORT")
_WITHOUT_MEETING = ("MASTER_ADDR", "MASTER_PORT")
_HERE = ("localhost", "127.0.0.1", "::1")
_UNSET = "Unset it in the shell, or start the training by `torchrun`, which sets all of them."


@check("launch variables", "Lightning-AI/pytorch-lightning#5651")
def variables(seen: Seen) -> Iterator[Finding]:
    """Find variables of launchers that are half set, or contradict each other."""
    given: Mapping[str, str] = seen["environment"]
    present = {name: given[name] for name in (*_NUMBERS, "MASTER_ADDR") if given.get(name)}
    if not present:
        yield fine("no launcher has set a rank: trainings start their ranks themselves")
        return
    shown = ", ".join(f"{name}={value}" for name, value in present.items())
    if bad := [name for name in _NUMBERS if name in present and not present[name].isdecimal()]:
        yield wrong(f"{bad[0]}={present[bad[0]]} is not a number", shown, _UNSET)
        return
    numbers = {name: int(value) for name, value in present.items() if name != "MASTER_ADDR"}
    found = [*_halves(present), *_contradictions(numbers)]
    yield from (wrong(what, shown, remedy) for what, remedy in found)
    if not found and "RANK" in present:
        where = "a shell that a launcher has started, or whose variables are left over"
        remedy = "Unset them to start a training by itself; faultlab starts ranks itself, outside of any launcher."
        yield attention(f"this is rank {present['RANK']} of {present['WORLD_SIZE']}: {where}", shown, remedy)
    elif not found:
        yield fine("only the meeting point of ranks is set", shown)


def _halves(present: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the variables without which others mean nothing, with the remedy."""
    if "RANK" in present and "WORLD_SIZE" not in present:
        yield "RANK is set without WORLD_SIZE: init_process_group raises that WORLD_SIZE is expected", _UNSET
    if "WORLD_SIZE" in present and "RANK" not in present:
        yield "WORLD_SIZE is set without RANK: init_process_group raises that RANK is expected", _UNSET
    if "RANK" in present and "WORLD_SIZE" in present:
        for name in _WITHOUT_MEETING:
            if name not in present:
                yield f"{name} is not set: the ranks don't know where to meet", f"Set {name}, or use `torchrun`."
    if "LOCAL_RANK" in present and "RANK" not in present:
        yield "LOCAL_RANK is set without RANK: the Trainer starts no ranks, and this one waits for the others", _UNSET


def _contradictions(numbers: Mapping[str, int]) -> Iterator[tuple[str, str]]:
    for rank, size in (("RANK", "WORLD_SIZE"), ("LOCAL_RANK", "LOCAL_WORLD_SIZE")):
        if rank in numbers and size in numbers and numbers[rank] >= numbers[size]:
            yield f"{rank}={numbers[rank]} is not below {size}={numbers[size]}", "Ranks count from 0."
    if "RANK" in numbers and numbers.get("LOCAL_RANK", 0) > numbers["RANK"]:
        yield "LOCAL_RANK is above RANK", "LOCAL_RANK counts the ranks of this machine only, from 0."
    if numbers.get("NODE_RANK") and "RANK" not in numbers:
        node = numbers["NODE_RANK"]
        what = f"NODE_RANK={node} makes this the second machine or a later one: its ranks wait for the first"
        yield what, "Unset NODE_RANK if you train on one machine."
    if numbers.get("MASTER_PORT", 1) not in range(1, 1 << 16):
        yield f"MASTER_PORT={numbers['MASTER_PORT']} is not a port", "Choose one between 1024 and 65535."


@check("rendezvous", "Lightning-AI/pytorch-lightning#697", "pytorch/pytorch#126510")
def rendezvous(seen: Seen) -> Iterator[Finding]:
    """Check that the port is free where the ranks of this machine are to meet."""
    given: Mapping[str, str] = seen["environment"]
    host, port = given.get("MASTER_ADDR", ""), given.get("MASTER_PORT", "")
    if not port.isdecimal() or not 0 < int(port) < 1 << 16 or (host and host not in _HERE):
        return
    if given.get("RANK", "0") == "0" and not _is_free(int(port)):
        where = f"MASTER_ADDR={host}, MASTER_PORT={port}"
        remedy = "End what listens there (`ss -ltnp`), such as the ranks of a killed training, or choose another port."
        yield wrong(f"port {port}, where the ranks are to meet, is in use", where, remedy)
    else:
        yield fine(f"port {port}, where the ranks are to meet, is free")


def _is_free(port: int) -> bool:
    with contextlib.closing(socket.socket()) as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError as error:
            return error.errno != errno.EADDRINUSE
    return True


@check("slurm")
def slurm(seen: Seen) -> Iterator[Finding]:
    """Find an allocation of several tasks whose process was not started by srun."""
    given: Mapping[str, str] = seen["environment"]
    tasks = given.get("SLURM_NTASKS", "")
    if tasks.isdecimal() and int(tasks) > 1 and "SLURM_PROCID" not in given:
        what = f"SLURM_NTASKS={tasks}, and this process was not started by srun: the Trainer waits for {tasks} tasks"
        remedy = "Start the training by `srun`, or in an interactive shell name the job so: --job-name=interactive."
        yield attention(what, "", remedy)
