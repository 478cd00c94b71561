#!/usr/bin/env bash
# pytorch_optimizer 4.1.0, torch 2.13.0, Python 3.11, CPU.
#
# Expected: TRAC(AdamW(parameters, lr=1e-2)), used as its docstring shows, trains a small regression about as well as AdamW does.
# Seen: after 2,000 steps every float32 weight is what it was at the start, to the bit, and nothing warns; in float64 the same training
# learns. TRAC adds the base optimizer's update times a scale that begins near 1e-8, and such a sum rounds to the old weight in
# float32. The scale grows from how far the weights have moved, so it never grows. With s_prev=1e-4 float32 learns, too.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 pytorch_optimizer==4.1.0
cat > "$folder/seen.py" <<'PY'
import importlib.metadata

import torch
from pytorch_optimizer import TRAC

print("pytorch_optimizer", importlib.metadata.version("pytorch_optimizer"), "torch", torch.__version__.partition("+")[0])
torch.set_num_threads(1)
torch.manual_seed(0)
inputs, targets = torch.randn(12, 16, 8), torch.randn(12, 16, 4)


def train(wrap, dtype):
    torch.manual_seed(1)
    net = torch.nn.Sequential(torch.nn.Linear(8, 16), torch.nn.Tanh(), torch.nn.Linear(16, 4)).to(dtype)
    before = [parameter.detach().clone() for parameter in net.parameters()]
    optimizer = wrap(torch.optim.AdamW(net.parameters(), lr=1e-2))
    for step in range(2000):
        optimizer.zero_grad()
        loss = (net(inputs[step % 12].to(dtype)) - targets[step % 12].to(dtype)).pow(2).mean()
        loss.backward()
        optimizer.step()
    return loss.item(), max((new - old).abs().max().item() for new, old in zip(net.parameters(), before))


moved = {}
for name, wrap, dtype in [
    ("AdamW, float32", lambda base: base, torch.float32),
    ("TRAC, float32", TRAC, torch.float32),
    ("TRAC, float64", TRAC, torch.float64),
    ("TRAC with s_prev=1e-4, float32", lambda base: TRAC(base, s_prev=1e-4), torch.float32),
]:
    loss, moved[name] = train(wrap, dtype)
    print(f"{name}: loss {loss:.3f} after 2,000 steps, largest change of a weight {moved[name]:.3g}")
assert moved.pop("TRAC, float32") == 0.0
assert min(moved.values()) > 0.1
PY
cd "$folder"
"$folder/venv/bin/python" seen.py
