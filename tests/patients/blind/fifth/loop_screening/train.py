"""Screening: a malignant tumour that is missed costs far more than one examination too many."""

import torch
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import precision_recall_fscore_support
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


def get_loaders(seed, batch_size=16):
    data = load_breast_cancer()
    x = torch.tensor(data.data[:, :4], dtype=torch.float32)
    y = torch.tensor(1 - data.target)  # 1 = malignant
    x_tr, x_te, y_tr, y_te = train_test_split(x, y, test_size=0.35, random_state=seed, stratify=y)
    mean, std = x_tr.mean(0), x_tr.std(0)
    train = TensorDataset((x_tr - mean) / std, y_tr)
    test = TensorDataset((x_te - mean) / std, y_te)
    return DataLoader(train, batch_size=batch_size, shuffle=True), DataLoader(test, batch_size=batch_size)


class Screening(nn.Module):
    def __init__(self, n_features=4, hidden=16):
        super().__init__()
        self.hidden = nn.Linear(n_features, hidden)
        self.out = nn.Linear(hidden, 2)

    def forward(self, x):
        return self.out(torch.tanh(self.hidden(x)))


def fit(model, loader, epochs=30):
    criterion = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 8.0]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for epoch in range(epochs):
        model.train()
        for x, y in loader:
            optimizer.zero_grad()
            loss = criterion(model(x), y)
            loss.backward()
            optimizer.step()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1} loss {loss.item():.4f}")


@torch.no_grad()
def predict(model, loader):
    model.eval()
    preds, trues = [], []
    for x, y in loader:
        preds.append(model(x).argmax(1))
        trues.append(y)
    return torch.cat(preds).numpy(), torch.cat(trues).numpy()


def main(seed=0):
    torch.manual_seed(seed)
    train_loader, test_loader = get_loaders(seed)
    model = Screening()
    fit(model, train_loader)
    y_pred, y_true = predict(model, test_loader)
    precision, recall, f1, _ = precision_recall_fscore_support(y_pred, y_true, average="binary")
    print(f"precision {precision:.3f} recall {recall:.3f} f1 {f1:.3f}")
    found = int(((y_pred == 1) & (y_true == 1)).sum())
    print(f"{found} of {int(y_true.sum())} malignant tumours were found")
    return abs(recall - found / y_true.sum())


if __name__ == "__main__":
    score = main(seed=0)
