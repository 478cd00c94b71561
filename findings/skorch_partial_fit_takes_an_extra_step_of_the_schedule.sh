#!/usr/bin/env bash
# skorch 1.4.0, torch 2.13.0, Python 3.11, CPU.
#
# Expected: six calls of partial_fit with one epoch each train as one fit of six epochs does: skorch's LRScheduler keeps its place between
# the calls, as the optimizer does.
# Seen: it keeps its place and takes one step more at the beginning of each call after the first, so that the learning rate falls twice
# as fast. With `StepLR(step_size=1, gamma=0.5)` the sixth epoch has a rate of 1/1024 of the first one's instead of 1/32. A second fit with
# warm_start=True does the same. Nothing warns.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 skorch==1.4.0
cat > "$folder/seen.py" <<'PY'
import warnings

import numpy
import skorch
import torch
from skorch.callbacks import LRScheduler

print("skorch", skorch.__version__, "torch", torch.__version__.partition("+")[0])
torch.set_num_threads(1)
inputs = numpy.random.default_rng(0).normal(size=(64, 4)).astype("float32")
targets = inputs.sum(1, keepdims=True)


def rates(calls, method, **settings):
    """The learning rate of each epoch, as a share of the first epoch's, where the optimizer's step read it."""
    used = []

    class Recorded(torch.optim.SGD):
        def step(self, closure=None):
            used.append(self.param_groups[0]["lr"])
            return super().step(closure)

    net = skorch.NeuralNetRegressor(
        torch.nn.Linear, module__in_features=4, module__out_features=1, optimizer=Recorded, lr=0.01, max_epochs=6 // calls,
        batch_size=64, train_split=None, verbose=0, callbacks=[LRScheduler(torch.optim.lr_scheduler.StepLR, step_size=1, gamma=0.5)],
        **settings,
    )
    for _ in range(calls):
        getattr(net, method)(inputs, targets)
    return [round(rate / used[0], 6) for rate in used]


with warnings.catch_warnings():
    warnings.simplefilter("error")
    seen = {
        "1 fit of 6 epochs": rates(1, "fit"),
        "6 partial_fit of 1 epoch": rates(6, "partial_fit"),
        "2 fit of 3 epochs, warm_start": rates(2, "fit", warm_start=True),
    }
for name, shares in seen.items():
    print(f"{name}: 1 over {[round(1 / share) for share in shares]}")
assert [[round(1 / share) for share in shares] for shares in seen.values()] == [
    [1, 2, 4, 8, 16, 32], [1, 4, 16, 64, 256, 1024], [1, 2, 4, 16, 32, 64]
]
PY
"$folder/venv/bin/python" "$folder/seen.py"
