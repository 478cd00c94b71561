import argparse
import os

import numpy as np
import torch
import torch.autograd as autograd
import torch.nn as nn
from torch.utils.data import DataLoader, TensorDataset

os.makedirs("images", exist_ok=True)
parser = argparse.ArgumentParser()
parser.add_argument("--n_epochs", type=int, default=4)
parser.add_argument("--batch_size", type=int, default=64)
parser.add_argument("--lr", type=float, default=5e-4)
parser.add_argument("--b1", type=float, default=0.5)
parser.add_argument("--latent_dim", type=int, default=8)
parser.add_argument("--n_critic", type=int, default=5)
opt = parser.parse_args()
print(opt)
torch.manual_seed(0)
cuda = torch.cuda.is_available()
Tensor = torch.cuda.FloatTensor if cuda else torch.FloatTensor


class Generator(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(opt.latent_dim, 32), nn.LeakyReLU(0.2, inplace=True), nn.Linear(32, 2))

    def forward(self, z):
        return self.model(z)


class Critic(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(nn.Linear(2, 48), nn.LeakyReLU(0.2, inplace=True), nn.Linear(48, 24), nn.LeakyReLU(0.2, inplace=True), nn.Linear(24, 1))

    def forward(self, x):
        return self.model(x)


lambda_gp = 10
generator, discriminator = Generator(), Critic()
angle = torch.rand(1600) * 2 * np.pi
dataloader = DataLoader(TensorDataset(torch.stack([angle.cos(), angle.sin()], 1)), batch_size=opt.batch_size, shuffle=True)
optimizer_G = torch.optim.Adam(generator.parameters(), lr=opt.lr, betas=(opt.b1, 0.9))
optimizer_D = torch.optim.Adam(discriminator.parameters(), lr=opt.lr, betas=(opt.b1, 0.9))


def compute_gradient_penalty(D, real, fake):
    alpha = Tensor(np.random.random((real.size(0), 1)))
    mixed = (alpha * real + (1 - alpha) * fake).requires_grad_(True)
    d = D(mixed)
    grads = autograd.grad(outputs=d, inputs=mixed, grad_outputs=torch.ones_like(d), create_graph=True, retain_graph=True, only_inputs=True)[0]
    return ((grads.norm(2, dim=1) - 1) ** 2).mean()


np.random.seed(0)
batches_done = 0
for epoch in range(opt.n_epochs):
    for i, (imgs,) in enumerate(dataloader):
        optimizer_D.zero_grad()
        z = Tensor(np.random.normal(0, 1, (imgs.shape[0], opt.latent_dim)))
        fake = generator(z)
        gp = compute_gradient_penalty(discriminator, imgs.data, fake.data)
        d_loss = -torch.mean(discriminator(imgs)) + torch.mean(discriminator(fake)) + lambda_gp * gp
        d_loss.backward()
        optimizer_D.step()
        optimizer_G.zero_grad()
        if i % opt.n_critic == 0:
            g_loss = -torch.mean(discriminator(generator(z)))
            g_loss.backward()
            optimizer_G.step()
            print("[Epoch %d/%d] [Batch %d/%d] [D loss: %f] [G loss: %f]" % (epoch, opt.n_epochs, i, len(dataloader), d_loss.item(), g_loss.item()))
            if batches_done % 50 == 0:
                np.savetxt("images/%d.txt" % batches_done, generator(z).data.numpy()[:25])
            batches_done += opt.n_critic
