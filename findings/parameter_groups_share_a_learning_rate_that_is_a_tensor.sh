#!/usr/bin/env bash
# torch 2.13.0, Python 3.11, CPU.
#
# Expected: a learning rate that is a tensor, as fused and capturable optimizers take it, is a rate like a number: a schedule with one rate
# for each parameter group gives each group its own, and the schedule of one optimizer changes that optimizer alone.
# Seen: groups without a rate of their own hold one tensor, and a schedule writes into it. OneCycleLR(max_lr=[1e-2, 1e-4]) and LambdaLR with
# two functions give both groups the rate of the last one, a hundredth of the right one for the first, and get_last_lr() reports it for both.
# Two optimizers that are made with the same tensor share it, too: the schedule of a GAN's generator slows its discriminator. Nothing warns.
# A number is right, and so is a tensor for each group.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
cat > "$folder/seen.py" <<'PY'
import math
import warnings

import torch
from torch.optim import Adam, lr_scheduler

print("torch", torch.__version__.partition("+")[0])
torch.set_num_threads(1)
warnings.simplefilter("error")


def weight():
    return torch.nn.Parameter(torch.zeros(1))


def stepped(optimizer):
    """How far a step with gradients of one moves the weight of each group."""
    weights = [group["params"][0] for group in optimizer.param_groups]
    before = [one.item() for one in weights]
    for one in weights:
        one.grad = torch.ones(1)
    optimizer.step()
    return [abs(one.item() - old) for one, old in zip(weights, before)]


def scheduled(groups, rate, schedule):
    """The sizes of the third step in two groups, and the rates that the schedule reports for it."""
    optimizer = Adam([{"params": [weight()], **group} for group in groups], lr=rate, fused=True)
    schedule = schedule(optimizer)
    for _ in range(2):
        stepped(optimizer)
        schedule.step()
    rates = [float(one) for one in schedule.get_last_lr()]
    return stepped(optimizer), rates


def shown(values):
    return ", ".join(f"{value:.0e}" for value in values)


def ratio(pair):
    return pair[0] / pair[1]


schedules = {
    "OneCycleLR(max_lr=[1e-2, 1e-4])": lambda optimizer: lr_scheduler.OneCycleLR(
        optimizer, max_lr=[1e-2, 1e-4], total_steps=10, cycle_momentum=False
    ),
    "LambdaLR, 1 and 1/100": lambda optimizer: lr_scheduler.LambdaLR(optimizer, [lambda step: 1.0, lambda step: 0.01]),
}
for name, schedule in schedules.items():
    for rate in (1e-3, torch.tensor(1e-3)):
        kind = type(rate).__name__
        moved, rates = scheduled([{}, {}], rate, schedule)
        print(f"{name}, a {kind}: the steps of the groups are {shown(moved)}, the rates reported are {shown(rates)}")
        expected = 1 if isinstance(rate, torch.Tensor) else 100
        assert math.isclose(ratio(moved), expected, rel_tol=1e-3)
        assert math.isclose(ratio(rates), expected, rel_tol=1e-3)
        if expected == 1:
            assert math.isclose(rates[0], right[1], rel_tol=1e-3)
        right = rates
    own = [{"lr": torch.tensor(1e-3)}, {"lr": torch.tensor(1e-3)}]
    moved, rates = scheduled(own, 1e-3, schedule)
    print(f"{name}, a Tensor for each group: the steps of the groups are {shown(moved)}")
    assert math.isclose(ratio(moved), 100, rel_tol=1e-3)

for rate in (1e-3, torch.tensor(1e-3)):
    generator, discriminator = Adam([weight()], lr=rate, fused=True), Adam([weight()], lr=rate, fused=True)
    schedule = lr_scheduler.StepLR(generator, step_size=1, gamma=0.1)
    stepped(generator), stepped(discriminator)
    schedule.step()
    moved = stepped(generator)[0], stepped(discriminator)[0]
    print(f"two optimizers, a {type(rate).__name__}: the steps after the generator's schedule are {shown(moved)}")
    assert math.isclose(ratio(moved), 1 if isinstance(rate, torch.Tensor) else 0.1, rel_tol=1e-3)
PY
"$folder/venv/bin/python" "$folder/seen.py"
