#!/usr/bin/env bash
# torchmetrics 1.9.0, torch 2.13.0, Python 3.11, CPU.
#
# Expected: where a metric's `higher_is_better` is not None, it is right, so that a tool may take the direction from it.
# Seen: DaviesBouldinScore and SpectralDistortionIndex say True, and are 0 at their best; WordInfoPreserved says False, and is 1 at
# its best. Their siblings (SpatialDistortionIndex, WordInfoLost) are right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 torchmetrics==1.9.0
cat > "$folder/seen.py" <<'PY'
import torch
import torchmetrics
from torchmetrics.clustering import DaviesBouldinScore
from torchmetrics.image import SpectralDistortionIndex
from torchmetrics.text import WordInfoLost, WordInfoPreserved

print("torchmetrics", torchmetrics.__version__, "torch", torch.__version__.partition("+")[0])
torch.manual_seed(0)
near = torch.randn(40, 2)
labels = torch.arange(40) % 2
image = torch.rand(2, 3, 16, 16)
sentence = ["the loss falls and the metric rises"]
cases = [
    (DaviesBouldinScore, (near + 100 * labels[:, None], labels), (near + labels[:, None], labels)),
    (SpectralDistortionIndex, (image, image), (torch.rand_like(image), image)),
    (WordInfoPreserved, (sentence, sentence), (["a loss rises or some metric falls"], sentence)),
    (WordInfoLost, (sentence, sentence), (["a loss rises or some metric falls"], sentence)),
]
for metric, good, poor in cases:
    best, worse = float(metric()(*good)), float(metric()(*poor))
    found = metric.higher_is_better
    print(f"{metric.__name__}: {best:.4f} for the better input, {worse:.4f} for the worse; higher_is_better={found}")
    assert best != worse
    assert (found is (best > worse)) is (metric is WordInfoLost)
PY
"$folder/venv/bin/python" "$folder/seen.py"
