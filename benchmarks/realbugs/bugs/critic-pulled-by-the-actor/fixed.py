"""A policy that is rewarded for naming the digit, with a critic that predicts the reward."""

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.realbugs.material import Net, batches, digits
from benchmarks.realbugs.training import Loop


class Agent(nn.Module):
    def __init__(self):
        super().__init__()
        self.actor, self.critic = Net(width=32), Net(64, 1, 32)

    def forward(self, images):
        return self.actor(images)


def objective(model, batch):
    images, labels = batch
    policy = torch.distributions.Categorical(logits=model(images))
    actions = policy.sample()
    rewards = (actions == labels).float()
    values = model.critic(images).squeeze(1)
    advantages = rewards - values.detach()
    return -(advantages * policy.log_prob(actions)).mean() + 0.5 * F.mse_loss(values, rewards)


def build():
    train_set, held_out = digits()
    model = Agent()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.005)
    return Loop(model, batches(train_set), objective, batches(held_out, 700, False), optimizer=optimizer)


def train(parts):
    parts.model.train()
    for _ in range(8):
        for batch in parts.loader:
            parts.optimizer.zero_grad()
            loss = objective(parts.model, batch)
            loss.backward()
            parts.optimizer.step()


def measure(parts):
    images, labels = parts.validation.dataset.tensors
    parts.model.eval()
    with torch.no_grad():
        expected = parts.model(images).softmax(1).gather(1, labels.unsqueeze(1))
        return float(F.mse_loss(parts.model.critic(images), expected))
