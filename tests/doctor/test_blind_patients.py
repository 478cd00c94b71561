"""The patients of the last two blind rounds are what their folders say; the doctor is not asked here."""

from __future__ import annotations

import difflib
import importlib.util
import re
from pathlib import Path

import pytest

from tests.patients.blind import fifth, fourth
from tests.patients.blind.case import Case
from tests.patients.blind.fourth.folders import FOLDERS as FOURTH
from tests.patients.blind.fourth.folders import script, truth
from tests.patients.blind.fourth.measure import SEEDS, pair

FOLDERS = [*FOURTH, *fifth.FOLDERS]
CASES = [*fourth.CASES, *fifth.CASES]
CATEGORIES = {
    *("checkpoint", "data", "fine-tuning", "init", "labels", "loss"),
    *("metric", "mode", "optimizer", "precision", "schedule", "step"),
}


def of_round(folder: Path) -> str:
    return f"{folder.parent.name}-{folder.name}"


def case_of(folder: Path) -> Case:
    (case,) = (one for one in CASES if one.name == folder.name)
    return case


def test_no_thread_and_no_name_stands_twice() -> None:
    assert len({case.thread for case in CASES}) == len({case.name for case in CASES}) == len(FOLDERS) == 40


@pytest.mark.parametrize(("folders", "lightning"), [(FOURTH, 10), (fifth.FOLDERS, 6)], ids=["fourth", "fifth"])
def test_each_round_has_twenty_patients_a_part_of_them_with_lightning(folders: list[Path], lightning: int) -> None:
    assert len(folders) == 20
    assert sum("Trainer" in script(folder, False) and "lightning" in folder.name for folder in folders) == lightning


def test_the_fourth_round_covers_all_categories_and_the_fifth_adds_five() -> None:
    assert {truth(folder)["category"] for folder in FOURTH} == CATEGORIES
    added = {truth(folder)["category"] for folder in fifth.FOLDERS} - CATEGORIES
    assert added == {"accumulation", "preprocessing", "sequence", "state", "wiring"}


@pytest.mark.parametrize("folder", FOLDERS, ids=of_round)
def test_the_cure_changes_a_few_lines(folder: Path) -> None:
    ill, fixed = (script(folder, remedied).splitlines() for remedied in (False, True))
    changed = [line for line in difflib.ndiff(ill, fixed) if line[0] in "+-" and line[1:].strip()]
    assert 1 <= len(changed) <= 8


@pytest.mark.parametrize("folder", FOLDERS, ids=of_round)
def test_the_accepted_phrases_fit_the_true_cause_and_no_wrong_one(folder: Path) -> None:
    known = truth(folder)
    case = case_of(folder)
    assert re.search(case.cause, known["cause"], re.DOTALL | re.IGNORECASE)
    assert re.search(case.remedy, known["remedy"], re.DOTALL | re.IGNORECASE)
    for text in known["wrong"]:
        assert not (re.search(case.cause, text, re.IGNORECASE) and re.search(case.remedy, text, re.IGNORECASE)), text


@pytest.mark.nightly(reason="trains each patient and its cure three times")
@pytest.mark.parametrize("folder", FOLDERS, ids=of_round)
def test_the_ill_training_is_worse_than_its_cure(folder: Path) -> None:
    known = truth(folder)
    if "needs" in known and not importlib.util.find_spec(known["needs"]):
        pytest.skip(f"needs {known['needs']}")
    for one in (pair(folder, seed) for seed in SEEDS):
        assert one.ill > known["worse"] * one.fixed, one
