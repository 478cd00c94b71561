import os

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

os.environ["NCCL_P2P_DISABLE"] = "1"
torch.set_float32_matmul_precision("high")


class BigModel(L.LightningModule):
    def __init__(self, lr=0.1):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(16, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 5))
        self.lr = lr

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.log("train_loss", loss, sync_dist=True)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("val_loss", nn.functional.cross_entropy(self.net(x), y), sync_dist=True, rank_zero_only=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr * self.trainer.world_size, momentum=0.9)


def main():
    L.seed_everything(7)
    x = torch.randn(1024, 16)
    y = x[:, :5].argmax(1)
    trainer = L.Trainer(
        accelerator="gpu",
        devices=2,
        num_nodes=int(os.environ.get("SLURM_NNODES", 1)),
        strategy=DDPStrategy(find_unused_parameters=False),
        precision="16-mixed",
        sync_batchnorm=True,
        max_epochs=100,
        use_distributed_sampler=True,
    )
    trainer.fit(
        BigModel(),
        DataLoader(TensorDataset(x[:896], y[:896]), 32, shuffle=True, num_workers=4, pin_memory=True, persistent_workers=True),
        DataLoader(TensorDataset(x[896:], y[896:]), 32, num_workers=2),
    )
    if trainer.is_global_zero:
        torch.save(trainer.model.state_dict(), "weights.pt")


if __name__ == "__main__":
    main()
