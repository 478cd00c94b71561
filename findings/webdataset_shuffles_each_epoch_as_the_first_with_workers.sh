#!/usr/bin/env bash
# webdataset 1.0.2, torch 2.13.0, Python 3.11, CPU.
#
# Expected: detshuffle=True with a seed gives each epoch an order of its own, the same in every run.
# Seen: so it is without workers, and with persistent_workers=True. With workers that are not persistent, which is the loader's default,
# each epoch reads the shards in the order of the first one: the number of the epoch is counted in the worker, and starts anew with it.
# Nothing warns.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 webdataset==1.0.2
cat > "$folder/seen.py" <<'PY'
import importlib.metadata
import warnings

import torch
import webdataset
from torch.utils.data import DataLoader

print("webdataset", importlib.metadata.version("webdataset"), "torch", torch.__version__.partition("+")[0])
for shard in range(12):
    with webdataset.TarWriter(f"{shard}.tar") as writer:
        writer.write({"__key__": str(shard), "number": str(shard)})


def epochs(workers, persistent):
    dataset = webdataset.WebDataset("{0..11}.tar", shardshuffle=12, detshuffle=True, seed=1).map(lambda sample: int(sample["number"]))
    loader = DataLoader(dataset, batch_size=None, num_workers=workers, persistent_workers=persistent)
    return [[int(number) for number in loader] for _ in range(4)]


with warnings.catch_warnings():
    warnings.simplefilter("error")
    warnings.simplefilter("ignore", ResourceWarning)
    for workers, persistent in ((0, False), (1, False), (1, True), (2, False), (2, True)):
        orders = epochs(workers, persistent)
        different = len(set(map(tuple, orders)))
        print(f"{workers} workers{', persistent' * persistent}: {different} orders in 4 epochs")
        assert different == (1 if workers and not persistent else 4) and orders == epochs(workers, persistent)
PY
cd "$folder"
"$folder/venv/bin/python" seen.py
