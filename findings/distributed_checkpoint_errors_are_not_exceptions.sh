#!/usr/bin/env bash
# torch 2.13.0, Python 3.11, CPU.
#
# Expected: `except Exception` around torch.distributed.checkpoint.load handles a checkpoint that lacks a key.
# Seen: CheckpointException derives from BaseException. The handler is passed over, as for Ctrl-C, and the process ends.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
cat > "$folder/seen.py" <<'PY'
import os
import sys

import torch
from torch.distributed import checkpoint

print("torch", torch.__version__.partition("+")[0])
sys.stderr = open(os.devnull, "w")
checkpoint.save({"weight": torch.zeros(2)}, checkpoint_id="saved", no_dist=True)
handler = None
try:
    try:
        checkpoint.load({"weight": torch.zeros(2), "bias": torch.zeros(1)}, checkpoint_id="saved", no_dist=True)
    except Exception:
        handler = "except Exception"
except BaseException as error:
    handler = "except BaseException"
    print(f"{type(error).__name__}, bases: {[base.__name__ for base in type(error).__mro__[1:]]}")
print("a missing key is handled by:", handler)
assert handler == "except BaseException"
PY
cd "$folder"
"$folder/venv/bin/python" seen.py
