# ====================================================
# Library
# ====================================================
import gc
import os
import random
import time

import numpy as np
import torch
import torch.nn as nn
from sklearn.datasets import load_breast_cancer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from torch.optim import Adam
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm


# ====================================================
# CFG
# ====================================================
class CFG:
    debug = False
    epochs = 3
    lr = 2e-3
    batch_size = 32
    weight_decay = 1e-6
    gradient_accumulation_steps = 1
    max_grad_norm = 1000
    seed = 42
    n_fold = 3
    trn_fold = [0, 1, 2]
    train = True


OUTPUT_DIR = './output/'
if not os.path.exists(OUTPUT_DIR):
    os.makedirs(OUTPUT_DIR)


def seed_torch(seed=42):
    random.seed(seed)
    os.environ['PYTHONHASHSEED'] = str(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = True


seed_torch(seed=CFG.seed)
device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')


class TrainDataset(Dataset):
    def __init__(self, feats, labels):
        self.feats, self.labels = feats, labels

    def __len__(self):
        return len(self.feats)

    def __getitem__(self, idx):
        return {'x': torch.tensor(self.feats[idx]).float(), 'y': torch.tensor(self.labels[idx]).float()}


class Model(nn.Module):
    def __init__(self, n_in):
        super().__init__()
        self.bn = nn.BatchNorm1d(n_in)
        self.fc1 = nn.utils.weight_norm(nn.Linear(n_in, 32)) if False else nn.Linear(n_in, 32)
        self.drop = nn.Dropout(0.2)
        self.fc2 = nn.Linear(32, 1)

    def forward(self, x):
        return self.fc2(self.drop(torch.relu(self.fc1(self.bn(x)))))


class AverageMeter(object):
    def __init__(self):
        self.reset()

    def reset(self):
        self.val = self.avg = self.sum = self.count = 0

    def update(self, val, n=1):
        self.val = val
        self.sum += val * n
        self.count += n
        self.avg = self.sum / self.count


def train_fn(train_loader, model, criterion, optimizer, epoch, device):
    losses = AverageMeter()
    model.train()
    for step, batch in enumerate(tqdm(train_loader, total=len(train_loader))):
        x, y = batch['x'].to(device), batch['y'].to(device)
        loss = criterion(model(x).view(-1), y)
        losses.update(loss.item(), y.size(0))
        if CFG.gradient_accumulation_steps > 1:
            loss = loss / CFG.gradient_accumulation_steps
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CFG.max_grad_norm)
        if (step + 1) % CFG.gradient_accumulation_steps == 0:
            optimizer.step()
            optimizer.zero_grad()
    return losses.avg


def valid_fn(valid_loader, model, criterion, device):
    losses = AverageMeter()
    model.eval()
    preds = []
    for batch in valid_loader:
        x, y = batch['x'].to(device), batch['y'].to(device)
        with torch.no_grad():
            y_preds = model(x).view(-1)
        losses.update(criterion(y_preds, y).item(), y.size(0))
        preds.append(y_preds.sigmoid().to('cpu').numpy())
    return losses.avg, np.concatenate(preds)


def train_loop(X, y, trn_idx, val_idx, fold):
    print(f"========== fold: {fold} training ==========")
    train_loader = DataLoader(TrainDataset(X[trn_idx], y[trn_idx]), batch_size=CFG.batch_size, shuffle=True, drop_last=True)
    valid_loader = DataLoader(TrainDataset(X[val_idx], y[val_idx]), batch_size=CFG.batch_size * 2, shuffle=False)
    model = Model(X.shape[1]).to(device)
    optimizer = Adam(model.parameters(), lr=CFG.lr, weight_decay=CFG.weight_decay)
    scheduler = ReduceLROnPlateau(optimizer, mode='min', factor=0.2, patience=2)
    criterion = nn.BCEWithLogitsLoss()
    best_score = 0.
    for epoch in range(CFG.epochs):
        start = time.time()
        avg_loss = train_fn(train_loader, model, criterion, optimizer, epoch, device)
        avg_val_loss, preds = valid_fn(valid_loader, model, criterion, device)
        scheduler.step(avg_val_loss)
        score = roc_auc_score(y[val_idx], preds)
        print(f'Epoch {epoch+1} - avg_train_loss: {avg_loss:.4f}  avg_val_loss: {avg_val_loss:.4f}  time: {time.time()-start:.0f}s')
        print(f'Epoch {epoch+1} - Score: {score:.4f}')
        if score > best_score:
            best_score = score
            torch.save({'model': model.state_dict(), 'preds': preds}, OUTPUT_DIR + f'mlp_fold{fold}_best.pth')
    return torch.load(OUTPUT_DIR + f'mlp_fold{fold}_best.pth', weights_only=False)['preds']


def main():
    X, y = load_breast_cancer(return_X_y=True)
    folds = StratifiedKFold(n_splits=CFG.n_fold, shuffle=True, random_state=CFG.seed)
    oof = np.zeros(len(y))
    for fold, (trn_idx, val_idx) in enumerate(folds.split(X, y)):
        if fold in CFG.trn_fold:
            oof[val_idx] = train_loop(X, y, trn_idx, val_idx, fold)
            gc.collect()
    print("========== CV ==========")
    print(f'Score: {roc_auc_score(y, oof):<.5f}')


if __name__ == '__main__':
    main()
