#!/usr/bin/env bash
# Lightning 2.6.6, torch 2.13.0, Python 3.11, CPU.
#
# Expected: EMAWeightAveraging(update_every_n_steps=2) under manual optimisation with two optimizers, as a GAN has them, gives the
# module an average of the weights that it had at every second batch, as it does with one optimizer.
# Seen: global_step counts each optimizer's step and is always odd or always even where the callback looks, so that the average is
# never updated for 2 and 4: the module ends with the weights that it began with, to the bit, and nothing warns. 1 and 3 are fine.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 pytorch-lightning==2.6.6
cat > "$folder/seen.py" <<'PY'
import logging
import warnings

import torch
from torch.utils.data import DataLoader, TensorDataset

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EMAWeightAveraging

warnings.filterwarnings("ignore")
logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
torch.set_num_threads(1)


class Parts(pl.LightningModule):
    def __init__(self, count):
        super().__init__()
        self.automatic_optimization = False
        self.parts = torch.nn.ModuleList([torch.nn.Linear(4, 1) for _ in range(count)])

    def training_step(self, batch, batch_idx):
        optimizers = self.optimizers()
        for optimizer, part in zip(optimizers if len(self.parts) > 1 else [optimizers], self.parts):
            optimizer.zero_grad()
            self.manual_backward(part(batch[0]).pow(2).mean())
            optimizer.step()

    def configure_optimizers(self):
        return [torch.optim.SGD(part.parameters(), 0.1) for part in self.parts]


def has_moved(count, every):
    torch.manual_seed(0)
    module = Parts(count)
    before = [parameter.detach().clone() for parameter in module.parameters()]
    trainer = pl.Trainer(
        max_epochs=5, logger=False, enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
        callbacks=[EMAWeightAveraging(decay=0.5, update_every_n_steps=every)],
    )
    trainer.fit(module, DataLoader(TensorDataset(torch.randn(64, 4)), 8))
    assert trainer.global_step == 40 * count
    return not all(map(torch.equal, before, module.parameters()))


for count in (1, 2):
    for every in (1, 2, 3, 4):
        moved = has_moved(count, every)
        print(f"{count} optimizers, every {every} steps: the weights {'have changed' if moved else 'ARE THOSE OF THE BEGINNING'}")
        assert moved is not (count == 2 and every % 2 == 0)
PY
"$folder/venv/bin/python" "$folder/seen.py"
