#!/usr/bin/env bash
# torchmetrics 1.9.0, torch 2.13.0, Python 3.11, CPU.
#
# Expected: one NaN among a batch of probabilities makes BinaryAccuracy raise, or count that sample as wrong.
# Seen: it changes how the other samples are counted. A batch that is not wholly within [0, 1] is taken for logits, NaN is not within, and
# so the sigmoid is applied to all: every probability is then at least 0.5. Four right samples give an accuracy of 1; with a NaN in place of
# the last one it is 0, though three are right. A NaN among the logits of the same batch gives 0.75. Nothing warns.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 torchmetrics==1.9.0
cat > "$folder/seen.py" <<'PY'
import warnings

import torch
import torchmetrics
from torchmetrics.classification import BinaryAccuracy, BinarySpecificity, MultilabelAccuracy

print("torchmetrics", torchmetrics.__version__, "torch", torch.__version__.partition("+")[0])
nan = float("nan")
labels = torch.tensor([0, 0, 0, 1])
whole, broken = torch.tensor([0.1, 0.2, 0.3, 0.9]), torch.tensor([0.1, 0.2, 0.3, nan])
seen = {}
with warnings.catch_warnings():
    warnings.simplefilter("error")
    for name, metric in {
        "accuracy": BinaryAccuracy(), "specificity": BinarySpecificity(),
        "multilabel accuracy": MultilabelAccuracy(num_labels=2, average="micro"),
    }.items():
        values = []
        for probabilities in (whole, broken, torch.logit(whole), torch.logit(broken)):
            metric.reset()
            shape = (2, 2) if "multilabel" in name else (4,)
            metric.update(probabilities.reshape(shape), labels.reshape(shape))
            values.append(metric.compute().item())
        seen[name] = values
        print(f"{name}: {values[0]:.2f}, with a NaN {values[1]:.2f}; as logits {values[2]:.2f}, with a NaN {values[3]:.2f}")
assert seen["accuracy"] == seen["multilabel accuracy"] == [1.0, 0.0, 1.0, 0.75]
assert seen["specificity"] == [1.0, 0.0, 1.0, 1.0]
PY
"$folder/venv/bin/python" "$folder/seen.py"
