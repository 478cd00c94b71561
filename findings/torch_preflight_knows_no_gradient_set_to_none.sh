#!/usr/bin/env bash
# torch-preflight 0.5.0 (a static linter for training code), Python 3.11.
#
# Expected: a loop that clears gradients by `parameter.grad = None`, which is what `optimizer.zero_grad()` does by default, is as clean
# as one that calls it; and a module under Lightning's manual optimisation that clears them nowhere is an error, as a
# plain loop without zero_grad is.
# Seen: both the other way round: the first is TG003, an error ("nothing calls zero_grad()"), the second "No issues found".
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet torch-preflight==0.5.0
cd "$folder"
cat > called.py <<'PY'
def fit(model, loader, optimizer, criterion):
    for x, y in loader:
        optimizer.zero_grad()
        criterion(model(x), y).backward()
        optimizer.step()
PY
cat > assigned.py <<'PY'
def fit(model, loader, optimizer, criterion):
    for x, y in loader:
        for parameter in model.parameters():
            parameter.grad = None
        criterion(model(x), y).backward()
        optimizer.step()
PY
cat > nowhere.py <<'PY'
def fit(model, loader, optimizer, criterion):
    for x, y in loader:
        criterion(model(x), y).backward()
        optimizer.step()
PY
cat > manual.py <<'PY'
import pytorch_lightning as pl


class Module(pl.LightningModule):
    def __init__(self):
        super().__init__()
        self.automatic_optimization = False

    def training_step(self, batch, batch_idx):
        optimizer = self.optimizers()
        self.manual_backward(self.loss(batch))
        optimizer.step()
PY
for file in called assigned nowhere manual; do
    found=$(venv/bin/torch-preflight check "$file.py" 2>&1 || true)
    echo "== $file.py"
    echo "$found" | grep -m1 -oE "TG003|No issues found"
done | tee seen.txt
printf '== called.py\nNo issues found\n== assigned.py\nTG003\n== nowhere.py\nTG003\n== manual.py\nNo issues found\n' | diff - seen.txt
