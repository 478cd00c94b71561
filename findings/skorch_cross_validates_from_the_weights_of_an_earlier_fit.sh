#!/usr/bin/env bash
# skorch 1.4.0, scikit-learn 1.9.1, torch 2.13.0, Python 3.11, CPU.
#
# Expected: scikit-learn's cross_val_score clones its estimator, and a clone is not fitted. So it returns the same for a net that was fitted
# on all data before as for a new one: about one half where the labels are random.
# Seen: 0.855. A net that was given its module as an object, as skorch allows, trains that object, and a clone gets a copy of it: each
# fold starts at weights that have seen its test samples. A hyperparameter search over a fitted net chooses among such scores. Nothing
# warns. With the module's class and `module__` arguments both scores are the same, as they are for scikit-learn's MLPClassifier.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 scikit-learn==1.9.1 skorch==1.4.0
cat > "$folder/seen.py" <<'PY'
import warnings

import numpy as np
import sklearn
import skorch
import torch
from sklearn.model_selection import cross_val_score
from sklearn.neural_network import MLPClassifier

print("skorch", skorch.__version__, "scikit-learn", sklearn.__version__, "torch", torch.__version__.partition("+")[0])
torch.set_num_threads(1)
warnings.simplefilter("error")
random = np.random.RandomState(0)
inputs = random.randn(200, 20).astype("float32")
labels = random.randint(0, 2, 200)


class Net(torch.nn.Module):
    def __init__(self, width=64):
        super().__init__()
        self.layers = torch.nn.Sequential(torch.nn.Linear(20, width), torch.nn.ReLU(), torch.nn.Linear(width, 2))

    def forward(self, x):
        return self.layers(x)


def classifier(module, **arguments):
    return skorch.NeuralNetClassifier(
        module, criterion=torch.nn.CrossEntropyLoss, optimizer=torch.optim.Adam, lr=1e-2, max_epochs=30, train_split=None, verbose=0,
        **arguments,
    )


def scored(estimator):
    torch.manual_seed(1)
    return float(cross_val_score(estimator, inputs, labels, cv=5).mean())


torch.manual_seed(0)
estimators = {
    "module=Net()": classifier(Net()),
    "module=Net, module__width=64": classifier(Net, module__width=64),
    "MLPClassifier": MLPClassifier(64, learning_rate_init=1e-2, max_iter=1000, random_state=0),
}
seen = {}
for name, estimator in estimators.items():
    before = scored(estimator)
    estimator.fit(inputs, labels)
    seen[name] = before, scored(estimator)
    print(f"{name}: {before:.3f} as a new net, {seen[name][1]:.3f} after a fit on all data")
before, after = seen.pop("module=Net()")
assert before < 0.6 and after > 0.8
for before, after in seen.values():
    assert before == after and before < 0.6
PY
"$folder/venv/bin/python" "$folder/seen.py"
