import multiprocessing as mp
import pickle

import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset


def preprocess(i):
    g = torch.Generator().manual_seed(i)
    x = torch.randn(5, generator=g)
    return Sample(x.tolist(), float(x.sum()))


class Sample:
    def __init__(self, x, y):
        self.x, self.y = x, y


class Samples(Dataset):
    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        s = self.samples[i]
        return torch.tensor(s.x), torch.tensor([s.y])


def collate(items):
    xs, ys = zip(*items)
    return torch.stack(xs), torch.stack(ys)


class Lit(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(5, 1)

    def training_step(self, batch, _):
        x, y = batch
        return nn.functional.mse_loss(self.layer(x), y)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.05)


if __name__ == "__main__":
    mp.set_start_method("spawn", force=True)
    with mp.Pool(2) as pool:
        samples = pool.map(preprocess, range(320))
    with open("cache.pkl", "wb") as f:
        pickle.dump(samples, f)
    with open("cache.pkl", "rb") as f:
        assert isinstance(pickle.load(f)[0], Sample)
    loader = DataLoader(Samples(samples), 16, shuffle=True, num_workers=2, collate_fn=collate)
    pl.Trainer(max_epochs=5).fit(Lit(), loader)
