#!/usr/bin/env bash
# torchmetrics 1.9.0 with Lightning 2.6.6, torch 2.13.0, Python 3.11, CPU.
#
# Expected: EarlyStopping(check_finite=True), its default, stops a training that logs its loss through torchmetrics' MeanMetric when half of
# the losses are NaN, since the mean of anything and NaN is NaN.
# Seen: MeanMetric drops NaN by default and warns, so the logged mean is finite and the training goes on to its end. Logged by
# `self.log("loss", loss, on_epoch=True)`, the same losses stop it after the first epoch.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 torchmetrics==1.9.0 pytorch-lightning==2.6.6
cat > "$folder/seen.py" <<'PY'
import logging
import warnings

import pytorch_lightning as pl
import torch
import torchmetrics
from pytorch_lightning.callbacks import EarlyStopping
from torch.utils.data import DataLoader

print("torchmetrics", torchmetrics.__version__, "Lightning", pl.__version__, "torch", torch.__version__.partition("+")[0])
warnings.filterwarnings("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
torch.set_num_threads(1)


class Regression(pl.LightningModule):
    def __init__(self, through_metric):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.mean = torchmetrics.MeanMetric() if through_metric else None

    def training_step(self, batch, batch_idx):
        loss = self.layer(batch).pow(2).mean()
        reported = loss.detach() if batch_idx % 2 else loss.detach() * float("nan")
        if self.mean is None:
            self.log("loss", reported, on_step=False, on_epoch=True)
        else:
            self.mean(reported)
            self.log("loss", self.mean, on_step=False, on_epoch=True)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.01)


seen = {}
for through_metric in (False, True):
    stopping = EarlyStopping("loss", check_on_train_epoch_end=True, patience=10)
    trainer = pl.Trainer(
        max_epochs=4,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[stopping],
    )
    trainer.fit(Regression(through_metric), DataLoader(torch.randn(16, 2), batch_size=4))
    seen[through_metric] = trainer.current_epoch
    logged = float(trainer.callback_metrics["loss"])
    way = "through MeanMetric" if through_metric else "by value"
    print(f"half of the losses NaN, logged {way}: {logged:.3f} logged, trained {trainer.current_epoch} of 4 epochs")
assert seen == {False: 1, True: 4}
PY
cd "$folder"
"$folder/venv/bin/python" seen.py
