#!/usr/bin/env bash
# torchrl 0.14.1 with tensordict 0.14.3, torch 2.13.0, Python 3.11, CPU.
#
# Expected: after empty() and extend() a replay buffer samples only what is in it, as an on-policy loop needs, whose buffer is emptied
# between two rounds.
# Seen: with prefetch=N the next N batches are made of the items that were removed, since they were drawn before, and neither empty() nor
# extend() discards them. It is the same without empty(), where the new round replaces the old one. Nothing warns. Without prefetch each
# batch is new.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 torchrl==0.14.1 tensordict==0.14.3
cat > "$folder/seen.py" <<'PY'
import concurrent.futures
import importlib.metadata
import logging
import warnings

import torch
from tensordict import TensorDict
from torchrl.data import LazyTensorStorage, TensorDictReplayBuffer

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("torchrl", "tensordict")), "torch", torch.__version__.partition("+")[0])
logging.disable(logging.CRITICAL)
torch.set_num_threads(1)


def stale(prefetch, emptied):
    """How many of the batches of each later round hold items of the round before."""
    buffer = TensorDictReplayBuffer(storage=LazyTensorStorage(40), batch_size=4, prefetch=prefetch)
    counts = []
    for number in range(3):
        if emptied:
            buffer.empty()
        buffer.extend(TensorDict({"round": torch.full((40,), float(number))}, [40]))
        batches = [buffer.sample()["round"] for _ in range(10)]
        concurrent.futures.wait(buffer._prefetch_queue if prefetch else [])
        counts.append(sum(bool((batch < number).any()) for batch in batches))
    return counts


with warnings.catch_warnings():
    warnings.simplefilter("error")
    for emptied in (True, False):
        for prefetch in (None, 1, 3):
            counts = stale(prefetch, emptied)
            print(f"prefetch={prefetch}, {'emptied' if emptied else 'overwritten'} before each round: "
                  f"stale batches of 10 in the three rounds {counts}")
            assert counts == [0, prefetch or 0, prefetch or 0]
PY
cd "$folder"
"$folder/venv/bin/python" seen.py
