# My autoencoder only outputs grey pictures, what am I missing?
import lightning as L
import torch
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
images = torch.rand(512, 1, 28, 28)
train_loader = DataLoader(TensorDataset(images[:448]), batch_size=32, shuffle=True)
valid_loader = DataLoader(TensorDataset(images[448:]), batch_size=32)


class AutoEncoder(L.LightningModule):
    def __init__(self, encoder, decoder):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder

    def training_step(self, batch, batch_idx):
        (x,) = batch
        x = x.view(x.size(0), -1)
        z = self.encoder(x)
        loss = nn.functional.mse_loss(self.decoder(z), x)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-3)


encoder = nn.Sequential(nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 3))
decoder = nn.Sequential(nn.Linear(3, 64), nn.ReLU(), nn.Linear(64, 784))
model = AutoEncoder(encoder, decoder)
trainer = L.Trainer(limit_train_batches=100, max_epochs=1)
trainer.fit(model, train_loader)
print("done", trainer.callback_metrics["train_loss"])
raise SystemExit("this is after fit and must not run")
