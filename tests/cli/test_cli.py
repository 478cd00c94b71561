"""The command line as a user meets it: what it prints, where, and the status it ends with."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from faultlab.catalogue import index
from tests import warm

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "pytorch_lightning", "lightning", "numpy", "scipy"}
_WATCHED = """
import atexit, json, sys

def tell():
    print("MODULES", json.dumps(sorted({name.partition(".")[0] for name in sys.modules})), file=sys.stderr)

atexit.register(tell)
sys.argv = ["faultlab", *sys.argv[1:]]
from faultlab.cli import main
main()
"""
_CALLED = """
import contextlib, io, json, sys
from faultlab.cli import main

told = []
for arguments in json.load(sys.stdin):
    sys.argv, status, out, err = ["faultlab", *arguments], 0, io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            status = ended.code or 0
    modules = sorted({name.partition(".")[0] for name in sys.modules})
    told.append([status, out.getvalue(), err.getvalue(), modules])
print(json.dumps(told))
"""


@dataclass(frozen=True)
class Done:
    """What a command left; ``modules`` are the packages that it imported."""

    status: int
    out: str
    err: str
    modules: frozenset[str]


def _faultlab(*arguments: str | Path) -> Done:
    env = {**os.environ, "COLUMNS": "80"}
    done = warm.run(["-c", _WATCHED, *arguments], imports="command", cwd=ROOT, env=env)
    err, _, modules = done.stderr.partition("MODULES ")
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return Done(done.returncode, done.stdout, err, frozenset(json.loads(modules)))


READS: list[tuple[list[str], str]] = [
    (["--help"], "Exit codes: 0 success"),
    (["run", "--help"], "--fail-under"),
    (["gate", "--help"], "--baseline"),
    (["diff", "--help"], "--exit-code"),
    (["merge", "--help"], "--out"),
    (["prescribe", "--help"], "--write"),
    (["sweep", "--help"], "--scenario"),
    (["watch", "--help"], "--stall"),
    (["--version"], "0.1.0"),
    (["list"], "return.none"),
    (["list", "return.*"], "return.none"),
    (["list", "--family", "return", "--effect", "warns"], "return.none"),
    (["explain", "return.none"], "Why it goes undetected"),
    (["dev", "docs", "--check"], "all up to date"),
]
WRONG: list[tuple[list[str], str]] = [
    (["lits"], "'list'"),
    (["explain", "return.nane"], "'return.none'"),
    (["explain", "qqqqqqqq"], "faultlab list"),
    (["explain"], "ID"),
    (["list", "retrun.*"], "'retrun.*'"),
    (["list", "return.nane"], "'return.none'"),
    (["list", "--jsno"], "--json"),
    (["list", "--family", "retrun"], "'return'"),
    (["list", "--seam", "Stepoutput"], "'StepOutput'"),
    (["list", "--severity", "grave"], "'critical'"),
    (["list", "--effect", "loud"], "'silent'"),
    (["list", "--applicable-to", "LitModel"], "package.module.LitModel"),
    (["list", "--applicable-to", "nowhere.yaml"], "nowhere.yaml: No such file"),
    (["dev", "new", "return.none"], "return_.py:"),
    (["dev", "new", "Return.none"], "family.kebab-name"),
    (["dev", "new", "re-turn.none"], "one word"),
    (["dev", "new", "return.nothing", "--seam", "StepOutptu"], "'StepOutput'"),
    (["dev", "new", "return.nothing", "--into", "nowhere"], "nowhere"),
    (["run", "--select", "return.nane"], "'return.none'"),
    (["run", "--select", "return.none@sometimes"], "@always"),
    (["run", "--ignore", "return.nane"], "'return.none'"),
    (["run", "--select", "lss.*"], "no failure mode matches 'lss.*'. Did you mean 'loss.*'?"),
    (["run", "--ignore", "return.none@step=3"], "return.none@step=3"),
    (["run", "--jobs", "0"], "--jobs"),
    (["run", "--engine", "warp"], "fork"),
    (["run", "nowhere.yaml"], "nowhere.yaml: no such file or folder"),
    (["run", "nowhere.yaml"], "faultlab init package.module:LitModel"),
    (["run", "scenarios/digits/scenari.yaml"], "Did you mean 'scenarios/digits/scenario.yaml'?"),
    (["run", "tests/zoo"], "faultlab init package.module:LitModel"),
    (["replay", "loss.nan", "--scenario", "nowhere.yaml"], "faultlab init package.module:LitModel"),
    (["replay", "loss.nane", "--scenario", "scenarios/digits/scenario.yaml"], "'loss.nan'"),
    (["sweep", "label.noisy", "--scenario", "scenarios/digits/scenari.yaml"], "Did you mean 'scenarios/digits/"),
    (["prescribe", "nowhere.yaml"], "faultlab init package.module:LitModel"),
    (["qqq"], "Commands: init, demo, run, prescribe"),
    (["prescribe", "nowhere.yaml"], "nowhere.yaml"),
    (["prescribe", "scenarios/digits/scenario.yaml", "--seeds", "2"], "--seeds"),
    (["sweep", "label.nosy", "--scenario", "scenarios/digits/scenario.yaml"], "'label.noisy'"),
    (["sweep", "label.noisy", "--scenario", "scenarios/digits/scenario.yaml", "--dose", "x"], "fraction"),
]


@pytest.fixture(scope="module")
def answers() -> dict[tuple[str, ...], Done]:
    """What the commands say that neither run nor change anything, called one after the other in one process."""
    asked = [arguments for arguments, _ in READS + WRONG]
    env = {**os.environ, "COLUMNS": "80"}
    done = warm.run(["-c", _CALLED], imports="command", cwd=ROOT, env=env, input=json.dumps(asked))
    assert done.returncode == 0, done.stderr
    found = [Done(status, out, err, frozenset(modules)) for status, out, err, modules in json.loads(done.stdout)]
    assert not any("Traceback" in one.out + one.err for one in found)
    return {tuple(arguments): one for arguments, one in zip(asked, found, strict=True)}


@pytest.mark.parametrize(("arguments", "said"), READS)
def test_what_only_reads_imports_no_torch(
    arguments: list[str], said: str, answers: dict[tuple[str, ...], Done]
) -> None:
    done = answers[tuple(arguments)]
    assert (done.status, done.err) == (0, "")
    assert said in done.out
    assert not done.modules & HEAVY


def test_list_as_json_is_one_document_with_every_failure_mode() -> None:
    done = _faultlab("list", "--json")
    listed = json.loads(done.out)
    assert [entry["id"] for entry in listed] == list(index.modes())
    assert not done.modules & HEAVY
    some = json.loads(_faultlab("list", "--json", "return.*", "step.raises").out)
    assert {entry["family"] for entry in some} == {"return", "step"}
    assert len([entry for entry in some if entry["family"] == "step"]) == 1


def test_explain_as_json_is_one_document_with_the_sections() -> None:
    done = _faultlab("explain", "--json", "return.none")
    told = json.loads(done.out)
    assert told["id"] == "return.none"
    assert told["source"].startswith("faultlab/injectors/return_.py:")
    assert all(told[section] for section in ("summary", "effect_text", "undetected", "example", "remedy"))
    assert not done.modules & HEAVY


@pytest.mark.parametrize(("arguments", "said"), WRONG)
def test_wrong_usage_ends_with_status_2_and_what_to_write_instead(
    arguments: list[str], said: str, answers: dict[tuple[str, ...], Done]
) -> None:
    done = answers[tuple(arguments)]
    assert (done.status, done.out) == (2, "")
    assert said in done.err
    assert not done.modules & HEAVY


def _scenario(
    folder: Path, name: str, module: str = "healthy.Model", data: str = "healthy.loader", **more: str
) -> Path:
    file = folder / f"{name}.yaml"
    lines = [
        "schema: 1",
        f"name: {name}",
        f"module: {{class_path: tests.broken.{module}}}",
        f"data: {{class_path: tests.broken.{data}}}",
        *(f"{key}: {value}" for key, value in {"trainer": "{max_epochs: 2}", **more}.items()),
    ]
    file.write_text("\n".join(lines) + "\n")
    return file


def test_every_file_that_is_wrong_is_reported_at_once_before_torch_is_imported(tmp_path: Path) -> None:
    _scenario(tmp_path, "good")
    syntax = _scenario(tmp_path, "syntax", trainer="{max_epochs: [}")
    types = _scenario(tmp_path, "types", tests="5", gate="{coverage: high}")
    done = _faultlab("run", tmp_path, "--out", tmp_path / "out")
    assert (done.status, done.out) == (2, "")
    assert f"{syntax}:5:24: invalid YAML" in done.err
    assert f"{types}:6:1: tests: expected a list, got 5" in done.err
    assert f"{types}:7:8: gate.coverage: " in done.err
    assert not done.modules & HEAVY


def test_a_folder_without_scenarios_is_refused(tmp_path: Path) -> None:
    done = _faultlab("run", tmp_path)
    assert done.status == 2
    assert f"{tmp_path}: no scenario file in this folder" in done.err


@pytest.fixture(scope="module")
def unbuildable(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """One run of every scenario whose code can't be called as the file says, as only the run can find."""
    folder = tmp_path_factory.mktemp("unbuildable")
    _scenario(folder, "kind", "no_lightning_module.Model")
    _scenario(folder, "import", "fails_to_import.Model")
    return _faultlab("run", folder, "--json", "--out", folder / "out")


