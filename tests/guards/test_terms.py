"""Alarms say where a batch was, and speak of the loop that trains."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from faultlab import guards
from faultlab.guards.support.hand_loop import HandLoop
from faultlab.guards.support.wording import IN_LOOPS, spoken

_GUARDS = Path(guards.__file__).parent
_TRAINERS = re.compile(
    r"training_step|validation_step|configure_|optimizer_step|zero_grad does|self\.(?:log|parameters)|\bfit\b|"
    r"ckpt_path|manual_|Lightning"
)
_OF_TRAINERS_ALONE = {
    "checkpoints_reload.py": "it watches the checkpoints of a Trainer",
    "hooks_called.py": "a plain loop has no hooks",
    "known_good.py": "its settings are those of a Trainer",
    "learning_rate.py": "the scheduler that Lightning does not know is one of configure_optimizers",
    "metrics_pooled.py": "a plain loop logs nothing with self.log",
    "metrics_synced.py": "a plain loop logs nothing with self.log",
    "rate_used.py": "it looks for configure_optimizers",
    "run_ended.py": "it ends with Trainer.fit",
    "schedule_fits.py": "it reads what configure_optimizers returns",
    "validation_due.py": "it reads the plan of a Trainer's validation",
    "validation_runs.py": "it looks for validation_step",
    "verifying.py": "its errors speak of its own arguments",
}


def test_a_batch_is_named_with_its_epoch_and_step() -> None:
    view = HandLoop([], None, None, 1, 8)
    assert spoken("batch 3 ended without a step", view) == "batch 3 ended without a step", "the first epoch"
    view.current_epoch, view.global_step = 2, 43
    assert spoken("batch 3 ended without a step", view) == "batch 3 of epoch 2 (step 43) ended without a step"
    assert spoken("in batch 3 of the epoch", view) == "in batch 3 of the epoch"
    assert spoken("the loss of a batch", view) == "the loss of a batch"


def test_what_is_said_otherwise_in_a_loop_is_said_by_some_guard() -> None:
    said = " ".join(_texts(_GUARDS))
    assert [text for text in IN_LOOPS if text not in said and not _split(text, said)] == []


def test_no_remedy_speaks_of_a_trainer_to_a_plain_loop() -> None:
    view = HandLoop([], None, None, 1, 8)
    left = [
        f"{file.name}: {text}"
        for file in sorted(_GUARDS.glob("*.py"))
        if file.name not in _OF_TRAINERS_ALONE
        for text in _texts(file)
        if text.endswith(".") and text[:1].isupper() and _TRAINERS.search(spoken(text, view))
    ]
    assert left == []


def test_a_loop_without_steps_is_told_about_its_loop() -> None:
    with pytest.raises(guards.Alarm) as raised:
        _train_without_later_steps()
    text = str(raised.value)
    assert "batch 0 of epoch 2 (step 4) ended without an optimizer step: no parameter changed" in text
    assert "the loop calls optimizer.step()" in text
    assert "training_step" not in text


def _train_without_later_steps() -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = DataLoader(TensorDataset(torch.ones(4, 3)), batch_size=2)
    with guards.watch(model, optimizer, loader=loader, guards=[guards.StepsTaken()]):
        for epoch in range(4):
            for (batch,) in loader:
                optimizer.zero_grad()
                model(batch).sum().backward()
                if epoch < 2:
                    optimizer.step()


def _texts(path: Path) -> list[str]:
    """Return the strings of guards without their docstrings; an f-string's values are left out."""
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    found = []
    for file in files:
        if file.name == "wording.py":
            continue
        tree = ast.parse(file.read_text(encoding="utf-8"))
        documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        strings = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in documented]
        found += [node.value for node in strings if isinstance(node.value, str)]
    return found


def _split(text: str, said: str) -> bool:
    """Return True if the parts of a text that a value divides are said."""
    return all(part in said for part in re.split(r"\d+", text))
