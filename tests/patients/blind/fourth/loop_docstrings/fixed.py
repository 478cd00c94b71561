import inspect
import re
from collections import Counter

import numpy as np
import sklearn.cluster
import sklearn.ensemble
import sklearn.linear_model
import sklearn.preprocessing
import torch
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, Dataset

SEED = 0
MAX_WORDS = 3000
LENGTH = 30

torch.manual_seed(SEED)


def sentences(namespace):
    """Return the longer lines of all docstrings of a namespace."""
    found = set()
    for name in dir(namespace):
        doc = inspect.getdoc(getattr(namespace, name)) or ""
        found.update(line.strip() for line in doc.splitlines() if len(line.split()) > 5)
    return sorted(found)


def tokenize(text):
    return re.findall(r"[a-z_]+", text.lower())


class TextDataset(Dataset):
    def __init__(self, texts, labels, word2idx=None):
        self.labels = labels
        self.word2idx = word2idx or self.build_vocab(texts)
        self.encoded = [self.encode(text) for text in texts]

    @staticmethod
    def build_vocab(texts):
        counts = Counter(word for text in texts for word in tokenize(text))
        return {word: index + 2 for index, (word, _) in enumerate(counts.most_common(MAX_WORDS - 2))}

    def encode(self, text):
        ids = [self.word2idx.get(word, 1) for word in tokenize(text)][:LENGTH]
        return torch.tensor(ids + [0] * (LENGTH - len(ids)))

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, idx):
        return self.encoded[idx], self.labels[idx]


class Classifier(nn.Module):
    def __init__(self, dim=32, classes=3):
        super().__init__()
        self.embedding = nn.Embedding(MAX_WORDS, dim, padding_idx=0)
        self.drop = nn.Dropout(0.3)
        self.fc = nn.Linear(dim, classes)

    def forward(self, ids):
        mask = (ids != 0).unsqueeze(-1)
        pooled = (self.embedding(ids) * mask).sum(1) / mask.sum(1).clamp(min=1)
        return self.fc(self.drop(pooled))


def accuracy(model, loader):
    model.eval()
    with torch.no_grad():
        hits = sum((model(ids).argmax(1) == labels).sum().item() for ids, labels in loader)
    return hits / len(loader.dataset)


texts, labels = [], []
sources = [[np], [torch], [sklearn.cluster, sklearn.ensemble, sklearn.linear_model, sklearn.preprocessing]]
for label, namespaces in enumerate(sources):
    lines = [line for namespace in namespaces for line in sentences(namespace)][:1500]
    texts += lines
    labels += [label] * len(lines)

train_texts, test_texts, train_labels, test_labels = train_test_split(
    texts, labels, test_size=0.25, stratify=labels, random_state=SEED
)
train_set = TextDataset(train_texts, train_labels)
test_set = TextDataset(test_texts, test_labels, train_set.word2idx)
train_loader = DataLoader(train_set, batch_size=64, shuffle=True)
test_loader = DataLoader(test_set, batch_size=256)

model = Classifier()
optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
criterion = nn.CrossEntropyLoss()
for epoch in range(8):
    model.train()
    for ids, targets in train_loader:
        optimizer.zero_grad()
        loss = criterion(model(ids), targets)
        loss.backward()
        optimizer.step()
    print(f"epoch {epoch} train accuracy {accuracy(model, train_loader):.3f}")

test_accuracy = accuracy(model, test_loader)
print(f"test accuracy {test_accuracy:.3f}")
score = 1 - test_accuracy
