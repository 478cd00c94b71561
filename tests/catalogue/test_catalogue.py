"""The failure modes as they are declared: read from the source and imported, the two must agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from faultlab.catalogue import failure_mode as catalogue
from faultlab.catalogue import index
from faultlab.catalogue.failure_mode import Dose, FailureMode, declare, nearest
from faultlab.catalogue.injection_points import Batch, StepOutput
from faultlab.catalogue.requirements import REQUIREMENTS
from faultlab.core.fault import MODE_ID, Fault, Trigger
from faultlab.errors import CatalogueError, UsageError
from faultlab.injection import registry
from faultlab.injection.registry import Registered, failure_mode

MODES = index.modes()
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def imported() -> dict[str, Registered]:
    return dict(registry.load())


def test_the_index_and_the_imported_catalogue_list_the_same_failure_modes(
    imported: dict[str, Registered],
) -> None:
    assert list(MODES) == list(imported)
    assert MODES


@pytest.mark.parametrize("id", MODES)
def test_the_index_and_the_imported_catalogue_agree_on_every_field(imported: dict[str, Registered], id: str) -> None:
    for field in fields(FailureMode):
        assert getattr(MODES[id], field.name) == getattr(imported[id].mode, field.name), field.name
    assert MODES[id].seam == imported[id].mode.point.name


@pytest.mark.parametrize("id", MODES)
def test_a_failure_mode_is_well_declared(id: str) -> None:
    mode = MODES[id]
    assert MODE_ID.match(id)
    assert mode.id == id
    assert Path(mode.file).stem.partition("_")[0] == mode.family, "a file is called after its family"
    assert mode.sections.missing() == []
    assert all(mode.evidence) if mode.evidence else len(mode.no_evidence) > 10
    assert set(mode.needs) <= set(REQUIREMENTS), set(mode.needs) - set(REQUIREMENTS)
    assert mode.cause
    assert all(word and word == word.lower() for word in mode.cause)
    for dose in mode.doses:
        dose.check(dose.default)
        assert dose.meaning
        assert Fault.parse(str(Fault(id, {dose.name: dose.default}))).dose == {dose.name: dose.default}


def test_no_id_is_declared_in_two_places() -> None:
    files = sorted((ROOT / "faultlab" / "injectors").glob("[!_]*.py"))
    counts = Counter(mode.id for file in files for mode in index.read(file))
    assert [id for id, count in counts.items() if count > 1] == []


DECLARED: dict[str, Any] = {
    "point": StepOutput(),
    "severity": "minor",
    "effect": "silent",
    "cause": ("loss",),
    "evidence": ("a/b#1",),
}


@pytest.mark.parametrize(
    ("id", "changed", "said"),
    [
        ("Loss.nan", {}, "family.kebab-name"),
        ("loss", {}, "family.kebab-name"),
        ("loss.x", {"severity": "bad"}, "critical, major, minor"),
        ("loss.x", {"effect": "loud"}, "raises, warns, silent"),
        ("loss.x", {"when": "never"}, "always, middle"),
        ("loss.x", {"stages": ("train", "fit")}, "fit"),
        ("loss.x", {"evidence": ()}, "no_evidence"),
        ("loss.x", {"no_evidence": "both"}, "no_evidence"),
        ("loss.x", {"cause": "loss"}, "tuple"),
        ("loss.x", {"cause": ("Loss",)}, "lowercase"),
        ("loss.x", {"cause": ("",)}, "lowercase"),
        ("loss.x", {"needs": "labels"}, "tuple"),
        ("loss.x", {"colour": "red"}, "colour"),
        ("loss.x", {"point": "StepOutput"}, "invalid seam: expected an injection point"),
    ],
)
def test_a_wrong_declaration_is_refused_with_its_place(id: str, changed: dict[str, Any], said: str) -> None:
    with pytest.raises(CatalogueError) as refusal:
        declare(id=id, docstring="Says it.", file="mine.py", line=7, **{**DECLARED, **changed})
    assert said in str(refusal.value)
    assert repr(id) in str(refusal.value)
    assert "mine.py:7" in str(refusal.value)


def test_declaring_a_failure_mode_twice_is_refused_and_both_places_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_REGISTRY", {})
    declared = {name: value for name, value in DECLARED.items() if name != "point"}
    register = failure_mode("made.up", seam=StepOutput, **declared)

    def first(output: Any, ctx: Any) -> None: ...

    def second(output: Any, ctx: Any) -> None: ...

    register(first)
    register(first)
    with pytest.raises(CatalogueError, match=r"made\.up is declared twice: in .*test_catalogue\.py:\d+ and .*:\d+"):
        register(second)


IMPORTS = """from faultlab import failure_mode
from faultlab.catalogue import injection_points as points
from faultlab.catalogue.injection_points import StepOutput
"""


def _source(declaration: str) -> str:
    return f'{IMPORTS}\n{declaration}\ndef broken(output, ctx):\n    "Says it."\n'


GOOD = 'seam=StepOutput, severity="minor", effect="silent", cause=("loss",), evidence=("a/b#1",)'


def test_declaring_twice_is_refused_by_the_index_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = tmp_path / "one.py", tmp_path / "other.py"
    for file in (one, other):
        file.write_text(_source(f'@failure_mode("made.up", {GOOD})'))
    monkeypatch.setattr(index, "_files", lambda: [(one, ""), (other, "")])
    with pytest.raises(CatalogueError, match=r"duplicate failure mode 'made\.up': .*one\.py.*other\.py"):
        index.modes.__wrapped__()


@pytest.mark.parametrize(
    "declaration",
    [
        f'@failure_mode("made.up", {GOOD}, needs=NEEDS)',
        f'@failure_mode("made.up", {GOOD}, needs=("a", *NEEDS))',
        f'@failure_mode("made.up", {GOOD}, doses=tuple(DOSES))',
        f'@failure_mode("made.up", {GOOD}, doses=(Dose("x", float("inf")),))',
        f'@failure_mode("made." + name, {GOOD})',
        f"@failure_mode(ID, {GOOD})",
        f'@failure_mode("made.up", {GOOD}, **more)',
        f'@failure_mode(id="made.up", {GOOD})',
        '@failure_mode("made.up", "StepOutput")',
        f'@failure_mode("made.up", {GOOD}, hangs=1 < 2)',
        f'@failure_mode("made.up", {GOOD.replace("StepOutput", "SEAMS[0]")})',
    ],
)
def test_a_declaration_of_other_things_than_literals_gives_an_error_with_its_line(
    tmp_path: Path, declaration: str
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(_source(declaration))
    with pytest.raises(CatalogueError) as refusal:
        list(index.read(file))
    assert str(refusal.value).startswith(f"{file}:5: ")


def test_the_index_reads_a_declaration_in_full(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    made = GOOD.replace("StepOutput", 'points.Batch("inputs", wanted="floating")')
    more = 'doses=(Dose("share", 0.5, low=-1.0, meaning="how much"),), stages="every", when="middle", hangs=True'
    file.write_text(_source(f'@failure_mode("made.up", {made}, {more})'))
    (mode,) = index.read(file)
    assert (mode.point, mode.seam) == (Batch("inputs", "floating"), "Batch")
    assert (mode.when, mode.hangs) == ("middle", True)
    assert (mode.file, mode.line) == (str(file), 5)
    assert mode.doses == (Dose("share", 0.5, low=-1.0, meaning="how much"),)
    assert mode.stages == ("train", "validate", "test", "predict")


_THIRD_PARTY = '''
"""Another project's failure mode."""

