#!/usr/bin/env bash
# torch 2.13.0, Python 3.11, CPU build.
#
# Expected: `torch.manual_seed` on a build for the CPU sets one generator, in a microsecond or so.
# Seen: it formats the caller's whole stack, source lines included, three times in each call, since the seeds of devices that are not
# there are kept for later with where they were asked for. It takes about 100 times as long as seeding the CPU's generator, and 400
# times as long under 60 more frames. A program that seeds before each batch pays it each time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
cat > "$folder/seen.py" <<'PY'
import statistics
import time
import traceback

import torch

torch.set_num_threads(1)
stacks = []
format_stack = traceback.format_stack
traceback.format_stack = lambda *args, **kwargs: stacks.append(1) or format_stack(*args, **kwargs)


def seconds(seed, depth):
    if depth:
        return seconds(seed, depth - 1)

    def once():
        begun = time.process_time()
        for number in range(100):
            seed(number)
        return (time.process_time() - begun) / 100

    once()
    return statistics.median(once() for _ in range(9))


print("torch", torch.__version__.partition("+")[0], "CUDA", torch.cuda.is_available(), "XPU", torch.xpu.is_available())
assert not torch.cuda.is_available()
torch.manual_seed(0)
stacks.clear()
torch.manual_seed(0)
print(len(stacks), "stacks formatted by torch.manual_seed")
assert len(stacks) == 3
stacks.clear()
torch.default_generator.manual_seed(0)
assert not stacks
for depth in (0, 60):
    ratio = seconds(torch.manual_seed, depth) / seconds(torch.default_generator.manual_seed, depth)
    print(f"{depth} further frames: {ratio:.0f} times the CPU time of seeding the CPU's generator")
    assert ratio > 10
first = torch.manual_seed(7).get_state()
torch.default_generator.manual_seed(7)
assert torch.equal(first, torch.default_generator.get_state())
PY
"$folder/venv/bin/python" "$folder/seen.py"
