#!/usr/bin/env bash
# torch 2.13.0, Python 3.11, CPU.
#
# Expected: when torch.amp.GradScaler skips a step because a gradient is infinite, no hook of the optimizer is called, and a hook that
# runs before a step sees gradients without the scale: so it is for SGD, Adam and AdamW.
# Seen: with fused=True the hooks before and after the step are called in each skipped step as well, and those before it see gradients
# that are multiplied by the scale. Gradients that such a hook clips to a norm of 1 are clipped to 1 / scale, and nothing warns. The state
# of the optimizer is right: its step counts only the steps that were taken.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
cat > "$folder/seen.py" <<'PY'
import torch

print("torch", torch.__version__.partition("+")[0])
torch.set_num_threads(1)


def trained(kind, fused, clip):
    """The norms that the hook before a step sees, how often the hook after it runs, the last gradient's norm, and the steps counted."""
    weight = torch.nn.Parameter(torch.ones(4))
    optimizer = kind([weight], lr=0.1, momentum=0.9, fused=fused) if kind is torch.optim.SGD else kind([weight], lr=0.1, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    before, after = [], []

    def hook(*_):
        before.append(weight.grad.norm().item())
        if clip:
            torch.nn.utils.clip_grad_norm_([weight], 1.0)

    optimizer.register_step_pre_hook(hook)
    optimizer.register_step_post_hook(lambda *_: after.append(1))
    for factor in (2.0, float("inf"), 2.0):
        optimizer.zero_grad()
        scaler.scale((factor * weight).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    steps = optimizer.state[weight].get("step")
    return before, len(after), weight.grad.norm().item(), steps if steps is None else int(steps)


for kind in (torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW):
    for fused in (False, True):
        before, after, _, steps = trained(kind, fused, clip=False)
        _, _, clipped, _ = trained(kind, fused, clip=True)
        print(f"{kind.__name__}, fused={fused}: the hooks ran {after} times in 2 steps and 1 skipped, norms before the step {before}; "
              f"clipped in the hook, the gradient's norm is {clipped:.3g}")
        assert before == ([4096.0, float("inf"), 2048.0] if fused else [4.0, 4.0]) and after == len(before)
        assert abs(clipped * (512.0 if fused else 1.0) - 1.0) < 1e-5
        assert steps in (None, 2)
PY
"$folder/venv/bin/python" "$folder/seen.py"
