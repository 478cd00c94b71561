import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset


def create_dataloaders(batch_size, num_workers=0):
    d = load_digits()
    x = torch.tensor(d.images, dtype=torch.float32)[:, None] / 16
    y = torch.tensor(d.target)
    train = TensorDataset(x[:1000], y[:1000])
    test = TensorDataset(x[1000:1400], y[1000:1400])
    return (DataLoader(train, batch_size, shuffle=True, num_workers=num_workers, pin_memory=False),
            DataLoader(test, batch_size, shuffle=False, num_workers=num_workers), [str(n) for n in d.target_names])
