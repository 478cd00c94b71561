"""A denoiser of digits that two processes train, each with samples of its own."""

import torch
import torch.distributed as dist
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, DistributedSampler

from benchmarks.realbugs.material import batches, digits
from benchmarks.realbugs.ranks import WORLD, together
from benchmarks.realbugs.training import Loop

SEED = 17


def denoising(model, images, noise, levels):
    noisy = (1 - levels) * images + levels * noise
    return F.mse_loss(model(torch.cat([noisy, levels], 1)), noise - images)


def objective(model, batch):
    images = batch[0]
    return denoising(model, images, torch.randn_like(images), torch.rand(len(images), 1))


def build():
    train_set, held_out = digits(640)
    model = nn.Sequential(nn.Linear(65, 96), nn.SiLU(), nn.Linear(96, 64))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.003)
    return Loop(model, batches(train_set), objective, batches(held_out, 128, False), optimizer=optimizer)


def train(parts):
    def work(rank):
        wrapped = DistributedDataParallel(parts.model)
        sampler = DistributedSampler(parts.loader.dataset, WORLD, rank)
        noise = torch.Generator().manual_seed(SEED + rank)
        same = []
        wrapped.train()
        for epoch in range(2):
            sampler.set_epoch(epoch)
            for images, _ in DataLoader(parts.loader.dataset, 32, sampler=sampler):
                drawn = torch.randn(images.shape, generator=noise)
                levels = torch.rand(len(images), 1, generator=noise)
                parts.optimizer.zero_grad()
                loss = denoising(wrapped, images, drawn, levels)
                loss.backward()
                parts.optimizer.step()
                both = [torch.empty_like(drawn) for _ in range(WORLD)]
                dist.all_gather(both, drawn)
                same.append(torch.equal(*both))
        return sum(same) / len(same)

    parts.kept["same"] = together(work)


def measure(parts):
    return parts.kept["same"]
