#!/usr/bin/env bash
# gpytorch 1.15.2, torch-ema 0.3, torch 2.13.0, Python 3.11, CPU.
#
# Expected: a Gaussian process in eval mode predicts with the parameters that it has. Swapping in the average of its weights, as torch-ema's
# `average_parameters()` does for a validation, gives the predictions of the average; at worst those of before, if they are cached.
# Seen: it gives neither. What the first prediction in eval mode cached belongs to the old parameters, and is combined with a kernel of the
# new ones: the errors of the average's predictions are 2.5 and 2.1 times those of a new model with the same parameters. Nothing warns.
# The weights that are put back afterwards predict correctly again. `load_state_dict` and a call of train() and eval() empty the cache.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 gpytorch==1.15.2 linear-operator==0.6.1 torch-ema==0.3
cat > "$folder/seen.py" <<'PY'
import warnings

import gpytorch
import torch
from torch_ema import ExponentialMovingAverage

print("gpytorch", gpytorch.__version__, "torch", torch.__version__.partition("+")[0])
torch.set_num_threads(1)
torch.manual_seed(0)
inputs = torch.linspace(0, 1, 20)
targets, asked = torch.sin(6 * inputs), torch.tensor([0.37, 0.9])


class Process(gpytorch.models.ExactGP):
    def __init__(self):
        super().__init__(inputs, targets, gpytorch.likelihoods.GaussianLikelihood())
        self.mean = gpytorch.means.ConstantMean()
        self.kernel = gpytorch.kernels.ScaleKernel(gpytorch.kernels.RBFKernel())

    def forward(self, x):
        return gpytorch.distributions.MultivariateNormal(self.mean(x), self.kernel(x))


def predicted(model):
    with torch.no_grad():
        return model(asked).mean


with warnings.catch_warnings():
    warnings.simplefilter("error")
    model = Process()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    average = ExponentialMovingAverage(model.parameters(), decay=0.9)
    objective = gpytorch.mlls.ExactMarginalLogLikelihood(model.likelihood, model)
    for _ in range(30):
        optimizer.zero_grad()
        (-objective(model(inputs), targets)).backward()
        optimizer.step()
        average.update()
    model.eval()
    own = predicted(model)
    with average.average_parameters():
        averaged = predicted(model)
        fresh = Process()
        fresh.load_state_dict(model.state_dict())
        right = predicted(fresh.eval())
    again = predicted(model)

true = torch.sin(6 * asked)
print("the weights:", own.tolist())
print("their average, in this model:", averaged.tolist())
print("their average, in a new model:", right.tolist())
ratio = (averaged - true).abs() / (right - true).abs()
print("errors of the former in those of the latter:", [round(one, 1) for one in ratio.tolist()])
assert torch.equal(own, again)
assert (averaged - right).abs().min() > 0.02 and (averaged - own).abs().min() > 0.02
assert (ratio > 1.5).all()
PY
"$folder/venv/bin/python" "$folder/seen.py"
