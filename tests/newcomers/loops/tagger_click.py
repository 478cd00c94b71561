import json
import logging
import random
from pathlib import Path

import click
import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence
from torch.utils.data import DataLoader, Dataset

logger = logging.getLogger(__name__)
WORDS = {"DET": ["the", "a", "every"], "NOUN": ["dog", "ship", "door", "idea"], "VERB": ["opens", "sinks", "barks"], "ADJ": ["old", "green", "odd"]}
PATTERNS = [["DET", "NOUN", "VERB"], ["DET", "ADJ", "NOUN", "VERB"], ["DET", "NOUN", "VERB", "DET", "ADJ", "ADJ", "NOUN"]]


class Vocab:
    def __init__(self, tokens):
        self.itos = ["<pad>", "<unk>"] + sorted(set(tokens))
        self.stoi = {t: i for i, t in enumerate(self.itos)}

    def __len__(self):
        return len(self.itos)

    def __getitem__(self, t):
        return self.stoi.get(t, 1)


class TagDataset(Dataset):
    def __init__(self, n, rng):
        self.rows = []
        for _ in range(n):
            tags = rng.choice(PATTERNS)
            self.rows.append(([rng.choice(WORDS[t]) for t in tags], tags))

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.rows[i]


class BiLSTM(nn.Module):
    def __init__(self, vocab, tags, emb=16, hid=24):
        super().__init__()
        self.embedding = nn.Embedding(vocab, emb, padding_idx=0)
        self.lstm = nn.LSTM(emb, hid, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.2)
        self.linear = nn.Linear(2 * hid, tags)

    def forward(self, ids, lengths):
        packed = pack_padded_sequence(self.embedding(ids), lengths, batch_first=True, enforce_sorted=False)
        out, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True)
        return self.linear(self.dropout(out))


@click.command()
@click.option("--output-dir", "-o", required=True, type=click.Path(path_type=Path), help="Where to put the model.")
@click.option("--epochs", default=4, show_default=True)
@click.option("--batch-size", default=16, show_default=True)
@click.option("--lr", default=1e-2, show_default=True)
@click.option("--seed", default=13)
@click.option("-v", "--verbose", count=True)
def cli(output_dir, epochs, batch_size, lr, seed, verbose):
    logging.basicConfig(level=logging.DEBUG if verbose else logging.INFO)
    output_dir.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    rng = random.Random(seed)
    train, dev = TagDataset(400, rng), TagDataset(100, rng)
    words = Vocab(w for ws in WORDS.values() for w in ws)
    tags = Vocab(WORDS)

    def collate(rows):
        ids = [torch.tensor([words[w] for w in r[0]]) for r in rows]
        gold = [torch.tensor([tags[t] for t in r[1]]) for r in rows]
        lengths = torch.tensor([len(i) for i in ids])
        return pad_sequence(ids, batch_first=True), lengths, pad_sequence(gold, batch_first=True, padding_value=-100)

    train_loader = DataLoader(train, batch_size=batch_size, shuffle=True, collate_fn=collate)
    dev_loader = DataLoader(dev, batch_size=batch_size, collate_fn=collate)
    model = BiLSTM(len(words), len(tags))
    optimizer = torch.optim.Adam(model.parameters(), lr=lr)
    loss_fct = nn.CrossEntropyLoss(ignore_index=-100)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=lr, epochs=epochs, steps_per_epoch=len(train_loader))
    history = []
    for epoch in range(epochs):
        model.train()
        total = 0.0
        for ids, lengths, gold in train_loader:
            optimizer.zero_grad()
            logits = model(ids, lengths)
            loss = loss_fct(logits.reshape(-1, logits.size(-1)), gold.reshape(-1))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            scheduler.step()
            total += loss.item()
        model.eval()
        right = seen = 0
        with torch.no_grad():
            for ids, lengths, gold in dev_loader:
                pred = model(ids, lengths).argmax(-1)
                mask = gold != -100
                right += (pred[mask] == gold[mask]).sum().item()
                seen += mask.sum().item()
        logger.info("epoch %d  train loss %.4f  dev acc %.4f", epoch, total / len(train_loader), right / seen)
        history.append({"epoch": epoch, "loss": total / len(train_loader), "dev_acc": right / seen})
    torch.save(model.state_dict(), output_dir / "model.pt")
    (output_dir / "history.json").write_text(json.dumps(history, indent=2))


if __name__ == "__main__":
    cli()
