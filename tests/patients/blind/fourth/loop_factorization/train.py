import numpy as np
import torch
import torch.nn.functional as F
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

BINS = 8
EMBED_DIM = 16
EPOCHS = 15


class FeaturesEmbedding(nn.Module):
    def __init__(self, field_dims, embed_dim):
        super().__init__()
        self.embedding = nn.Embedding(sum(field_dims), embed_dim)
        self.register_buffer("offsets", torch.tensor([0, *np.cumsum(field_dims)[:-1]]))
        nn.init.xavier_uniform_(self.embedding.weight)

    def forward(self, x):
        return self.embedding(x + self.offsets)


class AttentionalFactorizationMachine(nn.Module):
    def __init__(self, field_dims, embed_dim, attn_size, dropouts):
        super().__init__()
        self.embedding = FeaturesEmbedding(field_dims, embed_dim)
        self.linear = FeaturesEmbedding(field_dims, 1)
        self.attention = nn.Linear(embed_dim, attn_size)
        self.projection = nn.Linear(attn_size, 1)
        self.fc = nn.Linear(embed_dim, 1)
        self.dropouts = dropouts
        n = len(field_dims)
        self.register_buffer("pairs", torch.triu_indices(n, n, offset=1))

    def forward(self, x):
        e = self.embedding(x)
        inner = e[:, self.pairs[0]] * e[:, self.pairs[1]]
        scores = F.softmax(self.projection(F.relu(self.attention(inner))), dim=1)
        scores = F.dropout(scores, p=self.dropouts[0])
        output = torch.sum(scores * inner, dim=1)
        output = F.dropout(output, p=self.dropouts[1])
        return (self.linear(x).sum(1) + self.fc(output)).squeeze(1)


def load_data(seed):
    x, y = load_breast_cancer(return_X_y=True)
    x = x[:, :10]
    edges = np.quantile(x, np.linspace(0, 1, BINS + 1)[1:-1], axis=0)
    ids = np.stack([np.searchsorted(edges[:, i], x[:, i]) for i in range(x.shape[1])], axis=1)
    return train_test_split(torch.tensor(ids), torch.tensor(y, dtype=torch.float32), test_size=0.3, random_state=seed)


def train_epoch(model, optimizer, loader, criterion):
    model.train()
    total = 0
    for fields, target in loader:
        loss = criterion(model(fields), target)
        model.zero_grad()
        loss.backward()
        optimizer.step()
        total += loss.item()
    return total / len(loader)


def evaluate(model, loader, criterion):
    model.eval()
    losses, hits = [], 0
    with torch.no_grad():
        for fields, target in loader:
            y = model(fields)
            losses.append(criterion(y, target).item())
            hits += ((y > 0) == target.bool()).sum().item()
    return sum(losses) / len(losses), hits / len(loader.dataset)


def main(seed=0):
    torch.manual_seed(seed)
    x_train, x_test, y_train, y_test = load_data(seed)
    train_loader = DataLoader(TensorDataset(x_train, y_train), batch_size=32, shuffle=True)
    test_loader = DataLoader(TensorDataset(x_test, y_test), batch_size=len(x_test))
    model = AttentionalFactorizationMachine([BINS] * 10, EMBED_DIM, attn_size=16, dropouts=(0.5, 0.5))
    criterion = nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02, weight_decay=1e-5)
    for epoch in range(EPOCHS):
        loss = train_epoch(model, optimizer, train_loader, criterion)
        print("epoch:", epoch, "train loss:", round(loss, 4))
    first, accuracy = evaluate(model, test_loader, criterion)
    second, _ = evaluate(model, test_loader, criterion)
    print("test loss:", first, "again:", second, "accuracy:", accuracy)
    return first


if __name__ == "__main__":
    score = main()
