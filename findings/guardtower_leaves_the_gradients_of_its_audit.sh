#!/usr/bin/env bash
# guardtower 0.1.0 (a check of one training step before a run), torch 2.13.0, Python 3.11, CPU.
#
# Expected: guardtower.audit leaves the model as it was, so that the training after it is the one without it.
# Seen: the weights and the optimizer are as before, and the rest is not: each parameter keeps the audit's gradient, BatchNorm has counted
# the batch, and random numbers are drawn. A loop that clears gradients after its step, not before, takes its first step with the sum:
# twice the gradient, if its first batch is the audited one.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 guardtower==0.1.0
cat > "$folder/seen.py" <<'PY'
import importlib.metadata

import guardtower
import torch
from torch import nn

print("guardtower", importlib.metadata.version("guardtower"), "torch", torch.__version__.partition("+")[0])
torch.set_num_threads(1)
torch.manual_seed(0)
inputs, labels = torch.randn(16, 8), torch.randint(0, 4, (16,))


def first_step(audited, layers):
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(8, 16), *layers, nn.ReLU(), nn.Linear(16, 4))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    start = torch.get_rng_state()
    if audited:
        closure = lambda: nn.functional.cross_entropy(model(inputs), labels)  # noqa: E731
        guardtower.audit(model, closure, optimizer=optimizer, inputs=inputs)
        kept = {name for name, value in model.state_dict().items() if "running" in name and value.abs().sum() > 0}
        print("after the audit: gradients", all(p.grad is not None for p in model.parameters()), "| batches counted",
              [int(layer.num_batches_tracked) for layer in layers if isinstance(layer, nn.BatchNorm1d)],
              "| random state as before", torch.equal(start, torch.get_rng_state()))
        assert all(parameter.grad is not None for parameter in model.parameters())
        assert bool(kept) is any(isinstance(layer, nn.BatchNorm1d) for layer in layers)
    before = model[0].weight.detach().clone()
    nn.functional.cross_entropy(model(inputs), labels).backward()
    optimizer.step()
    optimizer.zero_grad()
    return model[0].weight.detach() - before


alone, after_audit = (first_step(audited, []) for audited in (False, True))
ratio = (after_audit.norm() / alone.norm()).item()
print(f"first update after the audit / without it: {ratio:.3f}")
assert abs(ratio - 2) < 1e-3
first_step(True, [nn.BatchNorm1d(16), nn.Dropout(0.1)])
PY
cd "$folder"
"$folder/venv/bin/python" seen.py
