import os

import pytorch_lightning as pl
import torch
from dotenv import load_dotenv
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

load_dotenv()
SAMPLES = int(os.environ["SAMPLES"])
os.makedirs(os.environ["RUN_DIR"], exist_ok=True)


class M(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.l = nn.Linear(8, 1)

    def training_step(self, b, i):
        x, y = b
        loss = nn.functional.binary_cross_entropy_with_logits(self.l(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), float(os.getenv("LEARNING_RATE")))


x = torch.randn(SAMPLES, 8)
y = (x[:, :1] > 0).float()
loader = DataLoader(TensorDataset(x, y), 16, shuffle=True)
trainer = pl.Trainer(max_epochs=10, default_root_dir=os.environ["RUN_DIR"])
with open(os.path.join(os.environ["RUN_DIR"], "started.txt"), "w") as f:
    f.write("started")
trainer.fit(M(), loader)
