"""Toy diffusion model on the swiss roll."""
import copy
import math

import torch
import torch.nn as nn
from sklearn.datasets import make_swiss_roll
from torch.optim import Adam
from torch.utils.data import DataLoader


def cycle(dl):
    while True:
        for data in dl:
            yield data


class EMA:
    def __init__(self, beta):
        self.beta = beta

    def update_model_average(self, ma_model, current_model):
        for c, m in zip(current_model.parameters(), ma_model.parameters()):
            m.data = m.data * self.beta + (1 - self.beta) * c.data


class TimeEmbedding(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, t):
        half = self.dim // 2
        f = torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1)))
        e = t[:, None] * f[None]
        return torch.cat((e.sin(), e.cos()), dim=-1)


class Denoiser(nn.Module):
    def __init__(self, dim=48):
        super().__init__()
        self.time = nn.Sequential(TimeEmbedding(dim), nn.Linear(dim, dim), nn.SiLU())
        self.inp = nn.Linear(2, dim)
        self.mid = nn.ModuleList([nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, dim), nn.SiLU()) for _ in range(2)])
        self.out = nn.Linear(dim, 2)

    def forward(self, x, t):
        h = self.inp(x)
        e = self.time(t)
        for layer in self.mid:
            h = h + layer(h + e)
        return self.out(h)


class GaussianDiffusion(nn.Module):
    def __init__(self, denoise_fn, timesteps=50):
        super().__init__()
        self.denoise_fn = denoise_fn
        self.num_timesteps = timesteps
        betas = torch.linspace(1e-3, 0.1, timesteps)
        abar = torch.cumprod(1 - betas, 0)
        self.register_buffer("betas", betas)
        self.register_buffer("sqrt_abar", abar.sqrt())
        self.register_buffer("sqrt_1m", (1 - abar).sqrt())

    def p_losses(self, x, t):
        noise = torch.randn_like(x)
        noisy = self.sqrt_abar[t][:, None] * x + self.sqrt_1m[t][:, None] * noise
        return nn.functional.l1_loss(self.denoise_fn(noisy, t), noise)

    def forward(self, x):
        t = torch.randint(0, self.num_timesteps, (x.shape[0],), device=x.device).long()
        return self.p_losses(x, t)

    @torch.no_grad()
    def sample(self, n):
        x = torch.randn(n, 2)
        for i in reversed(range(self.num_timesteps)):
            t = torch.full((n,), i)
            eps = self.denoise_fn(x, t)
            x = (x - self.betas[i] / self.sqrt_1m[i] * eps) / (1 - self.betas[i]).sqrt()
            if i:
                x = x + self.betas[i].sqrt() * torch.randn_like(x)
        return x


class Trainer:
    def __init__(self, diffusion, *, train_batch_size=64, train_lr=1e-3, train_num_steps=120, gradient_accumulate_every=2, ema_decay=0.995, save_every=60):
        self.model = diffusion
        self.ema = EMA(ema_decay)
        self.ema_model = copy.deepcopy(self.model)
        self.batch_size, self.grad_acc, self.n, self.save_every = train_batch_size, gradient_accumulate_every, train_num_steps, save_every
        x, _ = make_swiss_roll(2000, noise=0.3, random_state=0)
        self.dl = cycle(DataLoader(torch.tensor(x[:, [0, 2]], dtype=torch.float32) / 10, batch_size=train_batch_size, shuffle=True, pin_memory=False))
        self.opt = Adam(diffusion.parameters(), lr=train_lr)
        self.step = 0

    def save(self, milestone):
        torch.save({'step': self.step, 'model': self.model.state_dict(), 'ema': self.ema_model.state_dict()}, f'model-{milestone}.pt')

    def train(self):
        while self.step < self.n:
            for _ in range(self.grad_acc):
                loss = self.model(next(self.dl))
                (loss / self.grad_acc).backward()
            if self.step % 10 == 0:
                print(f'{self.step}: {loss.item()}')
            self.opt.step()
            self.opt.zero_grad()
            if self.step % 10 == 0:
                self.ema.update_model_average(self.ema_model, self.model)
            if self.step != 0 and self.step % self.save_every == 0:
                self.ema_model.sample(16)
                self.save(self.step // self.save_every)
            self.step += 1
        print('training completed')


torch.manual_seed(0)
trainer = Trainer(GaussianDiffusion(Denoiser()))
trainer.train()
