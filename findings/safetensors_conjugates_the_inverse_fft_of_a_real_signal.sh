#!/usr/bin/env bash
# safetensors 0.8.0, torch 2.13.0, Python 3.11, CPU.
#
# Expected: safetensors.torch.save_file writes the values of a tensor, so that a buffer which was computed by torch.fft.ifft is loaded as
# it was saved.
# Seen: it is loaded as its complex conjugate. The inverse FFT of a real signal is a lazy view with the conjugate bit set, which counts
# as contiguous, and save_file writes the memory below it (safetensors issue 831). The tensors V of torch.svd and torch.svd_lowrank are
# such views, too; those of torch.linalg.svd, and products, are not. torch.save and torch.distributed.checkpoint keep the values.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 safetensors==0.8.0
cat > "$folder/seen.py" <<'PY'
import logging
import warnings

import safetensors
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torch.distributed import checkpoint

print("safetensors", safetensors.__version__, "torch", torch.__version__.partition("+")[0])
logging.disable(logging.CRITICAL)
warnings.filterwarnings("ignore")
torch.manual_seed(0)
signal, matrix = torch.randn(8), torch.randn(4, 4, dtype=torch.complex64)
filters = {
    "torch.fft.fft of a real signal": torch.fft.fft(signal),
    "torch.fft.ifft of a real signal": torch.fft.ifft(signal),
    "the same, times 1": torch.fft.ifft(signal) * 1,
    "V of torch.svd": torch.svd(matrix).V,
    "V of torch.svd_lowrank": torch.svd_lowrank(matrix)[2],
    "Vh of torch.linalg.svd": torch.linalg.svd(matrix).Vh.contiguous(),
}
conjugated = []
for number, (name, values) in enumerate(filters.items()):
    module = nn.Module()
    module.register_buffer("filter", values)
    save_file(module.state_dict(), "saved.safetensors")
    loaded = load_file("saved.safetensors")["filter"]
    same, conjugate = torch.equal(loaded, values), torch.equal(loaded, values.conj())
    print(f"{name}: loaded as {'saved' if same else 'its conjugate' if conjugate else 'something else'}")
    assert same or conjugate
    if not same:
        conjugated.append(name)
    torch.save(values, "saved.pt")
    assert torch.equal(torch.load("saved.pt"), values)
    checkpoint.save({"filter": values}, checkpoint_id=f"saved {number}", no_dist=True)
    target = {"filter": torch.zeros_like(values).resolve_conj()}
    checkpoint.load(target, checkpoint_id=f"saved {number}", no_dist=True)
    assert torch.equal(target["filter"], values)
print("torch.save and torch.distributed.checkpoint: each loaded as saved")
assert conjugated == ["torch.fft.ifft of a real signal", "V of torch.svd", "V of torch.svd_lowrank"]
PY
cd "$folder"
"$folder/venv/bin/python" seen.py
