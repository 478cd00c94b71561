#!/usr/bin/env bash
# pytorch_optimizer 4.1.0, torch 2.13.0, Python 3.11, CPU.
#
# Expected: a linear warm-up that begins at a learning rate of 0, as those of common libraries do, wastes its first step: no weight moves.
# Seen: so it is for the package's AdamW and Lion. FTRL divides by the rate: after that one step every weight is NaN, without a message.
# The package's ASGD and Gravity raise a ZeroDivisionError in it. With a warm-up that begins at a tenth of the rate all of them train.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 pytorch_optimizer==4.1.0
cat > "$folder/seen.py" <<'PY'
import importlib.metadata
import math
import warnings

import torch
from pytorch_optimizer import load_optimizer

print("pytorch_optimizer", importlib.metadata.version("pytorch_optimizer"), "torch", torch.__version__.partition("+")[0])
torch.set_num_threads(1)
torch.manual_seed(0)
inputs, targets = torch.randn(16, 6), torch.randn(16, 3)


def first_step(name, share):
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.Tanh(), torch.nn.Linear(8, 3))
    before = [parameter.detach().clone() for parameter in net.parameters()]
    optimizer = load_optimizer(name)(net.parameters(), lr=1e-3)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: share)
    (net(inputs) - targets).pow(2).mean().backward()
    try:
        optimizer.step()
    except ZeroDivisionError as error:
        return type(error).__name__
    changes = [(new - old).abs() for new, old in zip(net.parameters(), before, strict=True)]
    if all(change.isnan().all() for change in changes):
        return "every weight is NaN"
    largest = max(change.max().item() for change in changes)
    return "no weight moves" if largest == 0 else "weights move" if math.isfinite(largest) else "some weights are not finite"


with warnings.catch_warnings():
    warnings.simplefilter("error")
    seen = {name: [first_step(name, share) for share in (0.0, 0.1)] for name in ("adamw", "lion", "ftrl", "asgd", "gravity")}
for name, (zero, tenth) in seen.items():
    print(f"{name}: from 0 {zero}, from a tenth {tenth}")
assert {name: zero for name, (zero, _) in seen.items()} == {
    "adamw": "no weight moves", "lion": "no weight moves", "ftrl": "every weight is NaN", "asgd": "ZeroDivisionError",
    "gravity": "ZeroDivisionError",
}
assert all(tenth == "weights move" for _, tenth in seen.values())
PY
cd "$folder"
"$folder/venv/bin/python" seen.py
