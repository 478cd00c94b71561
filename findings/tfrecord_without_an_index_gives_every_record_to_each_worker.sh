#!/usr/bin/env bash
# tfrecord 1.14.6, torch 2.13.0, Python 3.11, CPU.
#
# Expected: TFRecordDataset divides the records among the loader's workers, since it reads the worker's number itself.
# Seen: only with an index file. `index_path=None`, which the signature allows, gives every worker all records: an epoch with two workers
# has each sample twice, with four workers four times, and nothing warns.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 tfrecord==1.14.6
cat > "$folder/seen.py" <<'PY'
import collections
import importlib.metadata

import torch
from tfrecord.tools.tfrecord2idx import create_index
from tfrecord.torch.dataset import TFRecordDataset
from tfrecord.writer import TFRecordWriter
from torch.utils.data import DataLoader

print("tfrecord", importlib.metadata.version("tfrecord"), "torch", torch.__version__.partition("+")[0])
writer = TFRecordWriter("numbers.tfrecord")
for number in range(10):
    writer.write({"number": (number, "int")})
writer.close()
create_index("numbers.tfrecord", "numbers.index")
for index in (None, "numbers.index"):
    for workers in (0, 2, 4):
        loader = DataLoader(TFRecordDataset("numbers.tfrecord", index, {"number": "int"}), num_workers=workers)
        times = collections.Counter(int(batch["number"]) for batch in loader)
        print(f"index {index}, {workers} workers: {len(times)} records, {set(times.values())} times each")
        assert len(times) == 10
        assert set(times.values()) == {1 if index else max(workers, 1)}
PY
cd "$folder"
"$folder/venv/bin/python" seen.py
