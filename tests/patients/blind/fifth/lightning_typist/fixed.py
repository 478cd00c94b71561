import inspect
from dataclasses import dataclass

import lightning as L
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset


@dataclass
class Args:
    seed: int = 0
    window: int = 16
    val_share: float = 0.2
    epochs: int = 7
    batch_size: int = 64
    hidden: int = 96


class WindowDataset(Dataset):
    """All windows of a text, and the character that follows each of their characters."""

    def __init__(self, codes, window):
        self.codes = codes
        self.window = window

    def __len__(self):
        return len(self.codes) - self.window

    def __getitem__(self, i):
        piece = self.codes[i : i + self.window + 1]
        return piece[:-1], piece[1:]


class TextDataModule(L.LightningDataModule):
    def __init__(self, codes, args):
        super().__init__()
        self.codes = codes
        self.args = args

    def setup(self, stage=None):
        data = WindowDataset(self.codes, self.args.window)
        n_val = int(len(data) * self.args.val_share)
        n_train = len(data) - n_val
        self.train_set = Subset(data, range(n_train - self.args.window))
        self.val_set = Subset(data, range(n_train, len(data)))

    def train_dataloader(self):
        return DataLoader(self.train_set, batch_size=self.args.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val_set, batch_size=256)


class CharModel(L.LightningModule):
    def __init__(self, vocab, hidden):
        super().__init__()
        self.embed = nn.Embedding(vocab, 24)
        self.rnn = nn.GRU(24, hidden, batch_first=True)
        self.out = nn.Linear(hidden, vocab)

    def forward(self, x):
        return self.out(self.rnn(self.embed(x))[0])

    def loss(self, batch):
        x, y = batch
        return F.cross_entropy(self(x).transpose(1, 2), y)

    def training_step(self, batch, _):
        loss = self.loss(batch)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, _):
        self.log("val_loss", self.loss(batch), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=5e-3)


def main(args):
    L.seed_everything(args.seed)
    text = inspect.getdoc(torch.nn.Transformer) + inspect.getdoc(torch.nn.LSTM) + inspect.getdoc(torch.nn.GRU)
    text = " ".join(text.split())[:3400]
    vocab = sorted(set(text))
    codes = torch.tensor([vocab.index(char) for char in text])
    today, tomorrow = codes[:2400], codes[2400:]

    model = CharModel(len(vocab), args.hidden)
    trainer = L.Trainer(
        max_epochs=args.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, datamodule=TextDataModule(today, args))
    val_loss = trainer.callback_metrics["val_loss"].item()

    model.eval()
    unseen = WindowDataset(tomorrow, args.window)
    with torch.no_grad():
        losses = [model.loss(batch).item() for batch in DataLoader(unseen, batch_size=len(unseen))]
    print(f"val loss {val_loss:.3f}, loss on the text that came after it {losses[0]:.3f}")
    return abs(val_loss - losses[0]) / losses[0]


if __name__ == "__main__":
    score = main(Args())
