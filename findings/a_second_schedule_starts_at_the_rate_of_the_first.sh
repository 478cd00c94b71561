#!/usr/bin/env bash
# torch 2.13.0, Python 3.11, CPU.
#
# Expected: a learning rate schedule that is built for the second phase of a training, after `group["lr"]` was set to 1e-4 for it, runs
# from 1e-4, as it would on an optimizer that had no schedule before.
# Seen: that depends on its class. The first schedule leaves `initial_lr` in the optimizer's groups, and later ones keep it. LambdaLR and
# CosineAnnealingWarmRestarts start at it again: 1e-2, a hundred times too high. So does SequentialLR, even made of a LinearLR and a
# CosineAnnealingLR, which alone start from 1e-4; CyclicLR does so in its first step. The other classes tried are right. Nothing warns.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
cat > "$folder/seen.py" <<'PY'
import warnings

import torch
from torch.optim import lr_scheduler

print("torch", torch.__version__.partition("+")[0])


def second_phase(schedule, first_phase):
    """The learning rates of eight steps at 1e-4, with or without a first phase at 1e-2 that had a schedule of its own."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1e-2)
    if first_phase:
        first = lr_scheduler.ExponentialLR(optimizer, 0.9)
        for _ in range(5):
            optimizer.step()
            first.step()
    optimizer.param_groups[0]["lr"] = 1e-4
    second = schedule(optimizer)
    rates = []
    for _ in range(8):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        second.step()
    return rates


def warm(optimizer):
    return lr_scheduler.LinearLR(optimizer, 0.1, 1.0, 4)


def cosine(optimizer):
    return lr_scheduler.CosineAnnealingLR(optimizer, 8)


different = {}
with warnings.catch_warnings():
    warnings.simplefilter("error")
    for name, schedule in {
        "LambdaLR": lambda optimizer: lr_scheduler.LambdaLR(optimizer, lambda step: 1.0),
        "CosineAnnealingWarmRestarts": lambda optimizer: lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 8),
        "SequentialLR": lambda optimizer: lr_scheduler.SequentialLR(optimizer, [warm(optimizer), cosine(optimizer)], [4]),
        "CyclicLR": lambda optimizer: lr_scheduler.CyclicLR(optimizer, 1e-5, 1e-4, 4),
        "LinearLR": warm,
        "CosineAnnealingLR": cosine,
        "ChainedScheduler": lambda optimizer: lr_scheduler.ChainedScheduler([warm(optimizer), cosine(optimizer)]),
        "MultiplicativeLR": lambda optimizer: lr_scheduler.MultiplicativeLR(optimizer, lambda step: 1.0),
        "StepLR": lambda optimizer: lr_scheduler.StepLR(optimizer, 4),
        "PolynomialLR": lambda optimizer: lr_scheduler.PolynomialLR(optimizer, 8),
        "OneCycleLR": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 1e-4, 9),
    }.items():
        alone, second = second_phase(schedule, False), second_phase(schedule, True)
        if second != alone:
            different[name] = sum(one != other for one, other in zip(alone, second, strict=True))
        print(f"{name}: first rate {second[0]:.3g} instead of {alone[0]:.3g}" if second != alone else f"{name}: {alone[0]:.3g}, as it is alone")
assert different == {"LambdaLR": 8, "CosineAnnealingWarmRestarts": 8, "SequentialLR": 8, "CyclicLR": 1}
PY
"$folder/venv/bin/python" "$folder/seen.py"
