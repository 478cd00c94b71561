#!/usr/bin/env bash
# torchmetrics 1.9.0, torch 2.13.0, Python 3.11, CPU.
#
# Expected: after merge_state() or load_state_dict() compute() returns the value of the new state. So the accuracy of each shard can be
# printed, the shards merged, and the accuracy of all printed; and a metric in a module shows the value of each checkpoint that is loaded.
# Seen: both change the state and leave the value that compute() remembers. The merged accuracy is the first shard's, 1 instead of 0.625,
# and a second checkpoint's is the first one's. Nothing warns. Without the earlier compute() both are right, as they are after one more
# update(), and torcheval 0.0.7, which remembers no value, is right in either order.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 torchmetrics==1.9.0 torcheval==0.0.7
cat > "$folder/seen.py" <<'PY'
import warnings

import torch
import torcheval
import torcheval.metrics
import torchmetrics
from torchmetrics.classification import BinaryAccuracy, BinaryAUROC

print("torchmetrics", torchmetrics.__version__, "torcheval", torcheval.__version__, "torch", torch.__version__.partition("+")[0])
warnings.simplefilter("error")
probabilities = torch.tensor([[0.9, 0.8, 0.1, 0.2], [0.9, 0.1, 0.8, 0.7]])
labels = torch.tensor([[1, 1, 0, 0], [0, 1, 0, 1]])


def of(kind, shard):
    metric = kind()
    metric.update(probabilities[shard], labels[shard])
    return metric


def merged(kind, printed, merge):
    """The value of both shards, merged after each shard's value was printed or before."""
    first, second = of(kind, 0), of(kind, 1)
    if printed:
        print("the shards alone:", float(first.compute()), float(second.compute()))
    merge(first, second)
    return first


def by_torchmetrics(first, second):
    first.merge_state(second)


def by_torcheval(first, second):
    first.merge_state([second])


for kind in (BinaryAccuracy, BinaryAUROC):
    both = kind()
    both.update(probabilities.flatten(), labels.flatten())
    right, alone = float(both.compute()), float(of(kind, 0).compute())
    silent, printed = merged(kind, False, by_torchmetrics), merged(kind, True, by_torchmetrics)
    seen = float(silent.compute()), float(printed.compute())
    print(f"{kind.__name__} of all: {right}; merged: {seen[0]}, and {seen[1]} if the shards' values were computed before")
    assert right != alone
    assert seen == (right, alone)
    for metric in (silent, printed):
        metric.update(torch.tensor([0.9]), torch.tensor([1]))
    assert float(silent.compute()) == float(printed.compute())

right = float(merged(torcheval.metrics.BinaryAccuracy, False, by_torcheval).compute())
seen = float(merged(torcheval.metrics.BinaryAccuracy, True, by_torcheval).compute())
print(f"torcheval: {right}, and {seen} if the shards' values were computed before")
assert right == seen == 0.625


class Classifier(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.accuracy = BinaryAccuracy()
        self.accuracy.persistent(True)


checkpoints = []
for shard in range(2):
    model = Classifier()
    model.accuracy.update(probabilities[shard], labels[shard])
    checkpoints.append(({name: value.clone() for name, value in model.state_dict().items()}, float(model.accuracy.compute())))
model = Classifier()
model.accuracy.update(probabilities.flatten(), labels.flatten())
shown = []
for state, _ in checkpoints:
    model.load_state_dict(state)
    shown.append(float(model.accuracy.compute()))
kept = [value for _, value in checkpoints]
print(f"the checkpoints' accuracies: {kept}; computed after they were loaded: {shown}")
assert kept == [1.0, 0.25]
assert shown == [1.0, 1.0]
PY
"$folder/venv/bin/python" "$folder/seen.py"
