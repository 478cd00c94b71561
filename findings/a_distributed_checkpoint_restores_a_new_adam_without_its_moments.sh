#!/usr/bin/env bash
# torch 2.13.0, Python 3.11, CPU.
#
# Expected: torch.distributed.checkpoint.load into `optimizer.state_dict()` of a new Adam restores the saved optimizer, or raises, as it
# does when the model has a key that the checkpoint lacks.
# Seen: the learning rate is restored and the moments are not, without a message. Loading goes by the keys that the target has, and the
# state of an optimizer that has not stepped has none. The weights then differ from those of an unbroken training; with
# torch.distributed.checkpoint.state_dict.get_optimizer_state_dict, which makes the state first, they are equal to the bit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
cat > "$folder/seen.py" <<'PY'
import logging
import warnings

import torch
from torch.distributed import checkpoint
from torch.distributed.checkpoint.state_dict import get_optimizer_state_dict, set_optimizer_state_dict

print("torch", torch.__version__.partition("+")[0])
warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)
torch.manual_seed(0)
inputs = torch.randn(8, 16, 4)


def begin(rate):
    torch.manual_seed(1)
    net = torch.nn.Linear(4, 1)
    return net, torch.optim.Adam(net.parameters(), lr=rate)


def train(net, optimizer, batches):
    for batch in batches:
        optimizer.zero_grad()
        (net(batch) - batch.sum(1, keepdim=True)).pow(2).mean().backward()
        optimizer.step()


net, optimizer = begin(1e-2)
train(net, optimizer, inputs[:4])
plain = {"net": net.state_dict(), "optimizer": optimizer.state_dict()}
checkpoint.save(plain, checkpoint_id="plain", no_dist=True)
named = {"net": net.state_dict(), "optimizer": get_optimizer_state_dict(net, optimizer)}
checkpoint.save(named, checkpoint_id="named", no_dist=True)
train(net, optimizer, inputs[4:])
equal = {}
for way in ("plain", "named"):
    resumed, other = begin(0.5)
    if way == "plain":
        target = {"net": resumed.state_dict(), "optimizer": other.state_dict()}
        checkpoint.load(target, checkpoint_id=way, no_dist=True)
        other.load_state_dict(target["optimizer"])
    else:
        target = {"net": resumed.state_dict(), "optimizer": get_optimizer_state_dict(resumed, other)}
        checkpoint.load(target, checkpoint_id=way, no_dist=True)
        set_optimizer_state_dict(resumed, other, target["optimizer"])
    rate, states = other.param_groups[0]["lr"], len(other.state)
    train(resumed, other, inputs[4:])
    equal[way] = torch.equal(net.weight, resumed.weight)
    print(f"{way}: learning rate {rate}, parameters with moments {states}, weights as without the break: {equal[way]}")
    assert (rate, states) == (0.01, 0 if way == "plain" else 2)
assert equal == {"plain": False, "named": True}
PY
cd "$folder"
"$folder/venv/bin/python" seen.py
