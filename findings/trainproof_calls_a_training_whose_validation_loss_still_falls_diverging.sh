#!/usr/bin/env bash
# trainproof 0.22.0 on the log of Lightning 2.6.6's CSVLogger (log_every_n_steps=1), torch 2.13.0, Python 3.11, CPU.
#
# Expected: PASS for a regression that learns: its validation loss falls from epoch to epoch and ends at its best or next to it.
# Seen: FAIL, TP-DIVERGE "Loss curve is diverging". The rule compares the end of train_loss with its smallest value, and one lucky batch
# of the last epochs is several times below the level at which the steps lie. The column val_loss is recognised, and does not count.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 pytorch-lightning==2.6.6 trainproof==0.22.0
cat > "$folder/train.py" <<'PY'
import logging
import warnings

import torch
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

import pytorch_lightning as pl
from pytorch_lightning.loggers import CSVLogger

warnings.filterwarnings("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
torch.set_num_threads(1)


class Regression(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(8, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
        self.validation = []

    def training_step(self, batch, batch_idx):
        loss = functional.mse_loss(self.net(batch[0]), batch[1])
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", functional.mse_loss(self.net(batch[0]), batch[1]))

    def on_validation_epoch_end(self):
        self.validation.append(float(self.trainer.callback_metrics["val_loss"]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), 1e-2)


torch.manual_seed(0)
x = torch.randn(512, 8)
y = x[:, :1] * x[:, 1:2] + x[:, 2:3]
module = Regression()
trainer = pl.Trainer(
    max_epochs=20, logger=CSVLogger("csv"), log_every_n_steps=1, num_sanity_val_steps=0,
    enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
)
train, validate = TensorDataset(x[:384], y[:384]), TensorDataset(x[384:], y[384:])
trainer.fit(module, DataLoader(train, 32, shuffle=True), DataLoader(validate, 64))
first, last, best = module.validation[0], module.validation[-1], min(module.validation)
print(f"val_loss: {first:.3f} after the first epoch, {last:.3f} after the last, {best:.3f} at best")
assert last < 0.1 * first
assert last < 1.5 * best
PY
cd "$folder"
venv/bin/python train.py
status=0
venv/bin/trainproof epoch csv/lightning_logs/version_0/metrics.csv > verdict.txt || status=$?
cat verdict.txt
grep -q "TP-DIVERGE: Loss curve is diverging" verdict.txt
test "$status" -ne 0
