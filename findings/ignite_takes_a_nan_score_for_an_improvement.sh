#!/usr/bin/env bash
# pytorch-ignite 0.5.5, torch 2.13.0, Python 3.11, CPU.
#
# Expected: EarlyStopping counts an epoch whose score is NaN as one without improvement, and Checkpoint(n_saved=1) replaces a checkpoint
# with a NaN score by one with a finite score.
# Seen: to EarlyStopping a NaN is the best score so far. It resets the patience, so a training whose score stays NaN is never stopped,
# and one whose score is worse than before after a single NaN gets its patience anew. Checkpoint keeps a first checkpoint of NaN
# for ever; later, better ones are not saved.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 pytorch-ignite==0.5.5
cat > "$folder/seen.py" <<'PY'
import logging
import math
import pathlib
import tempfile

import ignite
import torch
from ignite.engine import Engine, Events
from ignite.handlers import Checkpoint, EarlyStopping

print("pytorch-ignite", ignite.__version__, "torch", torch.__version__.partition("+")[0])
logging.disable(logging.CRITICAL)


def epochs_trained(scores):
    given = iter(scores)
    trainer, evaluator = Engine(lambda engine, batch: 0.0), Engine(lambda engine, batch: 0.0)
    stopping = EarlyStopping(patience=2, score_function=lambda engine: next(given), trainer=trainer)
    evaluator.add_event_handler(Events.COMPLETED, stopping)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: evaluator.run([0]))
    trainer.run([0], max_epochs=len(scores))
    return trainer.state.epoch, stopping.best_score


def kept(scores):
    given = iter(scores)
    folder = tempfile.mkdtemp(dir=".")
    trainer = Engine(lambda engine, batch: 0.0)
    saving = Checkpoint(
        {"net": torch.nn.Linear(1, 1)}, folder, n_saved=1, score_function=lambda engine: next(given), score_name="score"
    )
    trainer.add_event_handler(Events.EPOCH_COMPLETED, saving)
    trainer.run([0], max_epochs=len(scores))
    return [path.name for path in pathlib.Path(folder).iterdir()]


nan = math.nan
worse, silent, once = ([-1.0, *[score] * 7] for score in (-3.0, nan, -3.0))
once[1] = nan
for name, scores, seen in [("a worse score", worse, 3), ("NaN", silent, 8), ("one NaN, then a worse score", once, 5)]:
    epoch, best = epochs_trained(scores)
    print(f"patience 2, {name} from epoch 2 on: trained {epoch} of 8 epochs, best score {best}")
    assert epoch == seen
assert math.isnan(epochs_trained(silent)[1])
for scores, seen in [([-3.0, -2.0, -1.0], "net_score=-1.0000.pt"), ([nan, -2.0, -1.0], "net_score=nan.pt")]:
    print(f"n_saved=1, scores {scores}: keeps {kept(scores)}")
    assert kept(scores) == [seen]
PY
cd "$folder"
"$folder/venv/bin/python" seen.py
