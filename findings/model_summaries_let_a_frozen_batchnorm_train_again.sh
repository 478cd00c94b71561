#!/usr/bin/env bash
# torchinfo 1.8.0, torchview 0.2.7, thop 0.1.1.post2209072238, fvcore 0.1.5.post20221221, torch 2.13.0, Python 3.11, CPU.
#
# Expected: a summary of a model leaves it as it was, so that a BatchNorm which eval() froze within a model that trains stays frozen.
# Seen: torchinfo.summary, torchview.draw_graph and thop.profile remember the mode of the model alone, and at their end put all of its
# modules into it. From then on the frozen statistics follow the batches, and nothing warns. thop adds two keys to its state as well.
# fvcore restores the mode of each module.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 torchinfo==1.8.0 torchview==0.2.7 thop==0.1.1.post2209072238 \
  fvcore==0.1.5.post20221221
cat > "$folder/seen.py" <<'PY'
import importlib.metadata
import logging
import warnings

import thop
import torch
import torchinfo
import torchview
from fvcore.nn import FlopCountAnalysis
from torch import nn

print(*(f"{name} {importlib.metadata.version(name)}" for name in ("torchinfo", "torchview", "thop", "fvcore")))
print("torch", torch.__version__.partition("+")[0])
warnings.filterwarnings("ignore")
logging.disable(logging.CRITICAL)
torch.manual_seed(0)
images = torch.randn(4, 3, 8, 8)


def after(summary):
    """The mode of a frozen BatchNorm after a summary of its model, whether its mean then moves, and the state's new keys."""
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4 * 6 * 6, 2)).train()
    model[1].eval()
    keys = set(model.state_dict())
    summary(model)
    with torch.no_grad():
        model(images)
    return model[1].training, bool(model[1].running_mean.any()), len(set(model.state_dict()) - keys)


seen = {}
for name, summary in {
    "no summary": lambda model: None,
    "torchinfo": lambda model: torchinfo.summary(model, input_data=images, verbose=0),
    "torchview": lambda model: torchview.draw_graph(model, images),
    "thop": lambda model: thop.profile(model, (images,), verbose=False),
    "fvcore": lambda model: FlopCountAnalysis(model, images).total(),
}.items():
    training, moved, added = seen[name] = after(summary)
    print(f"{name}: the frozen BatchNorm is in {'training' if training else 'evaluation'}, its mean "
          f"{'moves' if moved else 'stays'}, {added} keys added to the state")
assert seen == {
    "no summary": (False, False, 0), "torchinfo": (True, True, 0), "torchview": (True, True, 0), "thop": (True, True, 2),
    "fvcore": (False, False, 0),
}
PY
cd "$folder"
"$folder/venv/bin/python" seen.py
