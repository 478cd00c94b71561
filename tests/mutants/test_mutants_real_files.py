"""Of real files too, a mutant that is written in by hand is the very function that mutmut made."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import pytest

from faultlab.mutants.workspace import Workspace
from tests.generated_mutants import check, located, mutated

pytestmark = pytest.mark.nightly(
    reason="thousands of mutants; the quick ring has every way of writing in made-up files"
)
ROOT = Path(__file__).parents[2]
STDLIB = Path(sysconfig.get_paths()["stdlib"])
REAL = ["faultlab/core/fault.py", "faultlab/mutants/tokens.py", "scenarios/digits/model.py", "scenarios/text/model.py"]
# Form feeds, f-strings of all kinds, generators, coroutines, names that are defined twice, and texts in many scripts.
LIBRARY = ["textwrap.py", "asyncio/queues.py", "email/quoprimime.py", "shlex.py", "fractions.py"]


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    files = {f"real/{name}": (ROOT / name).read_bytes() for name in REAL}
    files |= {f"library/{name}": (STDLIB / name).read_bytes() for name in LIBRARY}
    return mutated(tmp_path_factory.mktemp("real"), files)


@pytest.mark.parametrize("file", [*(f"real/{name}" for name in REAL), *(f"library/{name}" for name in LIBRARY)])
def test_a_mutant_written_into_the_file_by_hand_is_the_function_that_mutmut_made(file: str, real: Workspace) -> None:
    source = (real.root / file).read_text(encoding="utf-8")
    mutants = located(real, file)
    assert len(mutants) > 30
    for mutant in mutants:
        check(real, mutant, source)
    assert [mutant.place for mutant in mutants if mutant.operator == "code replaced"] == []
