#!/usr/bin/env bash
# kornia 0.9.0, torch 2.13.0, Python 3.11, CPU.
#
# Expected: a random augmentation that is a submodule of a model does nothing after `model.eval()`, as dropout does nothing.
# Seen: kornia's augmentations act in evaluation as in training, alone and within AugmentationSequential, so that a model which holds
# them validates on augmented images.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 kornia==0.9.0
cat > "$folder/seen.py" <<'PY'
import kornia
import kornia.augmentation as augmentation
import torch

print("kornia", kornia.__version__, "torch", torch.__version__.partition("+")[0])
images = torch.rand(2, 3, 8, 8)
for layer in [
    torch.nn.Dropout(0.9),
    augmentation.RandomHorizontalFlip(p=1.0),
    augmentation.RandomGaussianNoise(p=1.0),
    augmentation.RandomErasing(p=1.0),
    augmentation.AugmentationSequential(augmentation.RandomHorizontalFlip(p=1.0)),
]:
    model = torch.nn.Sequential(layer).eval()
    changed = not torch.equal(model(images), images)
    print(f"{type(layer).__name__} in eval mode: the images are {'changed' if changed else 'unchanged'}")
    assert changed is not isinstance(layer, torch.nn.Dropout)
PY
cd "$folder"
"$folder/venv/bin/python" seen.py
