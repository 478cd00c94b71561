import lightning.pytorch as pl
import torch
import torch.nn.functional as F
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

pl.seed_everything(0)


class WineClassifier(pl.LightningModule):
    def __init__(self, hidden):
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(13, hidden), nn.ReLU(), nn.Linear(hidden, 3))

    def forward(self, x):
        return self.net(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = F.cross_entropy(self(x), y)
        self.log("train_loss", loss)
        return loss

    def test_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.log("test_loss", F.cross_entropy(logits, y))
        self.log("test_acc", (logits.argmax(1) == y).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=0.01)


def make_trainer():
    return pl.Trainer(
        max_epochs=12,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


X, Y = load_wine(return_X_y=True)
x_train, x_test, y_train, y_test = train_test_split(X, Y, test_size=0.3, stratify=Y, random_state=1)
scaler = StandardScaler().fit(x_train)
train_data = TensorDataset(torch.tensor(scaler.transform(x_train), dtype=torch.float32), torch.tensor(y_train))
test_data = TensorDataset(torch.tensor(scaler.transform(x_test), dtype=torch.float32), torch.tensor(y_test))
train_loader = DataLoader(train_data, batch_size=16, shuffle=True)
test_loader = DataLoader(test_data, batch_size=64)

# Which size is better?
results = {}
trainer = make_trainer()
for hidden in (4, 64):
    model = WineClassifier(hidden)
    trainer.fit(model, train_loader)
    results[hidden] = trainer.test(model, test_loader, verbose=False)[0]

for hidden, metrics in results.items():
    print(f"{hidden:3} hidden units: loss {metrics['test_loss']:.3f}, accuracy {metrics['test_acc']:.3f}")
score = results[64]["test_loss"]
