#!/usr/bin/env bash
# pytorch-metric-learning 2.9.0, torch 2.13.0, Python 3.11, CPU.
#
# Expected: the state_dicts of model, optimizer and loss resume a training with the loss CrossBatchMemory to the bit, since that of the loss
# holds the embeddings and labels of its memory.
# Seen: all keys match and the memory is restored, but not how much of it is filled, which is a plain attribute. The loss then compares a
# batch with that batch alone, to the bit as a new memory does, and overwrites the restored embeddings from the first on, so that none is
# ever used: the weights differ. Nothing warns. A pickled loss is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 pytorch-metric-learning==2.9.0
cat > "$folder/seen.py" <<'PY'
import copy
import pickle
import warnings

import pytorch_metric_learning
import torch
from pytorch_metric_learning.losses import ContrastiveLoss, CrossBatchMemory

print("pytorch-metric-learning", pytorch_metric_learning.__version__, "torch", torch.__version__.partition("+")[0])
torch.set_num_threads(1)
warnings.simplefilter("error")
torch.manual_seed(0)
batches = [(torch.randn(8, 16), torch.randint(4, (8,))) for _ in range(40)]


def made():
    torch.manual_seed(1)
    model = torch.nn.Linear(16, 4)
    return model, torch.optim.Adam(model.parameters(), lr=1e-2), CrossBatchMemory(ContrastiveLoss(), 4, memory_size=128)


def trained(parts, batches):
    model, optimizer, criterion = parts
    losses = []
    for inputs, labels in batches:
        optimizer.zero_grad()
        loss = criterion(model(inputs), labels)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def loaded(state, parts):
    for part, one in zip(parts, state):
        if one is not None:
            part.load_state_dict(copy.deepcopy(one))
    return parts


parts = made()
trained(parts, batches[:20])
state = copy.deepcopy([part.state_dict() for part in parts])
print("the state of the loss:", list(state[2]))
whole = pickle.dumps(parts[2])
unbroken = trained(parts, batches[20:])

resumed = loaded(state, made())
assert torch.equal(resumed[2].embedding_memory, state[2]["embedding_memory"])
assert int((resumed[2].embedding_memory.abs().sum(1) > 0).sum()) == 128
restored = trained(resumed, batches[20:])
empty = trained(loaded([*state[:2], None], made()), batches[20:])
model, optimizer, _ = loaded([*state[:2], None], made())
pickled = trained((model, optimizer, pickle.loads(whole)), batches[20:])

for name, losses in (("unbroken", unbroken), ("its state_dict", restored), ("an empty memory", empty), ("pickled", pickled)):
    print(f"{name}: the losses after the checkpoint are {[round(one, 4) for one in losses[:4]]}")
difference = (resumed[0].weight - parts[0].weight).abs().max().item()
print(f"the weights of the resumed training differ by {difference:.4f} at its end")
assert pickled == unbroken
assert restored == empty
assert restored[0] != unbroken[0] and difference > 1e-3
PY
"$folder/venv/bin/python" "$folder/seen.py"
