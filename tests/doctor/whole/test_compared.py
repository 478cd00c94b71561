"""Comparisons, seeds, averages and returned values that contradict their names, in the text of a script."""

from __future__ import annotations

import ast

import pytest

from faultlab.doctor.whole import compared

_ILL = {
    "directions": [
        "if val_loss > best_loss:\n    best_loss = val_loss\n    save()",
        "if best_acc > acc:\n    best_acc = acc",
    ],
    "last_batch": [
        "@torch.no_grad()\ndef evaluate(model, loader):\n    for x, y in loader:\n"
        "        out = model(x)\n    return accuracy(out, y)",
        "def test(m, val_loader):\n    with torch.no_grad():\n"
        "        for x, y in val_loader:\n            loss = f(m(x), y)\n    return loss",
    ],
    "seeded": ["for epoch in range(3):\n    torch.manual_seed(0)\n    train()"],
    "averages": [
        "class EMA:\n    def update(self): pass\n    def apply_shadow(self): pass\nema = EMA()\nema.update()",
    ],
    "plateaus": [
        "s = ReduceLROnPlateau(o)\ns.step(val_acc)",
        "self.s = optim.lr_scheduler.ReduceLROnPlateau(o, 'max')\nself.s.step(val_loss)",
    ],
}
_HEALTHY = {
    "directions": [
        "if val_loss < best_loss:\n    best_loss = val_loss",
        "if acc > best_acc:\n    best_acc = acc",
        "if val_loss > best_loss:\n    wait += 1",
        "if best_loss > val_loss:\n    best_loss = val_loss",
        "if score > best_score:\n    best_score = score",
    ],
    "last_batch": [
        "def evaluate(m, loader):\n    total = 0\n    for x, y in loader:\n"
        "        total += f(m(x), y)\n    return total / len(loader)",
        "def train(m, loader):\n    for x, y in loader:\n        loss = f(m(x), y)\n"
        "        loss.backward()\n    return loss",
        "def first(m, loader):\n    for x, y in loader:\n        break\n    return x",
        "def evaluate(m, loader):\n    out = []\n    for x, y in loader:\n"
        "        out.append(m(x))\n    return torch.cat(out)",
    ],
    "seeded": [
        "for epoch in range(3):\n    torch.manual_seed(epoch)\n    train()",
        "for fold in range(3):\n    torch.manual_seed(0)\n    train()",
    ],
    "averages": [
        "class EMA:\n    def update(self): pass\n    def apply_shadow(self): pass\n"
        "ema = EMA()\nema.update()\nema.apply_shadow()",
    ],
    "plateaus": [
        "s = ReduceLROnPlateau(o, mode='max')\ns.step(val_acc)",
        "s = ReduceLROnPlateau(o)\ns.step(val_loss)",
        "s = StepLR(o, 3)\ns.step(val_acc)",
    ],
}


def _facts(kind: str, text: str) -> int:
    return len(list(compared.facts(ast.parse(text))[kind]))


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in _ILL.items() for text in texts])
def test_a_contradiction_is_found(kind: str, text: str) -> None:
    assert _facts(kind, text) == 1


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in _HEALTHY.items() for text in texts])
def test_its_healthy_twin_is_not(kind: str, text: str) -> None:
    assert _facts(kind, text) == 0
