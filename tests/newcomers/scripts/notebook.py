#!/usr/bin/env python
# coding: utf-8

# # Two moons with Lightning
# In[1]:

try:
    get_ipython().run_line_magic("matplotlib", "inline")
    get_ipython().system("pip install -q lightning")
except NameError:
    pass

# In[2]:

import lightning as L
import torch
import torch.nn as nn
from sklearn.datasets import make_moons
from torch.utils.data import DataLoader, TensorDataset

device = "cuda" if torch.cuda.is_available() else "cpu"
print(device)

# In[3]:

X, y = make_moons(n_samples=500, noise=0.1, random_state=0)
ds = TensorDataset(torch.tensor(X, dtype=torch.float32), torch.tensor(y))
dl = DataLoader(ds, batch_size=20, shuffle=True)
next(iter(dl))[0].shape

# In[4]:


class Moons(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 2))

    def training_step(self, batch, idx):
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=1e-2)


# In[5]:

model = Moons()
sum(p.numel() for p in model.parameters())

# In[6]:

trainer = L.Trainer(max_epochs=20, enable_progress_bar=True)
trainer.fit(model, dl)

# In[7]:

get_ipython().system("ls lightning_logs")
