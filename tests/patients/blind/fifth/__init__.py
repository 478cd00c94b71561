"""Twenty ill trainings of the fifth blind round, in the form of the fourth: ten loops, six with Lightning, four others.

Each folder has ``train.py``, ``fixed.py`` and ``truth.yaml``. Their author had not seen the doctor.
"""

from __future__ import annotations

from pathlib import Path

from tests.patients.blind.fourth.folders import read

FOLDERS = sorted(file.parent for file in Path(__file__).parent.glob("*/truth.yaml"))
CASES = [read(folder) for folder in FOLDERS]
