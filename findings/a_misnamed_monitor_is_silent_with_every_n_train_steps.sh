#!/usr/bin/env bash
# pytorch-lightning 2.6.6, torch 2.13.0, Python 3.11, CPU.
#
# Expected: a ModelCheckpoint whose `monitor` is never logged raises at the end of the first validated epoch, however often it saves.
# Seen: with `every_n_train_steps` the training ends well, nothing is raised or warned, and no checkpoint is written; with
# `save_last` only last.ckpt is. Without `every_n_train_steps` it raises.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 pytorch-lightning==2.6.6
cat > "$folder/seen.py" <<'PY'
import logging
import os
import tempfile
import warnings

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.demos.boring_classes import BoringModel
from pytorch_lightning.utilities.exceptions import MisconfigurationException

logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
print("pytorch-lightning", pl.__version__, "torch", torch.__version__.partition("+")[0])


def trained(**settings):
    """How a training ends, the files it leaves, and what was warned of the monitored metric."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        keeper = ModelCheckpoint(folder, monitor="val_loss", **settings)
        trainer = pl.Trainer(
            accelerator="cpu", max_epochs=2, limit_train_batches=8, limit_val_batches=2, logger=False,
            enable_progress_bar=False, enable_model_summary=False, callbacks=[keeper],
        )
        try:
            trainer.fit(BoringModel())
            end = "ends well"
        except MisconfigurationException as error:
            end = f"raises {type(error).__name__}"
        return end, sorted(os.listdir(folder)), sum("val_loss" in str(one.message) for one in told)


seen = {}
for settings in ({}, {"every_n_train_steps": 2}, {"every_n_train_steps": 2, "save_top_k": -1},
                 {"every_n_train_steps": 2, "save_last": True}):
    seen[tuple(settings)] = trained(**settings)
    end, files, warned = seen[tuple(settings)]
    print(f"{settings}: {end}, leaves {files}, {warned} warnings about val_loss")
assert seen[()][0] == "raises MisconfigurationException"
assert seen["every_n_train_steps",] == ("ends well", [], 0)
assert seen["every_n_train_steps", "save_top_k"] == ("ends well", [], 0)
assert seen["every_n_train_steps", "save_last"] == ("ends well", ["last.ckpt"], 0)
PY
"$folder/venv/bin/python" "$folder/seen.py"
