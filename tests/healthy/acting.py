"""Healthy trainings of agents: what they learn from they have done themselves."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, IterableDataset

from tests.healthy.training import Fit, Goal, healthy


class Corridor:
    """A corridor of seven places: the agent begins in the middle, and 1 is paid at its right end, after 20 moves 0."""

    PLACES, MOVES, LIMIT = 7, 2, 20

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> Tensor:
        self.place, self.moves = self.PLACES // 2, 0
        return self.seen()

    def seen(self) -> Tensor:
        return F.one_hot(torch.tensor(self.place), self.PLACES).float()

    def step(self, move: int) -> tuple[Tensor, float, bool]:
        """Goes left (0) or right (1). Returns what is seen then, what is paid, and whether that was the end."""
        self.place = max(0, self.place + (1 if move else -1))
        self.moves += 1
        arrived = self.place == self.PLACES - 1
        return self.seen(), float(arrived), arrived or self.moves == self.LIMIT


class Replay(IterableDataset[Any]):
    """Draws ``count`` of the remembered transitions anew in every epoch; the memory grows while it is read."""

    def __init__(self, memory: deque[Any], count: int) -> None:
        self.memory = memory
        self.count = count

    def __iter__(self) -> Iterator[Any]:
        yield from random.choices(self.memory, k=self.count)


class Dqn(pl.LightningModule):
    """Plays a move in every training step, and learns from those that it remembers; has a target network."""

    def __init__(self, batch_size: int = 32) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.net = nn.Sequential(nn.Linear(Corridor.PLACES, 32), nn.ReLU(), nn.Linear(32, Corridor.MOVES))
        self.target = nn.Sequential(nn.Linear(Corridor.PLACES, 32), nn.ReLU(), nn.Linear(32, Corridor.MOVES))
        self.target.load_state_dict(self.net.state_dict())
        self.target.requires_grad_(False)
        self.memory: deque[Any] = deque(maxlen=500)
        self.returns: deque[float] = deque([0.0], maxlen=10)
        self.world = Corridor()
        for _ in range(100):
            self.play(1.0)

    def forward(self, seen: Tensor) -> Tensor:
        return self.net(seen)

    @torch.no_grad()
    def play(self, curiosity: float) -> None:
        """Makes one move, at random with the probability ``curiosity``, and remembers it."""
        seen = self.world.seen()
        move = random.randrange(Corridor.MOVES) if random.random() < curiosity else int(self(seen).argmax())
        after, paid, done = self.world.step(move)
        self.memory.append((seen, move, paid, done, after))
        if done:
            self.returns.append(paid * 0.9**self.world.moves)
            self.world.reset()

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        self.play(max(0.05, 1 - self.global_step / 100))
        seen, moves, paid, done, after = batch
        values = self(seen).gather(1, moves[:, None])[:, 0]
        with torch.no_grad():
            wanted = paid.float() + 0.9 * self.target(after).amax(1) * ~done
        loss = F.smooth_l1_loss(values, wanted)
        if self.global_step % 10 == 0:
            self.target.load_state_dict(self.net.state_dict())
        self.log_dict({"loss": loss, "return": sum(self.returns) / len(self.returns)})
        return loss

    def train_dataloader(self) -> Any:
        return DataLoader(Replay(self.memory, 10 * self.hparams.batch_size), self.hparams.batch_size)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=5e-3)


@healthy(
    "DQN: a replay memory that grows while it is read, a target network, no validation.", Goal("return", "max", 0.5)
)
def replay(fit: Fit) -> None:
    fit(Dqn(), max_epochs=25)


class Rollouts(IterableDataset[Any]):
    """Plays with the policy as it is now: 128 moves an epoch, as batches of all of them, several times."""

    def __init__(self, agent: Ppo, moves: int = 128) -> None:
        self.agent = agent
        self.moves = moves

    def __iter__(self) -> Iterator[Any]:
        yield from self.agent.rollout(self.moves)


class Ppo(pl.LightningModule):
    """Improves policy and value on each rollout several times, under manual optimisation; the losses need not fall."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.actor = nn.Sequential(nn.Linear(Corridor.PLACES, 32), nn.Tanh(), nn.Linear(32, Corridor.MOVES))
        self.critic = nn.Sequential(nn.Linear(Corridor.PLACES, 32), nn.Tanh(), nn.Linear(32, 1))
        self.world = Corridor()
        self.returns: deque[float] = deque(maxlen=10)

    def forward(self, seen: Tensor) -> tuple[Any, Tensor]:
        return torch.distributions.Categorical(logits=self.actor(seen)), self.critic(seen)[:, 0]

    @torch.no_grad()
    def rollout(self, count: int) -> list[Any]:
        """Plays so many moves. Returns a tuple a move: seen, move, its log-probability, advantage, return."""
        played, paid, ended = [], [], []
        for _ in range(count):
            seen = self.world.seen()
            policy, value = self(seen[None])
            move = policy.sample()
            _, reward, done = self.world.step(int(move))
            played.append((seen, move[0], policy.log_prob(move)[0], value[0]))
            paid.append(reward)
            ended.append(done)
            if done:
                self.returns.append(reward * 0.9**self.world.moves)
                self.world.reset()
        coming, rows = torch.zeros(()), []
        for (seen, move, log_prob, value), reward, done in reversed([*zip(played, paid, ended)]):
            coming = reward + 0.9 * coming * (not done)
            rows.append((seen, move, log_prob, coming - value, coming))
        return rows[::-1]

    def training_step(self, batch: Any, batch_idx: int) -> None:
        seen, moves, before, advantages, returns = batch
        optimizer = self.optimizers()
        advantages = (advantages - advantages.mean()) / (advantages.std() + 1e-6)
        for _ in range(4):
            policy, values = self(seen)
            ratios = (policy.log_prob(moves) - before).exp()
            gained = torch.minimum(ratios * advantages, ratios.clamp(0.8, 1.2) * advantages).mean()
            loss = -gained + 0.5 * F.mse_loss(values, returns) - 0.01 * policy.entropy().mean()
            optimizer.zero_grad()
            self.manual_backward(loss)
            self.clip_gradients(optimizer, gradient_clip_val=0.5, gradient_clip_algorithm="norm")
            optimizer.step()
        self.log_dict({"loss": loss, "return": sum(self.returns) / max(1, len(self.returns))})

    def train_dataloader(self) -> Any:
        return DataLoader(Rollouts(self), 32)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=1e-2)


@healthy("PPO: four updates a batch of what the policy has just played, with losses that rise and fall.",
         Goal("return", "max", 0.5))  # fmt: skip
def ppo(fit: Fit) -> None:
    fit(Ppo(), max_epochs=12)


class Reinforce(pl.LightningModule):
    """Follows the gradient of what an action pays, drawn anew in every step; its loader yields only a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.policy = nn.Linear(4, 4)

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        situations = F.one_hot(torch.randint(0, 4, (64,)), 4).float()
        policy = torch.distributions.Categorical(logits=self.policy(situations))
        actions = policy.sample()
        rewards = (actions == (situations.argmax(1) + 1) % 4).float()
        self.log("reward", rewards.mean())
        return -(policy.log_prob(actions) * (rewards - rewards.mean())).mean()

    def train_dataloader(self) -> Any:
        return DataLoader(torch.arange(20).tolist(), 1)

    def configure_optimizers(self) -> Any:
        return torch.optim.Adam(self.parameters(), lr=0.05)


@healthy("REINFORCE: the loader only counts, what is learned from is drawn in the step, and the loss crosses zero.",
         Goal("reward", "max", 0.8))  # fmt: skip
def policy_gradient(fit: Fit) -> None:
    fit(Reinforce(), max_epochs=6)
