"""python train.py --epochs 3"""
import argparse

import torch
from torch import nn

import data_setup
import engine
from model_builder import TinyVGG
from utils import save_model, set_seeds

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--hidden", type=int, default=8)
parser.add_argument("--lr", type=float, default=5e-3)
args = parser.parse_args()

device = "cuda" if torch.cuda.is_available() else "cpu"
set_seeds(42)
train_dl, test_dl, class_names = data_setup.create_dataloaders(batch_size=32)
model = TinyVGG(1, args.hidden, len(class_names)).to(device)
loss_fn = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), lr=args.lr)
results = engine.train(model, train_dl, test_dl, optimizer, loss_fn, args.epochs, device)
save_model(model, "models", "tinyvgg.pth")
