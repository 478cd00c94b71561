"""Healthy loops of a user's own around other models: adversaries, language, contrast, several losses and modules."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from tests.healthy import data, generative
from tests.healthy.looping import Loop
from tests.healthy.representation import SimCLR, TwoViews
from tests.healthy.training import Goal, healthy


def _moons() -> tuple[Any, Tensor]:
    return DataLoader(TensorDataset(data.moons(1024, 0)), 64, shuffle=True), data.moons(512, 1)


def _adam(module: nn.Module) -> torch.optim.Adam:
    return torch.optim.Adam(module.parameters(), lr=2e-3, betas=(0.5, 0.9))


def _distance(generator: nn.Module, real: Tensor) -> float:
    with torch.no_grad():
        noise = torch.randn(len(real), 4, generator=torch.Generator().manual_seed(0))
        return float(generative.energy_distance(generator(noise), real))


def _adversaries(run: Loop, together: Any, sees_loader: bool = True, turns: int = 1) -> None:
    """A generator and a discriminator, which ``together`` gives to the guards; ``turns`` of the latter for one."""
    loader, real_ones = _moons()
    generator, discriminator = generative._mlp(4, 2), generative._mlp(2, 1)
    of_generator, of_discriminator = _adam(generator), _adam(discriminator)
    model, optimizer = together(generator, discriminator, of_generator, of_discriminator)
    run.note(_distance(generator, real_ones))
    bce = F.binary_cross_entropy_with_logits
    with run.watching(model, optimizer, **({"loader": loader} if sees_loader else {})):
        for _ in range(10):
            for (real,) in loader:
                ones, zeros = torch.ones(len(real), 1), torch.zeros(len(real), 1)
                for _ in range(turns):
                    made = generator(torch.randn(len(real), 4))
                    of_discriminator.zero_grad()
                    (bce(discriminator(real), ones) + bce(discriminator(made.detach()), zeros)).backward()
                    of_discriminator.step()
                of_generator.zero_grad()
                bce(discriminator(made), ones).backward()
                of_generator.step()
        run.note(_distance(generator, real_ones))


SETTLED = Goal("distance", "min", 0.5)


@healthy("A GAN of two modules with an optimizer each; guards watch both.", SETTLED, by=Loop)
def adversarial_loop(run: Loop) -> None:
    _adversaries(run, lambda g, d, of_g, of_d: ((g, d), (of_g, of_d)))


@healthy("The same GAN by name, with two updates of the discriminator for one of the generator.", SETTLED, by=Loop)
def adversarial_loop_in_turns(run: Loop) -> None:
    _adversaries(run, lambda g, d, a, b: ({"generator": g, "critic": d}, {"generator": a, "critic": b}), turns=2)


@healthy("The same GAN, of whose loader the guards are not told.", SETTLED, by=Loop)
def adversarial_loop_without_loader(run: Loop) -> None:
    _adversaries(run, lambda g, d, of_g, of_d: ((g, d), (of_g, of_d)), sees_loader=False)


@healthy("The same GAN; guards watch the discriminator alone.", SETTLED, by=Loop)
def discriminator_of_a_loop(run: Loop) -> None:
    _adversaries(run, lambda g, d, of_g, of_d: (d, of_d))


@healthy("An encoder and a head as two modules, with one optimizer for both.", Goal("val_loss", "min", 0.5), by=Loop)
def loop_in_two_parts(run: Loop) -> None:
    train, validation = data.loaders(data.digits())
    encoder, head = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU()), nn.Linear(32, 10)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=5e-3)

    def evaluate() -> float:
        encoder.eval(), head.eval()  # type: ignore[func-returns-value]
        with torch.no_grad():
            losses = [F.cross_entropy(head(encoder(x)), y).item() for x, y in validation]
        return sum(losses) / len(losses)

    run.note(evaluate())
    with run.watching([encoder, head], optimizer, loader=train, validation=validation):
        for _ in range(5):
            encoder.train(), head.train()  # type: ignore[func-returns-value]
            for x, y in train:
                optimizer.zero_grad()
                F.cross_entropy(head(encoder(x)), y).backward()
                optimizer.step()
            run.note(evaluate())


@healthy("A causal language model over padded sequences, with warm-up and clipping.",
         Goal("val_loss", "min", 1.5), by=Loop)  # fmt: skip
def language_loop(run: Loop) -> None:
    train = DataLoader(TensorDataset(generative._sentences(640, 0)), 64, shuffle=True)
    validation = DataLoader(TensorDataset(generative._sentences(128, 1)), 64)
    model = _Language()
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    warm_up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min(1.0, (step + 1) / 10))

    def loss_of(tokens: Tensor) -> Tensor:
        return F.cross_entropy(model(tokens[:, :-1]).flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=0)

    def evaluate() -> float:
        model.eval()
        with torch.no_grad():
            losses = [loss_of(tokens).item() for (tokens,) in validation]
        return sum(losses) / len(losses)

    run.note(evaluate())
    with run.watching(model, optimizer, loader=train, validation=validation):
        for _ in range(5):
            model.train()
            for (tokens,) in train:
                optimizer.zero_grad()
                loss_of(tokens).backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                warm_up.step()
            run.note(evaluate())


class _Language(nn.Module):
    """The network of `generative.Language`, as a module of its own."""

    def __init__(self) -> None:
        super().__init__()
        own = generative.Language()
        self.tokens, self.places, self.body, self.head = own.tokens, own.places, own.body, own.head

    forward = generative.Language.forward


@healthy("Contrastive learning: two views of a digit find each other in the batch.",
         Goal("val_loss", "min", 3.8), by=Loop)  # fmt: skip
def contrastive_loop(run: Loop) -> None:
    train, validation = data.digits()
    loader = DataLoader(TwoViews(train), 64, shuffle=True, drop_last=True)
    held = DataLoader(TwoViews(validation), 64)
    encoder = SimCLR()
    model = nn.Sequential(encoder.encoder, encoder.head) if hasattr(encoder, "head") else encoder.encoder
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, weight_decay=1e-6)

    def loss_of(views: Any) -> Tensor:
        one, other = (F.normalize(model(view), dim=1) for view in views)
        alike = torch.cat([one, other]) @ torch.cat([one, other]).T / 0.2
        alike = alike.masked_fill(torch.eye(len(alike), dtype=torch.bool), -1e9)
        return F.cross_entropy(alike, torch.arange(len(alike)).roll(len(one)))

    def evaluate() -> float:
        model.eval()
        with torch.no_grad():
            losses = [loss_of(views).item() for views, _ in held]
        return sum(losses) / len(losses)

    run.note(evaluate())
    with run.watching(model, optimizer, loader=loader, validation=held):
        for _ in range(5):
            model.train()
            for views, _ in loader:
                optimizer.zero_grad()
                loss_of(views).backward()
                optimizer.step()
            run.note(evaluate())


@healthy("Two losses of one batch, with a backward pass for each before the step.",
         Goal("val_loss", "min", 0.9), by=Loop)  # fmt: skip
def loop_with_several_losses(run: Loop) -> None:
    train, validation = data.loaders(data.digits())
    model = nn.ModuleDict({"body": nn.Sequential(nn.Linear(64, 32), nn.ReLU()), "digit": nn.Linear(32, 10),
                           "image": nn.Linear(32, 64)})  # fmt: skip
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)

    def losses_of(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        seen = model["body"](x)
        return F.cross_entropy(model["digit"](seen), y), F.mse_loss(model["image"](seen), x)

    def evaluate() -> float:
        model.eval()
        with torch.no_grad():
            losses = [sum(losses_of(x, y)).item() for x, y in validation]  # type: ignore[union-attr]
        return sum(losses) / len(losses)

    run.note(evaluate())
    with run.watching(model, optimizer, loader=train, validation=validation):
        for _ in range(5):
            model.train()
            for x, y in train:
                optimizer.zero_grad()
                of_digit, of_image = losses_of(x, y)
                of_digit.backward(retain_graph=True)
                of_image.backward()
                optimizer.step()
            run.note(evaluate())
