import argparse
import inspect
import re

import lightning.pytorch as pl
import numpy as np
import sklearn.cluster
import sklearn.linear_model
import sklearn.metrics
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

LENGTH = 24


def lines(*modules):
    found = set()
    for module in modules:
        for name in dir(module):
            for line in (inspect.getdoc(getattr(module, name)) or "").splitlines():
                words = re.findall(r"[a-z]+", line.lower())
                if 4 <= len(words) < LENGTH:
                    found.add(tuple(words))
    return sorted(found)


def build(seed):
    rng = np.random.default_rng(seed)
    sources = [lines(np), lines(torch, nn), lines(sklearn.cluster, sklearn.linear_model, sklearn.metrics)]
    texts = [(words, label) for label, source in enumerate(sources) for words in source]
    texts = [texts[i] for i in rng.permutation(len(texts))[:3000]]
    vocab = {"<pad>": 0, "<unk>": 1}
    for words, _ in texts[:2000]:
        for word in words:
            vocab.setdefault(word, len(vocab))
    ids = torch.zeros(len(texts), LENGTH, dtype=torch.long)
    for row, (words, _) in enumerate(texts):
        ids[row, : len(words)] = torch.tensor([vocab.get(word, 1) for word in words])
    data = TensorDataset(ids, torch.tensor([label for _, label in texts]))
    return data, len(vocab)


class AttentionPooling(nn.Module):
    """One learned query for each class looks at the tokens of the text."""

    def __init__(self, dim, classes):
        super().__init__()
        self.queries = nn.Parameter(torch.randn(classes, dim) * dim**-0.5)
        self.key = nn.Linear(dim, dim)
        self.value = nn.Linear(dim, dim)

    def forward(self, tokens, padding_mask):
        batch = tokens.shape[0]
        query = self.queries.expand(batch, -1, -1)
        mask = ~padding_mask.unsqueeze(1).expand(-1, query.shape[1], -1)
        return F.scaled_dot_product_attention(query, self.key(tokens), self.value(tokens), attn_mask=mask)


class TextClassifier(pl.LightningModule):
    def __init__(self, vocab_size, dim=32, classes=3):
        super().__init__()
        self.embedding = nn.Embedding(vocab_size, dim, padding_idx=0)
        self.context = nn.Conv1d(dim, dim, 5, padding=2)
        self.pooling = AttentionPooling(dim, classes)
        self.score = nn.Linear(dim, 1)

    def forward(self, ids):
        padding_mask = ids == 0
        tokens = self.embedding(ids)
        tokens = tokens + torch.relu(self.context(tokens.transpose(1, 2)).transpose(1, 2))
        return self.score(self.pooling(tokens, padding_mask)).squeeze(-1)

    def training_step(self, batch, _):
        ids, labels = batch
        loss = F.cross_entropy(self(ids), labels)
        self.log("loss", loss, on_epoch=True, on_step=False)
        return loss

    def validation_step(self, batch, _):
        ids, labels = batch
        self.log("val_acc", (self(ids).argmax(1) == labels).float().mean())

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=6)
    args = parser.parse_args()
    pl.seed_everything(args.seed)
    data, vocab_size = build(args.seed)
    train, val = torch.utils.data.Subset(data, range(2000)), torch.utils.data.Subset(data, range(2000, 3000))
    trainer = pl.Trainer(
        max_epochs=args.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(
        TextClassifier(vocab_size), DataLoader(train, batch_size=32, shuffle=True), DataLoader(val, batch_size=500)
    )
    print({name: round(value.item(), 3) for name, value in trainer.callback_metrics.items()})
    return 1 - trainer.callback_metrics["val_acc"].item()


if __name__ == "__main__":
    score = main()
