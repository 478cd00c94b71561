#!/usr/bin/env bash
# torch 2.13.0, Python 3.11, CPU.
#
# Expected: `detect_anomaly` is slow because it checks every gradient for NaN, so `check_nan=False` makes it cheap.
# Seen: the forward pass formats a Python stack, source lines included, for every node of the graph, and a healthy step prints
# none. Ten linear layers: 41 stacks a step, with and without the check; a step takes 9 times its plain CPU time, and 23 times
# with 40 more frames on the stack, which is about what a training framework adds.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
cat > "$folder/seen.py" <<'PY'
import statistics
import time
import traceback
import warnings

import torch

warnings.simplefilter("ignore")
torch.set_num_threads(1)
network = torch.nn.Sequential(*[torch.nn.Linear(8, 8) for _ in range(10)])
inputs = torch.randn(4, 8)
frames = []
format_list = traceback.format_list
traceback.format_list = lambda stack: frames.append(len(stack)) or format_list(stack)


def step(depth):
    if depth:
        step(depth - 1)
    else:
        network(inputs).sum().backward()


def seconds(depth, **mode):
    def once():
        begun = time.process_time()
        if mode:
            with torch.autograd.detect_anomaly(**mode):
                step(depth)
        else:
            step(depth)
        return time.process_time() - begun

    once()
    return statistics.median(once() for _ in range(15))


print("torch", torch.__version__.partition("+")[0])
counts = {}
for depth in (0, 40):
    plain = seconds(depth)
    for check_nan in (True, False):
        frames.clear()
        with torch.autograd.detect_anomaly(check_nan=check_nan):
            step(depth)
        counts[depth, check_nan] = len(frames), sum(frames)
        ratio = seconds(depth, check_nan=check_nan) / plain
        print(f"{depth} further frames, check_nan={check_nan}: {counts[depth, check_nan][0]} stacks of "
              f"{counts[depth, check_nan][1]} frames formatted in one step, {ratio:.1f} times the CPU time of a plain step")

nodes, pending = set(), [network(inputs).sum().grad_fn]
while pending:
    node = pending.pop()
    if node is not None and node not in nodes:
        nodes.add(node)
        pending += [parent for parent, _ in node.next_functions]
made = [node for node in nodes if "AccumulateGrad" not in type(node).__name__]
print(len(made), "nodes in the graph that an operation made")
assert counts[0, True] == counts[0, False]
assert counts[40, True] == counts[40, False]
assert counts[40, True][1] - counts[0, True][1] == 40 * counts[0, True][0]
assert counts[0, True][0] >= len(made)
PY
"$folder/venv/bin/python" "$folder/seen.py"