@pytest.fixture(scope="module")
def missing(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """One run of scenarios that name things that do not exist, of which nothing is run."""
    folder = tmp_path_factory.mktemp("missing")
    _scenario(folder, "module", "nowhere.Model")
    _scenario(folder, "class", "healthy.Modle")
    _scenario(folder, "arguments", "healthy.Model, init_args: {speed: 1}")
    _scenario(folder, "trainer", trainer="{max_epoch: 2}")
    _scenario(folder, "guard", guards="[{trainer_flag: {detect_anomoly: true}}]")
    return _faultlab("run", folder, "--out", folder / "out")


@pytest.mark.parametrize(
    ("place", "said", "remedy"),
    [
        ("module.yaml:3:10", "no module named 'tests.broken.nowhere'", "Did you mean 'tests.broken.healthy'?"),
        ("class.yaml:3:10", "'tests.broken.healthy' has no 'Modle'", "Did you mean 'Model'?"),
        ("arguments.yaml:3:62", "unexpected keyword argument 'speed'", "Arguments: "),
        ("kind.yaml:3:1", "no_lightning_module.Model is not a LightningModule", "Name a LightningModule"),
        ("import.yaml:3:10", "raised RuntimeError: no licence found", "importable"),
        ("trainer.yaml:5:11", "Trainer has no argument 'max_epoch'", "Did you mean 'max_epochs'?"),
        ("guard.yaml:6:26", "Trainer has no argument 'detect_anomoly'", "Did you mean 'detect_anomaly'?"),
    ],
)
def test_a_scenario_that_names_what_is_not_there_is_told_where(
    unbuildable: Done, missing: Done, place: str, said: str, remedy: str
) -> None:
    lines = (unbuildable.err + missing.err).splitlines()
    told = [number for number, line in enumerate(lines) if f"/{place}: " in line]
    assert len(told) == 1, lines
    assert said in lines[told[0]]
    assert remedy in lines[told[0] + 1]


def test_scenarios_that_can_not_be_built_end_with_status_2(unbuildable: Done) -> None:
    assert unbuildable.status == 2
    assert [entry["error"]["kind"] for entry in json.loads(unbuildable.out)] == ["scenario", "scenario"]
    assert not unbuildable.modules & {"torch", "pytorch_lightning", "lightning"}, "the driver needs none of them"


def test_scenarios_that_name_what_does_not_exist_end_with_status_2_before_anything_runs(missing: Done) -> None:
    assert (missing.status, missing.out) == (2, "")
    assert not missing.modules & HEAVY


def test_a_clean_run_that_fails_ends_with_status_3_and_says_why(tmp_path: Path) -> None:
    for name in ("construct", "train"):
        _scenario(tmp_path, name, f"fails_to_{name}.Model")
    _scenario(tmp_path, "exits", "exits.Model")
    _scenario(tmp_path, "empty", data="without_data.loader")
    done = _faultlab("run", tmp_path, "--out", tmp_path / "out")
    assert done.status == 3
    for said in (
        "construct.yaml:1:1: the clean run already fails: FileNotFoundError: weights.pt is missing",
        "train.yaml:1:1: the clean run already fails: ZeroDivisionError: the clean run divides by zero",
        "empty.yaml:1:1: the clean run trains no step: the training loader yields no batch",
        "exits.yaml:1:1: the clean run's process ended with status 9",
    ):
        assert said in done.err
    assert f"Find the cause with `faultlab doctor {tmp_path / 'train.yaml'}`." in done.err
    for log in _logs_named(done.err):
        assert log.is_file(), log


def _logs_named(text: str) -> Iterator[Path]:
    for line in text.splitlines():
        if "Its output is in " in line:
            yield ROOT / line.partition("Its output is in ")[2].removesuffix(".")


@pytest.fixture(scope="module")
def ordinary(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Done]:
    """One quiet run of two scenarios of which the second asks for more than it gets."""
    folder = tmp_path_factory.mktemp("ordinary")
    _scenario(folder, "first")
    _scenario(folder, "second", gate="{coverage: 1.0}", guards="[{trainer_flag: {detect_anomaly: true}}]")
    select = ("--select", "return.none", "--select", "step.raises@step=1")
    return folder, _faultlab("run", folder, "-q", *select, "--out", folder / "out")


def test_quiet_prints_one_line_a_scenario(ordinary: tuple[Path, Done]) -> None:
    _, done = ordinary
    first, second = done.out.splitlines()
    assert first.startswith("first (partial): coverage 0.50: 1 detected, 1 only warned, 0 silent")
    assert "no gate in the scenario" in first
    assert "gate NOT passed" in second
    assert (done.status, done.err) == (1, "")


def test_a_run_leaves_its_records(ordinary: tuple[Path, Done]) -> None:
    folder, _ = ordinary
    out = folder / "out" / "first" / "selected"
    assert {"plan.json", "outcomes.jsonl", "report.json", "index.html", "logs"} <= {path.name for path in out.iterdir()}
    written = json.loads((out / "report.json").read_text())
    assert [fault["id"] for fault in written["faults"]] == ["return.none@always", "step.raises@step=1"]
    lines = (out / "outcomes.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["id"] for line in lines) == [fault["id"] for fault in written["faults"]]


def test_json_prints_one_document_and_nothing_else_and_resumes(ordinary: tuple[Path, Done]) -> None:
    folder, _ = ordinary
    select = ("--select", "return.none", "--select", "step.raises@step=1")
    file, out = folder / "first.yaml", folder / "out"
    judged = json.loads((out / "first" / "selected" / "report.json").read_text())["faults"]
    done = _faultlab("run", file, "--json", "--resume", *select, "--out", out, "--fail-under", "0.6")
    (told,) = json.loads(done.out)
    assert told == json.loads((out / "first" / "selected" / "report.json").read_text())
    assert told["faults"] == judged, "seconds and all: they were taken over"
    demands = {"fail_under": 0.6}
    assert told["gate"] == {
        "passed": False,
        "reasons": ["coverage 0.50 is below 0.60"],
        "kinds": ["coverage"],
        "demands": demands,
    }
    assert (done.status, done.err) == (1, "")


def test_a_false_alarm_comes_with_what_to_do_about_it(capsys: pytest.CaptureFixture[str]) -> None:
    from faultlab.cli.progress import Progress
    from faultlab.core.alert import Alert
    from faultlab.core.report import Baseline

    Progress().measured(Baseline(false_alarms=[Alert("guard", "Strict", 3, "too slow")]))
    said = capsys.readouterr().out
    assert "false alarm by Strict: too slow" in said
    assert "Loosen the check, or remove it from the scenario" in said
