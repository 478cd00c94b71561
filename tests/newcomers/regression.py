# val loss is nan, train loss is fine. The training itself is in a notebook, here is the model and the data:
import torch
from pytorch_lightning import LightningModule
from torch import nn
from torch.utils.data import DataLoader, Dataset


class HouseDataset(Dataset):
    def __init__(self, n=256, seed=0):
        g = torch.Generator().manual_seed(seed)
        self.features = torch.randn(n, 6, generator=g)
        self.district = torch.randint(0, 20, (n,), generator=g)
        self.price = self.features @ torch.arange(6.0) + self.district / 10

    def __len__(self):
        return len(self.price)

    def __getitem__(self, i):
        return {"features": self.features[i], "district": self.district[i], "price": self.price[i]}


def make_loaders(batch_size=32):
    return DataLoader(HouseDataset(), batch_size=batch_size, shuffle=True), DataLoader(HouseDataset(64, 1), batch_size)


class PriceModel(LightningModule):
    def __init__(self, hidden: int = 32):
        super().__init__()
        self.embed = nn.Embedding(20, 4)
        self.net = nn.Sequential(nn.Linear(10, hidden), nn.ReLU(), nn.Linear(hidden, 1))
        self.loss = nn.MSELoss()

    def forward(self, features, district):
        return self.net(torch.cat([features, self.embed(district)], dim=1)).squeeze(1)

    def _step(self, batch, name):
        loss = self.loss(self(batch["features"], batch["district"]), batch["price"])
        self.log(f"{name}_loss", loss)
        return loss

    def training_step(self, batch, batch_idx):
        return self._step(batch, "train")

    def validation_step(self, batch, batch_idx):
        return self._step(batch, "val")

    def configure_optimizers(self):
        optimizer = torch.optim.AdamW(self.parameters(), lr=1e-2)
        scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=2)
        return {"optimizer": optimizer, "lr_scheduler": scheduler, "monitor": "val_loss"}
