import lightning as L
import torch
import torchmetrics
from sklearn.datasets import load_wine
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

SEED = 0
NUM_CLASSES = 3


class WineClassifier(L.LightningModule):
    def __init__(self, lr=0.01):
        super().__init__()
        self.lr = lr
        self.model = nn.Sequential(nn.Linear(13, 32), nn.ReLU(), nn.Linear(32, NUM_CLASSES))
        self.loss = nn.CrossEntropyLoss()
        self.valid_acc = torchmetrics.Accuracy(task="multiclass", num_classes=NUM_CLASSES)
        self.history = []

    def forward(self, x):
        return self.model(x)

    def training_step(self, batch, batch_idx):
        x, y = batch
        loss = self.loss(self(x), y)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        x, y = batch
        logits = self(x)
        self.valid_acc.update(logits.argmax(dim=-1), y)
        self.log("valid_loss", self.loss(logits, y))

    def on_validation_epoch_end(self):
        acc = self.valid_acc.compute()
        self.history.append(acc.item())
        self.log("valid_accuracy", acc.item())
        print(f"epoch {self.current_epoch} validation accuracy: {acc:.3f}")

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=self.lr, momentum=0.5)


def loaders(batch_size=16):
    x, y = load_wine(return_X_y=True)
    x = (x - x.mean(0)) / x.std(0)
    x_train, x_val, y_train, y_val = train_test_split(x, y, test_size=0.3, random_state=SEED, stratify=y)
    train = TensorDataset(torch.tensor(x_train, dtype=torch.float32), torch.tensor(y_train))
    val = TensorDataset(torch.tensor(x_val, dtype=torch.float32), torch.tensor(y_val))
    return DataLoader(train, batch_size, shuffle=True), DataLoader(val, batch_size)


def main():
    L.seed_everything(SEED)
    train_loader, val_loader = loaders()
    model = WineClassifier()
    trainer = L.Trainer(
        max_epochs=8, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )
    trainer.fit(model, train_loader, val_loader)

    x, y = val_loader.dataset.tensors
    model.eval()
    with torch.no_grad():
        final = (model(x).argmax(-1) == y).float().mean().item()
    print(f"reported {model.history[-1]:.3f}, recomputed {final:.3f}")
    return abs(model.history[-1] - final)


if __name__ == "__main__":
    score = main()
