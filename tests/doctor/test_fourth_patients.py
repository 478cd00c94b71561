"""The patients of the fourth blind round are what their folders say; the doctor is not asked here."""

from __future__ import annotations

import difflib
import importlib.util
import re
from pathlib import Path

import pytest

from tests.patients.blind.fourth import CASES
from tests.patients.blind.fourth.folders import FOLDERS, script, truth
from tests.patients.blind.fourth.measure import SEEDS, pair

CATEGORIES = {
    *("checkpoint", "data", "fine-tuning", "init", "labels", "loss"),
    *("metric", "mode", "optimizer", "precision", "schedule", "step"),
}


def test_twenty_patients_half_of_them_with_lightning_cover_all_categories() -> None:
    assert len(FOLDERS) == len({case.thread for case in CASES}) == 20
    assert sum("Trainer" in script(folder, False) and "lightning" in folder.name for folder in FOLDERS) == 10
    assert {truth(folder)["category"] for folder in FOLDERS} == CATEGORIES


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_cure_changes_a_few_lines(folder: Path) -> None:
    ill, fixed = (script(folder, remedied).splitlines() for remedied in (False, True))
    changed = [line for line in difflib.ndiff(ill, fixed) if line[0] in "+-" and line[1:].strip()]
    assert 1 <= len(changed) <= 8


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_accepted_phrases_fit_the_true_cause_and_no_wrong_one(folder: Path) -> None:
    known = truth(folder)
    (case,) = (one for one in CASES if one.name == folder.name)
    assert re.search(case.cause, known["cause"], re.DOTALL | re.IGNORECASE)
    assert re.search(case.remedy, known["remedy"], re.DOTALL | re.IGNORECASE)
    for text in known["wrong"]:
        assert not (re.search(case.cause, text, re.IGNORECASE) and re.search(case.remedy, text, re.IGNORECASE)), text


@pytest.mark.nightly(reason="trains each patient and its cure three times")
@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)
def test_the_ill_training_is_worse_than_its_cure(folder: Path) -> None:
    known = truth(folder)
    if "needs" in known and not importlib.util.find_spec(known["needs"]):
        pytest.skip(f"needs {known['needs']}")
    for one in (pair(folder, seed) for seed in SEEDS):
        assert one.ill > known["worse"] * one.fixed, one
