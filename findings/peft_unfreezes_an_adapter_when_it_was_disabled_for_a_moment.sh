#!/usr/bin/env bash
# peft 0.21.2 with transformers 5.24.0, torch 2.13.0, Python 3.11, CPU.
#
# Expected: `with model.disable_adapter():`, which gives the outputs of the base model (the reference in preference optimisation), leaves
# the model as it was.
# Seen: when the block ends, each parameter of the active adapter requires a gradient, whatever it was before. An adapter that was loaded
# with is_trainable=False, the default, becomes trainable, the layers of modules_to_save with it, and so does a half of an adapter that
# was frozen by hand. An optimizer that was given all parameters then trains them. Nothing warns.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 peft==0.21.2 transformers==5.24.0
cat > "$folder/seen.py" <<'PY'
import importlib.metadata
import tempfile
import warnings

import peft
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn

print("peft", peft.__version__, "transformers", importlib.metadata.version("transformers"), "torch", torch.__version__.partition("+")[0])
torch.set_num_threads(1)
config = LoraConfig(target_modules=["0"], modules_to_save=["2"])


def base():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))


def loaded(folder):
    return PeftModel.from_pretrained(base(), folder)


def frozen_by_hand(folder):
    model = get_peft_model(base(), config)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("lora_B" in name)
    return model


def trainable(model):
    return sum(parameter.requires_grad for parameter in model.parameters())


def moved(model, disabled):
    """How many parameters a step of SGD changes that was built for all, with a first layer of the user's to train."""
    first = nn.Linear(4, 4)
    optimizer = torch.optim.SGD([*first.parameters(), *model.parameters()], lr=0.1)
    old = [parameter.detach().clone() for parameter in model.parameters()]
    inputs = torch.randn(8, 4)
    if disabled:
        with torch.no_grad(), model.disable_adapter():
            model(inputs)
    (model(first(inputs)) - 1).pow(2).mean().backward()
    optimizer.step()
    return sum(not torch.equal(before, now) for before, now in zip(old, model.parameters(), strict=True))


with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
    get_peft_model(base(), config).save_pretrained(folder)
    warnings.simplefilter("error")
    for make in (loaded, frozen_by_hand):
        model = make(folder)
        before = trainable(model)
        with model.disable_adapter():
            pass
        print(f"{make.__name__}: {before} parameters require a gradient, {trainable(model)} after disable_adapter")
        assert (before, trainable(model)) == {"loaded": (0, 4), "frozen_by_hand": (1, 4)}[make.__name__]
    steps = [moved(loaded(folder), disabled) for disabled in (False, True)]
    print(f"loaded, with a step of an optimizer of all parameters: {steps[0]} move, {steps[1]} after disable_adapter")
    assert steps == [0, 3]
PY
cd "$folder"
"$folder/venv/bin/python" seen.py
