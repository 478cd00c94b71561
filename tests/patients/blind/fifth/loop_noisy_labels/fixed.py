import copy
import math

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

seed = 0
np.random.seed(seed)
torch.manual_seed(seed)

X, Y = load_digits(return_X_y=True)
order = np.random.permutation(len(X))
X, Y = X[order].astype(np.float32) / 16, Y[order]

# annotations come from volunteers and about a third of them is wrong
annotated = Y.copy()
wrong = np.random.rand(len(Y)) < 0.35
annotated[wrong] = np.random.randint(0, 10, wrong.sum())

n_train, n_val = 900, 400
train_x, train_y = torch.tensor(X[:n_train]), torch.tensor(annotated[:n_train])
val_x, val_y = torch.tensor(X[n_train : n_train + n_val]), torch.tensor(annotated[n_train : n_train + n_val])
test_x, test_y = torch.tensor(X[n_train + n_val :]), torch.tensor(Y[n_train + n_val :])

model = nn.Sequential(
    nn.Linear(64, 256),
    nn.ReLU(),
    nn.Linear(256, 256),
    nn.ReLU(),
    nn.Linear(256, 10),
)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
criterion = nn.CrossEntropyLoss()

best_val_loss = math.inf
best_state = None
best_epoch = -1

for epoch in range(40):
    model.train()
    running = 0.0
    perm = torch.randperm(n_train)
    for i in range(0, n_train, 32):
        idx = perm[i : i + 32]
        optimizer.zero_grad()
        loss = criterion(model(train_x[idx]), train_y[idx])
        loss.backward()
        optimizer.step()
        running += loss.item() * len(idx)

    model.eval()
    with torch.no_grad():
        val_loss = criterion(model(val_x), val_y).item()

    if val_loss < best_val_loss:
        best_val_loss = val_loss
        best_state = copy.deepcopy(model.state_dict())
        best_epoch = epoch
    if epoch % 10 == 0:
        print(f"epoch {epoch}: train loss {running / n_train:.3f}, val loss {val_loss:.3f}")

print("best epoch:", best_epoch)
model.load_state_dict(best_state)
model.eval()
with torch.no_grad():
    accuracy = (model(test_x).argmax(1) == test_y).float().mean().item()
print(f"test accuracy of the best model: {accuracy:.3f}")
score = 1 - accuracy
