#!/usr/bin/env bash
# torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2, onnxruntime 1.32.0, Python 3.11, CPU.
#
# Expected: torch.onnx.export (the exporter by torch.export, the default) either puts a model that is still in training mode into
# evaluation for the export, as the older exporter does by default, or exports it as it trains.
# Seen: neither. BatchNorm is exported with its running statistics, as in evaluation, and Dropout as in training: the file's outputs are
# random from run to run, and nothing warns. The older exporter (dynamo=False) gives the outputs of evaluation.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 onnx==1.23.2 onnxscript==0.7.2 onnxruntime==1.32.0
cat > "$folder/seen.py" <<'PY'
import importlib.metadata
import logging
import warnings

import numpy
import onnxruntime
import torch
from torch import nn

logging.disable(logging.CRITICAL)
warnings.filterwarnings("ignore")
print(*(f"{name} {importlib.metadata.version(name)}" for name in ("onnx", "onnxscript", "onnxruntime")))
print("torch", torch.__version__.partition("+")[0])
torch.manual_seed(0)
batch = torch.randn(64, 4)


def outputs(layer, dynamo):
    model = nn.Sequential(nn.Linear(4, 4), layer)
    with torch.no_grad():
        trained = model.train()(batch).numpy()
        evaluated = model.eval()(batch).numpy()
    model.train()
    torch.onnx.export(model, (batch,), "model.onnx", dynamo=dynamo, verbose=False)
    session = onnxruntime.InferenceSession("model.onnx")
    given = {session.get_inputs()[0].name: batch.numpy()}
    first, second = (session.run(None, given)[0] for _ in range(2))
    return first, second, trained, evaluated


for dynamo in (True, False):
    first, second, trained, evaluated = outputs(nn.BatchNorm1d(4), dynamo)
    as_trained, as_evaluated = (numpy.allclose(first, other, atol=1e-4) for other in (trained, evaluated))
    print(f"dynamo={dynamo}, BatchNorm: as in training {as_trained}, as in evaluation {as_evaluated}")
    assert (as_trained, as_evaluated) == (False, True)
    first, second, _, evaluated = outputs(nn.Dropout(0.5), dynamo)
    as_evaluated, repeated = numpy.allclose(first, evaluated, atol=1e-4), numpy.allclose(first, second)
    zeros = (first == 0).mean()
    print(f"dynamo={dynamo}, Dropout: as in evaluation {as_evaluated}, same outputs twice {repeated}, zeros {zeros:.2f}")
    assert (as_evaluated, repeated) == (not dynamo, not dynamo)
PY
cd "$folder"
"$folder/venv/bin/python" seen.py
