import inspect
import re
from collections import Counter

import numpy as np
import sklearn.cluster
import sklearn.linear_model
import sklearn.metrics
import sklearn.preprocessing
import torch
from torch import nn
from torch.nn.utils.rnn import pad_sequence

SEED = 0
DIM = 48
WINDOW = 3
torch.manual_seed(SEED)
np.random.seed(SEED)


def read_lines(*modules):
    docs = [inspect.getdoc(getattr(module, name)) or "" for module in modules for name in dir(module)]
    lines = sorted({line.strip() for doc in docs for line in doc.splitlines()})
    return [words for line in lines if len(words := re.findall(r"[a-z]+", line.lower())) > 4]


def train_vectors(corpus):
    """Word vectors from a factorized matrix of co-occurrences (positive PMI)."""
    counts = Counter(word for words in corpus for word in words)
    words = [word for word, count in counts.most_common(500) if count > 2]
    position = {word: i for i, word in enumerate(words)}
    pairs = np.zeros((len(words), len(words)))
    for line in corpus:
        ids = [position[word] for word in line if word in position]
        for i, a in enumerate(ids):
            for b in ids[max(0, i - WINDOW) : i]:
                pairs[a, b] += 1
                pairs[b, a] += 1
    total = pairs.sum()
    margin = pairs.sum(1, keepdims=True) + 1e-9
    pmi = np.log(np.maximum(pairs * total / (margin * margin.T), 1.0))
    u, s, _ = np.linalg.svd(pmi)
    vectors = u[:, :DIM] * np.sqrt(s[:DIM])
    return dict(zip(words, vectors.astype(np.float32)))


sources = [
    read_lines(np),
    read_lines(torch, torch.nn),
    read_lines(sklearn.cluster, sklearn.linear_model, sklearn.metrics, sklearn.preprocessing),
]
word_vectors = train_vectors([line for source in sources for line in source])

word_index = {"<pad>": 0, "<unk>": 1}
for word in word_vectors:
    word_index[word] = len(word_index)

embedding_matrix = np.zeros((len(word_index) + 1, DIM), dtype=np.float32)
for i, word in enumerate(word_vectors):
    embedding_matrix[i + 1] = word_vectors[word]


class Classifier(nn.Module):
    def __init__(self, matrix, classes=3):
        super().__init__()
        self.embedding = nn.Embedding.from_pretrained(torch.from_numpy(matrix), freeze=True)
        self.net = nn.Sequential(nn.Linear(DIM, 32), nn.ReLU(), nn.Linear(32, classes))

    def forward(self, ids):
        mask = (ids > 0).unsqueeze(-1).float()
        pooled = (self.embedding(ids) * mask).sum(1) / mask.sum(1)
        return self.net(pooled)


# only a few lines are labelled
texts, labels = [], []
for label, source in enumerate(sources):
    chosen = np.random.permutation(len(source))[:800]
    texts += [torch.tensor([word_index.get(word, 1) for word in source[i]]) for i in chosen]
    labels += [label] * len(chosen)
order = torch.randperm(len(texts))
ids = pad_sequence(texts, batch_first=True)[order]
labels = torch.tensor(labels)[order]
n_train = 150

model = Classifier(embedding_matrix)
optimizer = torch.optim.Adam(model.net.parameters(), lr=0.01, weight_decay=1e-3)
for epoch in range(60):
    for batch in torch.randperm(n_train).split(32):
        loss = nn.functional.cross_entropy(model(ids[batch]), labels[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    if epoch % 20 == 19:
        print(f"epoch {epoch + 1}, loss {loss.item():.3f}")

with torch.no_grad():
    correct = (model(ids[n_train:]).argmax(1) == labels[n_train:]).float().mean().item()
print(f"test accuracy {correct:.3f}")
score = 1 - correct
