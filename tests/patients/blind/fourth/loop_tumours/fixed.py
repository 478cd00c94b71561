import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
EPOCHS = 12
BATCH_SIZE = 16

X, y = load_breast_cancer(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(X, y, test_size=160, random_state=7, stratify=y)
scaler = StandardScaler()
X_train = torch.from_numpy(scaler.fit_transform(X_train)).float()
X_val = torch.from_numpy(scaler.transform(X_val)).float()
y_train = torch.from_numpy(y_train).float()
y_val = torch.from_numpy(y_val).float()

train_loader = DataLoader(TensorDataset(X_train, y_train), batch_size=BATCH_SIZE, shuffle=True)
validation_loader = DataLoader(TensorDataset(X_val, y_val), batch_size=BATCH_SIZE)


class BinaryClassifier(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer_1 = nn.Linear(30, 24)
        self.layer_2 = nn.Linear(24, 12)
        self.layer_out = nn.Linear(12, 1)
        self.dropout = nn.Dropout(p=0.1)

    def forward(self, x):
        x = torch.relu(self.layer_1(x))
        x = self.dropout(torch.relu(self.layer_2(x)))
        return torch.sigmoid(self.layer_out(x))


model = BinaryClassifier()
criterion = nn.BCELoss()
optimizer = torch.optim.Adam(model.parameters(), lr=0.003)

for e in range(1, EPOCHS + 1):
    model.train()
    train_epoch_loss = 0
    for x_batch_train, y_batch_train in train_loader:
        optimizer.zero_grad()
        y_pred_probs_train = model(x_batch_train).squeeze(1)
        train_loss = criterion(y_pred_probs_train, y_batch_train)
        train_loss.backward()
        optimizer.step()
        train_epoch_loss += train_loss.item()

    model.eval()
    val_epoch_loss = 0
    with torch.no_grad():
        for x_batch_val, y_batch_val in validation_loader:
            y_pred_probs_val = model(x_batch_val).squeeze(1)
            val_loss = criterion(y_pred_probs_val, y_batch_val)
            val_epoch_loss += val_loss.item()

    train_epoch_loss /= len(train_loader)
    val_epoch_loss /= len(validation_loader)
    print(f"Epoch {e:02}: | Train Loss: {train_epoch_loss:.5f} | Val Loss: {val_epoch_loss:.5f}")

with torch.no_grad():
    whole = criterion(model(X_val).squeeze(1), y_val).item()
print(f"Loss on the whole validation set: {whole:.5f}")
score = abs(val_epoch_loss - whole) / whole
