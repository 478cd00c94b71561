# LSTM sentiment model, loss stays at 0.69
import torch
import pytorch_lightning as pl
from torch import nn


class SentimentLSTM(pl.LightningModule):
    def __init__(self, vocab_size, embedding_dim, hidden_dim, n_layers=1):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, embedding_dim, padding_idx=0)
        self.lstm = nn.LSTM(embedding_dim, hidden_dim, n_layers, batch_first=True)
        self.fc = nn.Linear(hidden_dim, 1)
        self.criterion = nn.BCEWithLogitsLoss()

    def forward(self, text):
        _, (hidden, _) = self.lstm(self.embedding(text))
        return self.fc(hidden[-1]).squeeze(1)

    def training_step(self, batch, batch_idx):
        text, label = batch["text"], batch["label"]
        loss = self.criterion(self(text), label)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self.criterion(self(batch["text"]), batch["label"]))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)
