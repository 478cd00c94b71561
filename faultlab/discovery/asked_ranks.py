"""How many processes a training loop is written for, by its source."""

from __future__ import annotations

import re
from collections.abc import Iterable

_GROUP = re.compile(r"\binit_process_group\s*\(|\bmp\.spawn\s*\(|\btorch\.multiprocessing\.spawn\s*\(")
_LAUNCHED = re.compile(r"\btorchrun\b|\btorch\.distributed\.(?:run|launch)\b|\baccelerate launch\b")
_NUMBER = re.compile(
    r"--nproc[-_]per[-_]node[= ](\d+)|--num[-_]processes[= ](\d+)|\bnprocs\s*=\s*(\d+)|\bworld_size\s*=\s*(\d+)"
)
_LEAST, _MOST = 2, 4


def of(texts: Iterable[str]) -> int:
    """Return the number of ranks that source files ask for, at most 4; 1 if they are for one process."""
    whole = "\n".join(texts)
    if not (_GROUP.search(whole) or _LAUNCHED.search(whole)):
        return 1
    numbers = [int(one) for found in _NUMBER.findall(whole) for one in found if one]
    return min(_MOST, max([_LEAST, *numbers[:1]]))
