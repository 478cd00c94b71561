#!/usr/bin/env bash
# Lightning 2.6.6, torch 2.13.0, Python 3.11, two CPU ranks with gloo.
#
# Expected: `self.log("one", 1.0, sync_dist=True)` in the validation step reports 1, however often each rank logs it; and values that are
# logged under a name on every rank are averaged with each other, in whatever order a rank logs its names.
# Seen: where rank 0 logs it in two batches and rank 1 in one, 1.5 is reported. Sums and weights are averaged over the ranks, and the mean of
# the weights, an integer tensor, is truncated: 2 / (3 // 2) (Lightning issue 21859). Where rank 1 logs `b` before `a`, 0 and 10 are both
# reported as 5: the ranks average by position (issue 21409). Nothing warns.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 pytorch-lightning==2.6.6
cat > "$folder/seen.py" <<'PY'
import logging
import os
import warnings

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, TensorDataset

os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
warnings.filterwarnings("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
torch.set_num_threads(1)
values = {"a": 0.0, "b": 10.0}


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)

    def training_step(self, batch, batch_idx):
        return self.layer(batch[0]).sum()

    def validation_step(self, batch, batch_idx):
        for name in values if self.global_rank == 0 else reversed(values):
            self.log(name, torch.tensor(values[name]), sync_dist=True)
        if self.global_rank == 0 or batch_idx == 0:
            self.log("one", torch.tensor(1.0), sync_dist=True, batch_size=1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.0)


loader = DataLoader(TensorDataset(torch.ones(8, 1)), batch_size=2)
trainer = pl.Trainer(
    accelerator="cpu",
    strategy="ddp",
    devices=2,
    max_epochs=1,
    num_sanity_val_steps=0,
    logger=False,
    enable_checkpointing=False,
    enable_progress_bar=False,
    enable_model_summary=False,
)
trainer.fit(Module(), loader, loader)
if trainer.global_rank == 0:
    print("Lightning", pl.__version__, "torch", torch.__version__.partition("+")[0])
    seen = {name: float(value) for name, value in trainer.callback_metrics.items()}
    print("logged: one = 1, a = 0, b = 10 on each rank; reported:", seen)
    assert seen == {"a": 5.0, "b": 5.0, "one": 1.5}
PY
cd "$folder"
"$folder/venv/bin/python" seen.py
