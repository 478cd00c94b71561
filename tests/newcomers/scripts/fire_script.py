import fire
import lightning as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Lit(L.LightningModule):
    def __init__(self, hidden: int, lr: float):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(2, hidden), nn.Tanh(), nn.Linear(hidden, 2))

    def training_step(self, batch, _):
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), self.hparams.lr)


class Commands:
    """python fire_script.py train --hidden 32"""

    def train(self, hidden=16, lr=0.02, epochs=10):
        L.seed_everything(1)
        x = torch.randn(500, 2)
        y = (x.norm(dim=1) > 1.2).long()
        trainer = L.Trainer(max_epochs=epochs, logger=False)
        trainer.fit(Lit(hidden, lr), DataLoader(TensorDataset(x, y), batch_size=25, shuffle=True))
        trainer.save_checkpoint("final.ckpt")

    def show(self):
        print("nothing to show")


if __name__ == "__main__":
    fire.Fire(Commands)