from faultlab import failure_mode
from faultlab.catalogue.injection_points import StepOutput


@failure_mode("theirs.own", seam=StepOutput, severity="minor", effect="silent", cause=("own",), no_evidence="made up")
def own(output, ctx):
    """Theirs.

    Effect: none.
    """
    return output
'''
_ASK = """
import json, sys
from dataclasses import asdict
from faultlab.catalogue import index
from faultlab.injection import registry
read = index.modes()["theirs.own"]
light = "torch" not in sys.modules
print(json.dumps([light, asdict(read), read == registry.load()["theirs.own"].mode]))
"""


def test_a_third_partys_failure_mode_is_found_through_the_entry_point_group(tmp_path: Path) -> None:
    _install(tmp_path, "theirs.modes")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "__init__.py").touch()
    (tmp_path / "theirs" / "modes.py").write_text(_THIRD_PARTY.lstrip())
    done = _python(tmp_path, _ASK)
    assert done.returncode == 0, done.stderr
    light, read, same = json.loads(done.stdout)
    assert light, "reading the index imported torch"
    assert same
    assert read["line"] == 7
    assert read["sections"]["effect"] == "None."


def test_an_entry_point_that_names_nothing_gives_a_clear_error(tmp_path: Path) -> None:
    _install(tmp_path, "nowhere.modes")
    done = _python(tmp_path, "from faultlab.cli import main\nimport sys\nsys.argv[1:] = ['list']\nmain()")
    assert done.returncode == 2
    assert "the entry point 'more' names the module 'nowhere.modes', which does not exist" in done.stderr
    assert "Traceback" not in done.stderr


_OWN_SEAM = """
from faultlab import failure_mode

from .points import Own

@failure_mode("theirs.own", seam=Own(2), severity="minor", effect="silent", cause=("own",), no_evidence="made up")
def own(value, ctx):
    "Theirs."
    return value
"""
_OWN_POINT = """
from dataclasses import dataclass
from faultlab.catalogue.injection_points import InjectionPoint

@dataclass(frozen=True)
class Own(InjectionPoint):
    "Theirs."
    times: int = 1
"""
_OWN_HOOK = """
import torch
from faultlab.injection.hooks import hooks
from theirs.points import Own

@hooks(Own, framework="lightning")
def own(point, patches, armed, site):
    patches.wrap(torch, "manual_seed", lambda seed: lambda value: seed(armed.map(value) * point.times))
"""
_ATTACH = """
import sys
from faultlab.catalogue import index
from faultlab.core.fault import Fault
from faultlab.core.target_profile import TargetProfile
print(index.modes()["theirs.own"].point, "torch" in sys.modules)
from faultlab.injection import hooks, registry
from faultlab.injection.armed_fault import Armed
from faultlab.injection.clock import Clock
print("Own" in hooks.offered("lightning"))
import torch
armed = Armed(Fault("theirs.own"), registry.load()["theirs.own"], Clock(), TargetProfile())
with hooks.attach(armed, hooks.Site(type(None))):
    torch.manual_seed(21)
print(torch.initial_seed())
"""


def test_a_third_partys_seam_of_its_own_is_read_without_torch_and_attached_by_its_own_hook(tmp_path: Path) -> None:
    _install(tmp_path, "theirs.modes", "[faultlab.hooks]\nlightning = theirs.hooks\n")
    (tmp_path / "theirs").mkdir()
    for name, text in (("__init__", ""), ("modes", _OWN_SEAM), ("points", _OWN_POINT), ("hooks", _OWN_HOOK)):
        (tmp_path / "theirs" / f"{name}.py").write_text(text)
    done = _python(tmp_path, _ATTACH)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["Own(times=2) False", "True", "42"]


@pytest.mark.parametrize(
    ("seam", "said"),
    [
        ("Nowhere", "the seam Nowhere is not imported in this file. Define it in a module that does not import torch"),
        ("points.Nowhere", "cannot import the seam points.Nowhere: ModuleNotFoundError"),
        ("failure_mode", "the seam failure_mode is not an injection point"),
        ('StepOutput("loss")', "cannot construct the seam StepOutput('loss'): "),
    ],
)
def test_a_seam_that_can_not_be_read_is_refused_with_its_line_and_the_remedy(
    tmp_path: Path, seam: str, said: str
) -> None:
    file = tmp_path / "mine.py"
    file.write_text(_source(f'@failure_mode("made.up", {GOOD.replace("StepOutput", seam)})'))
    with pytest.raises(CatalogueError) as refusal:
        list(index.read(file))
    assert str(refusal.value).startswith(f"{file}:5: {said}")


def test_a_seam_whose_module_imports_torch_is_refused_with_the_remedy(tmp_path: Path) -> None:
    _install(tmp_path, "theirs.modes")
    (tmp_path / "theirs").mkdir()
    for name, text in (("__init__", ""), ("modes", _OWN_SEAM), ("points", f"import torch\n{_OWN_POINT}")):
        (tmp_path / "theirs" / f"{name}.py").write_text(text)
    done = _python(tmp_path, "from faultlab.cli import main\nimport sys\nsys.argv[1:] = ['list']\nmain()")
    assert done.returncode == 2
    assert "modes.py:6: importing the seam Own imports torch. Define the seam in a module that" in done.stderr
    assert "Traceback" not in done.stderr


def _install(folder: Path, module: str, more: str = "") -> None:
    info = folder / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[faultlab.injectors]\nmore = {module}\n{more}")


def _python(path: Path, code: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": f"{path}{os.pathsep}{ROOT}"}
    return subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=120)


def _mode(**changed: Any) -> FailureMode:
    return declare(id="made.up", docstring="Says it.", **{**DECLARED, **changed})


def test_a_fault_is_completed_by_its_failure_modes_default_trigger() -> None:
    assert _mode().complete(Fault("made.up"), 9).trigger == Trigger("always")
    assert _mode(when="middle").complete(Fault("made.up"), 9).trigger == Trigger("step", 4)
    assert _mode(when="middle").complete(Fault.parse("made.up@once,seed=3"), 9) == Fault.parse("made.up@once,seed=3")


@pytest.mark.parametrize(
    ("dose", "said"),
    [
        ("y=1", "expected x"),
        ("x=word", "a number"),
        ("x=-0.1", "0.0 to 1.0"),
        ("x=1.1", "0.0 to 1.0"),
        ("n=0", "at least 1"),
        ("m=3", "at most 2"),
    ],
)
def test_a_dose_outside_its_range_is_refused(dose: str, said: str) -> None:
    mode = _mode(doses=(Dose("x", 0.5, 0.0, 1.0), Dose("n", 2, low=1), Dose("m", 1, high=2)))
    with pytest.raises(UsageError, match=said):
        mode.complete(Fault.parse(f"made.up:{dose}"), 9)
    assert mode.amounts(Fault.parse("made.up:x=1")) == {"x": 1, "n": 2, "m": 1}


def test_the_nearest_word_is_offered_and_nothing_that_is_far_off() -> None:
    assert nearest("return.non", ["loss.nan", "return.none"]) == "Did you mean 'return.none'?"
    assert nearest("qqqq", ["loss.nan", "return.none"]) == ""


def test_a_dose_of_another_kind_is_told_its_own() -> None:
    for dose, value, said in [
        (Dose("x", "a"), 1, "invalid dose 'x=1': expected a word"),
        (Dose("x", 1), "a", "invalid dose 'x=a': expected a number"),
    ]:
        with pytest.raises(UsageError) as refusal:
            dose.check(value)
        assert str(refusal.value) == said
    Dose("x", "a").check("b")


def test_a_dose_that_a_failure_mode_has_not_is_told_those_it_has() -> None:
    with pytest.raises(UsageError, match=r"has no dose 'x': expected none$"):
        MODES["return.none"].complete(Fault("return.none", {"x": 1}), 8)


@pytest.mark.parametrize("field", ["cause", "stages", "doses", "needs", "evidence"])
def test_a_single_value_where_a_tuple_belongs_is_refused(field: str) -> None:
    declaration = {"point": StepOutput(), "severity": "minor", "effect": "silent", "evidence": ("a#1",), field: "loss"}
    with pytest.raises(CatalogueError, match=rf"invalid {field}: expected a tuple\. Write a single word with a comma"):
        declare(id="loss.made-up", docstring="Made up.", **declaration)


def test_globs_and_families_keep_the_order_of_names() -> None:
    assert catalogue.matching("loss.n*", ["loss.nan", "loss.one", "a.loss.nan", "loss.n"]) == ["loss.nan", "loss.n"]
    chosen = [MODES[id] for id in ("return.none", "loss.nan", "loss.constant") if id in MODES]
    grouped = [(family, [mode.id for mode in modes]) for family, modes in catalogue.families(chosen)]
    assert grouped == [("loss", sorted(m.id for m in chosen if m.family == "loss")), ("return", ["return.none"])]
