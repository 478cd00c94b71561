"""Alarms say where a batch was, and speak in the terms of the training that is observed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from faultlab import guards
from faultlab.guards.support.hand_loop import HandLoop
from faultlab.guards.support.terms import LOOPS, TRAINERS, Terms

_GUARDS = Path(guards.__file__).parent
_TRAINERS = re.compile(
    r"training_step|validation_step|configure_|optimizer_step|zero_grad does|self\.(?:log|parameters)|\bfit\b|"
    r"ckpt_path|manual_|the Trainer\b|Lightning"
)
_OF_TRAINERS_ALONE = {
    "checkpoints_reload.py": "it watches the checkpoints of a Trainer",
    "hooks_called.py": "a plain loop has no hooks",
    "learning_rate.py": "the scheduler that the Trainer does not know is one of configure_optimizers",
    "metrics_pooled.py": "a plain loop logs nothing with self.log",
    "metrics_synced.py": "a plain loop logs nothing with self.log",
    "rate_used.py": "it looks for configure_optimizers",
    "run_ended.py": "the limits and the checkpoint that it names are a Trainer's",
    "schedule_fits.py": "it reads what configure_optimizers returns",
    "validation_due.py": "it reads the plan of a Trainer's validation",
    "validation_runs.py": "it looks for validation_step",
}


def _guard(view: HandLoop) -> guards.Guard:
    guard = guards.StepsTaken()
    guard.setup(view, nn.Linear(1, 1), "fit")
    return guard


def test_a_batch_is_named_with_its_epoch_and_step() -> None:
    view = HandLoop([], None, None, 1, 8)
    guard = _guard(view)
    assert guard.batch_name(3) == "batch 3", "the first epoch"
    view.current_epoch, view.global_step = 2, 43
    assert guard.batch_name(3) == "batch 3 of epoch 2 (step 43)"
    assert guards.StepsTaken().batch_name(3) == "batch 3", "outside of a training"


def test_every_alarm_names_its_batch_in_the_same_way() -> None:
    spelled = re.compile(r"batch \0")
    assert [text for file in sorted(_GUARDS.glob("*.py")) for text in _texts(file) if spelled.search(text)] == []


def test_a_guard_speaks_in_the_terms_of_its_training() -> None:
    assert _guard(HandLoop([], None, None, 1, 8)).terms is LOOPS
    assert guards.StepsTaken().terms is TRAINERS
    assert TRAINERS.either("fit", "the loop") == "fit"
    assert LOOPS.either("fit", "the loop") == "the loop"


def test_the_terms_of_a_loop_name_nothing_of_a_trainer() -> None:
    for one in fields(Terms):
        if one.type == "str":
            assert not _TRAINERS.search(getattr(LOOPS, one.name))
            assert _TRAINERS.search(getattr(TRAINERS, one.name)), "or the term need not differ"


def test_no_text_speaks_of_a_trainer_to_a_plain_loop() -> None:
    left = [
        f"{file.name}: {text}"
        for file in sorted(_GUARDS.glob("*.py"))
        if file.name not in _OF_TRAINERS_ALONE
        for text in _texts(file)
        if _TRAINERS.search(text)
    ]
    assert left == []


@pytest.mark.parametrize("name", _OF_TRAINERS_ALONE)
def test_what_only_trainers_are_told_is_told_by_that_guard(name: str) -> None:
    assert any(_TRAINERS.search(text) for text in _texts(_GUARDS / name))


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


def _texts(file: Path) -> list[str]:
    """Return what a guard's alarms, advice and errors may say to a loop; the values of f-strings are left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    found = []
    for node in ast.walk(tree):
        called = node.func.attr if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) else ""
        if called == "either" or (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            continue
        if isinstance(node, ast.Call) and called in ("alarm", "advise"):
            found += [_said(argument) for argument in node.args[1:3]]
        elif isinstance(node, ast.Tuple) and len(node.elts) == 3 and _is_remedy(node.elts[2]):
            # A finding, whose alarm comes later.
            found += [_said(part) for part in node.elts[1:]]
        else:
            found += [
                _said(part) for part in ast.iter_child_nodes(node) if isinstance(part, ast.expr) and _is_remedy(part)
            ]
    return found


def _is_remedy(node: ast.expr) -> bool:
    said = _said(node)
    return said[:1].isupper() and said.endswith(".")


def _said(node: ast.expr) -> str:
    return "".join(_parts(node))


def _parts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant):
        yield node.value if isinstance(node.value, str) else ""
    elif isinstance(node, ast.FormattedValue):
        chosen = list(_parts(node.value)) if isinstance(node.value, ast.Call) else []
        yield "".join(chosen) or "\0"
    elif isinstance(node, ast.Call):
        # Of two texts the loop's.
        if isinstance(node.func, ast.Attribute) and node.func.attr == "either":
            yield from _parts(node.args[1])
    else:
        for part in ast.iter_child_nodes(node):
            yield from _parts(part)
