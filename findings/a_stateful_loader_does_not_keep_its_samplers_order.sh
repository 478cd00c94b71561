#!/usr/bin/env bash
# torchdata 0.11.0, torch 2.13.0, Python 3.11, CPU.
#
# Expected: StatefulDataLoader, loaded with the state that another one had in mid-epoch, gives the rest of that epoch, also with a sampler
# that torch comes with.
# Seen: it does with shuffle=True. With a sampler that is passed in, RandomSampler among them, the restored loader draws a new order and
# skips as many samples of it as were used: some come twice in the epoch and others never, and nothing warns. Restoring torch's random
# state of the checkpoint does not help. It is right only if the random seed is the one that the interrupted epoch began with.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6 torchdata==0.11.0
cat > "$folder/seen.py" <<'PY'
import importlib.metadata
import warnings

import torch
from torch.utils.data import RandomSampler, SubsetRandomSampler, WeightedRandomSampler
from torchdata.stateful_dataloader import StatefulDataLoader

print("torchdata", importlib.metadata.version("torchdata"), "torch", torch.__version__.partition("+")[0])
numbers = list(range(20))


def loader(sampler):
    return StatefulDataLoader(numbers, batch_size=2, **sampler())


def resumed(sampler, randomness):
    """Whether a loader restored after four batches gives the rest of the epoch, and how many numbers the whole epoch has."""
    torch.manual_seed(0)
    unbroken = loader(sampler)
    batches = iter(unbroken)
    used = [next(batches).tolist() for _ in range(4)]
    state, random_state = unbroken.state_dict(), torch.get_rng_state()
    rest = [batch.tolist() for batch in batches]
    if randomness == "seed of the epoch":
        torch.manual_seed(0)
    elif randomness == "random state of the checkpoint":
        torch.set_rng_state(random_state)
    else:
        torch.manual_seed(1)
    restored = loader(sampler)
    restored.load_state_dict(state)
    given = [batch.tolist() for batch in restored]
    return given == rest, len({number for batch in used + given for number in batch})


right = set()
with warnings.catch_warnings():
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", message=".*set_vital")
    for name, sampler in {
        "shuffle=True": lambda: {"shuffle": True},
        "RandomSampler": lambda: {"sampler": RandomSampler(numbers)},
        "SubsetRandomSampler": lambda: {"sampler": SubsetRandomSampler(numbers)},
        "WeightedRandomSampler": lambda: {"sampler": WeightedRandomSampler([1.0] * 20, 20, replacement=False)},
    }.items():
        for randomness in ("another seed", "random state of the checkpoint", "seed of the epoch"):
            same, distinct = resumed(sampler, randomness)
            print(f"{name}, {randomness}: {'the rest of the epoch' if same else 'another order'}, {distinct} of 20 numbers")
            assert same == (distinct == 20)
            if same:
                right.add((name, randomness))
assert sorted(right) == [
    ("RandomSampler", "seed of the epoch"), ("SubsetRandomSampler", "seed of the epoch"), ("WeightedRandomSampler", "seed of the epoch"),
    ("shuffle=True", "another seed"), ("shuffle=True", "random state of the checkpoint"), ("shuffle=True", "seed of the epoch"),
]
PY
cd "$folder"
"$folder/venv/bin/python" seen.py
