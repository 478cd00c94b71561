"""Twenty ill trainings of the fourth blind round, each in a folder of its own and after a public thread.

``train.py`` is the training as posted, ``fixed.py`` its cure, and ``truth.yaml`` tells what is wrong. They were written
before the doctor was shown any of them.
"""

from __future__ import annotations

from tests.patients.blind.fourth.folders import FOLDERS, read

CASES = [read(folder) for folder in FOLDERS]
