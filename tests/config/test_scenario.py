"""Scenario files: what a good one gives, and everything that is wrong with a bad one, each with its place."""

from __future__ import annotations

import datetime
import re
from pathlib import Path
from textwrap import dedent

import pytest

from faultlab.config.scenario import Scenario, find, load, load_all, project_root
from faultlab.config.source_lookup import place_of
from faultlab.errors import Problem, ScenarioError, UsageError

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "scenarios").rglob("*.yaml"))

DESIGNED = """\
schema: 1
name: digits
module: {class_path: scenarios.digits.model.LitDigits, init_args: {learning_rate: 0.01}}
data: {class_path: scenarios.digits.model.DigitsData}
trainer: {max_epochs: 2, limit_train_batches: 16}
guards:
  - {class_path: pytorch_lightning.callbacks.EarlyStopping, init_args: {monitor: train_loss, check_finite: true}}
  - trainer_flag: {detect_anomaly: true}
tests: [tests/test_model.py]
monitor: {metric: val_loss, mode: min}
batch: {inputs: "0", labels: "1"}
faults:
  select: ["*"]
  when: {"return.none": ["@always", "@step=8"]}
  ignore: [{mode: "return.*", reason: "constant rate on purpose", expires: 2027-06-30}]
gate: {coverage: 0.8, silent: {critical: 0}, false_alarms: 0}
"""
GOOD = "schema: 1\nname: good\nmodule: {class_path: pkg.Model}\n"


def _write(folder: Path, text: str | bytes, name: str = "bad.yaml") -> Path:
    file = folder / name
    file.write_bytes(text if isinstance(text, bytes) else dedent(text).encode())
    return file


def _problems(file: Path) -> list[Problem]:
    with pytest.raises(ScenarioError) as refusal:
        load(file)
    return refusal.value.problems


def test_the_designs_example_loads(tmp_path: Path) -> None:
    scenario = load(_write(tmp_path, DESIGNED))
    assert scenario.name == "digits"
    assert scenario.module is not None
    assert scenario.module.init_args == {"learning_rate": 0.01}
    assert scenario.guards[1].trainer_flag == {"detect_anomaly": True}
    assert scenario.faults.ignore[0].expires == datetime.date(2027, 6, 30)
    assert scenario.gate.silent == {"critical": 0}
    assert scenario.for_victims()["module"] == {
        "class_path": "scenarios.digits.model.LitDigits",
        "init_args": {"learning_rate": 0.01},
    }


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_shipped_scenario_loads(file: Path) -> None:
    assert load(file).file == file


def test_the_shipped_scenarios_load_together() -> None:
    assert len(load_all((ROOT / "scenarios",))) == len(SHIPPED) > 0


def test_a_scenario_without_a_gate_asks_for_nothing(tmp_path: Path) -> None:
    gate = load(_write(tmp_path, GOOD)).gate
    assert (gate.coverage, gate.silent, gate.false_alarms) == (None, {}, None)


# Each case: what follows GOOD, the text at which the problem stands, and words of the message and of the remedy.
@pytest.mark.parametrize(
    ("more", "at", "message", "remedy"),
    [
        ("traner: {}\n", "traner", "unknown key 'traner'", "'trainer'"),
        ("data: {class_path: a.b, init_arg: {}}\n", "init_arg", "unknown key 'init_arg'", "'init_args'"),
        ("gate: {coverge: 0.8}\n", "coverge", "unknown key 'coverge'", "'coverage'"),
        ("framework: lightening\n", "framework", "unknown framework 'lightening'", "Did you mean 'lightning'"),
        ("framework: keras\n", "framework", "unknown framework 'keras'", "Frameworks: lightning"),
        ("zzzzz: 1\n", "zzzzz", "unknown key 'zzzzz'", "Known keys: schema"),
        ("1: one\n", "1: one", "1", "string"),
        ("trainer: 5\n", "trainer", "trainer", "mapping"),
        ("trainer:\n", "trainer", "trainer", "Write"),
        ("tests: tests/test_x.py\n", "tests:", "tests", "[...]"),
        ("faults: [x]\n", "faults", "faults", "Write"),
        ("guards: [EarlyStopping]\n", "EarlyStopping", "guards.0", "Write"),
        ("monitor: {metric: 5}\n", "metric", "monitor.metric", "quotes"),
        ("monitor: {metric: x, mode: least}\n", "mode: least", "'min' or 'max'", ""),
        ("monitor: {mode: min}\n", "monitor", "missing key 'metric'", "Add `metric:`"),
        ("batch: {inputs: 0}\n", "inputs", "path into the batch", "quotes"),
        ("gate: {coverage: high}\n", "coverage", "number", ""),
        ("gate: {coverage: 1.5}\n", "coverage", "at most 1.0", ""),
        ("gate: {false_alarms: 0.5}\n", "false_alarms", "integer", ""),
        ("gate: {silent: {critcal: 0}}\n", "critcal", "unknown severity 'critcal'", "critical, major, minor"),
        ("gate: {silent: {critical: -1}}\n", "critical", "at least 0", ""),
        ("data: {class_path: Data}\n", "class_path: Data", "class_path", "package.module.Class"),
        ("build: {class_path: a.build}\n", "schema", "either `module` or `build`", "factory"),
        ("guards: [{name: mine}]\n", "{name", "one of `class_path`, `trainer_flag` and `command`", ""),
        ("guards: [{class_path: a.B, command: c}]\n", "{class_path", "one of `class_path`, `trainer_flag` and", ""),
        ("guards: [{command: c, init_args: {a: 1}}]\n", "{command", "`init_args` can't be", "into the command"),
        ("guards: [{command: 'judge {logs}'}]\n", "{command", "unknown placeholder '{logs}'", "{log}, {checkpoint}"),
        ("guards: [{command: 'judge \"{log}'}]\n", "{command", "invalid `command`: No closing quotation", "{log}"),
        ("guards: [{command: ' '}]\n", "{command", "invalid `command`: it is empty", "{log}"),
        ("name: other\n", "name: other", "duplicate key 'name'", "Remove one"),
        ("trainer: {max_epochs: 1, max_epochs: 2}\n", "max_epochs: 2", "duplicate key 'max_epochs'", "Remove one"),
        ("faults: {select: [return.nane]}\n", "return.nane", "'return.nane'", "'return.none'"),
        ("faults: {select: [return.none, 'zzzzz.*']}\n", "'zzzzz", "no failure mode matches", "faultlab list"),
        ("faults: {select: [return.nane@once]}\n", "return.nane", "unknown failure mode", "'return.none'"),
        ("faults: {select: ['return.none@sometimes']}\n", "'return.none@", "sometimes", "use @always"),
        ("faults: {select: ['return.none:x=1']}\n", "'return.none:", "has no dose 'x'", "none"),
        ("faults: {when: {return.nane: ['@once']}}\n", "return.nane", "'return.nane'", "'return.none'"),
        ("faults: {when: {return.none: ['@once', '@on']}}\n", "'@on']", "unknown trigger @on", "use @always"),
        ("faults: {when: {return.none: []}}\n", "return.none", "at least 1 item", ""),
        ("faults: {ignore: [{mode: returns.none, reason: why, expires: 2027-06-30}]}\n", "mode", "returns", "return."),
        ("faults: {ignore: [{mode: return.none, reason: why, expires: soon}]}\n", "expires", "date", "2027-06-30"),
        ("faults: {ignore: [{mode: return.none, reason: why, expires: 2027-13-40}]}\n", "2027-13", "month", "Fix"),
        ("faults: {ignore: [{mode: return.none, reason: why}]}\n", "{mode", "missing key 'expires'", "Add `expires:`"),
        ("trainer: {callbacks: [}\n", "}\n", "invalid YAML", "Fix the YAML syntax"),
        ("trainer: {x: !!python/object:os.system {}}\n", "!!python", "invalid YAML", "Fix the YAML syntax"),
        ("trainer: &again {x: *again}\n", "&again", "contains itself", "Remove"),
        ("--- \nschema: 1\n", "--- ", "document", ""),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_where_it_stands_with_a_remedy(
    tmp_path: Path, more: str, at: str, message: str, remedy: str
) -> None:
    text = GOOD + more
    offset = 0 if at == "schema" else text.index(at, len(GOOD))
    (problem,) = _problems(_write(tmp_path, text))
    line = text.count("\n", 0, offset) + 1
    place = (line, offset - (text.rfind("\n", 0, offset) + 1) + 1)
    assert (problem.line, problem.column) == place, str(problem)
    assert message in problem.message
    assert remedy in f"{problem.message}\n{problem.remedy}"


def test_everything_wrong_is_said_at_once_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = _write(
        tmp_path,
        """\
        schema: 2
        name: a/b
        build: {class_path: pkg.build}
        data: {class_path: pkg.data}
        modul: {class_path: pkg.Model}
        trainer: {max_epochs: 1, max_epochs: 2}
        monitor: {metric: 5}
        guards: [{}]
        faults:
          select: [return.nane]
          when: {return.none: ["@sometimes"]}
          ignore: [{mode: zzzzz, reason: "", expires: soon}]
        gate: {silent: {awful: 0}}
        """,
    )
    problems = _problems(file)
    assert [problem.line for problem in problems] == [1, 2, 4, 5, 6, 7, 8, 10, 11, 12, 12, 12, 13]
    text = str(ScenarioError(problems))
    assert all(re.match(rf"{re.escape(str(file))}:\d+:\d+: .", str(problem)) for problem in problems)
    for words in (
        "duplicate key",
        "return.none",
        "@sometimes",
        "`data` can't be combined with `build`",
        "unknown severity",
    ):
        assert words in text


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (b"", (1, 1), "expected a mapping of a scenario's keys"),
        (b"# nothing\n", (1, 1), "expected a mapping of a scenario's keys"),
        (b"- schema: 1\n", (1, 1), "expected a mapping of a scenario's keys"),
        (b"just words", (1, 1), "expected a mapping of a scenario's keys"),
        (b"schema: 1\nname: caf\xe9\n", (2, 10), "not UTF-8"),
        (b"schema: 1\nname: a\x00b\n", (2, 8), "invalid YAML"),
        (b"schema: 1\n\tname: x\n", (2, 1), "invalid YAML"),
    ],
)
def test_a_file_that_is_no_scenario_at_all_is_refused(
    tmp_path: Path, text: bytes, place: tuple[int, int], message: str
) -> None:
    (problem,) = _problems(_write(tmp_path, text))
    assert (problem.line, problem.column) == place
    assert message in problem.message
    assert "\n" not in problem.message
    assert problem.remedy


def test_missing_keys_are_all_named(tmp_path: Path) -> None:
    messages = [problem.message for problem in _problems(_write(tmp_path, "tests: []\n"))]
    assert messages == [
        "missing key 'schema'",
        "missing key 'name'",
        "either `module` or `build` is required, and not both",
    ]


def test_a_byte_order_mark_and_merged_keys_are_no_error(tmp_path: Path) -> None:
    text = GOOD + "trainer: {<<: &base {max_epochs: 1}, max_steps: 3}\n"
    assert load(_write(tmp_path, b"\xef\xbb\xbf" + text.encode())).trainer == {"max_epochs": 1, "max_steps": 3}


def test_two_scenarios_of_one_name_and_every_other_error_are_reported_together(tmp_path: Path) -> None:
    first, second, third = (_write(tmp_path, GOOD, name) for name in ("a.yaml", "b.yml", "c.yaml"))
    third.write_text(GOOD + "zzzzz: 1\n")
    with pytest.raises(ScenarioError) as refusal:
        load_all((tmp_path,))
    taken, unknown = refusal.value.problems
    assert (taken.file, taken.line, taken.column) == (str(second), 2, 1)
    assert str(first) in taken.message
    assert taken.remedy
    assert (unknown.file, unknown.line) == (str(third), 4)


def test_a_missing_file_and_an_empty_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"nowhere\.yaml: no such file or folder"):
        load_all((tmp_path / "nowhere.yaml",))
    with pytest.raises(UsageError, match="no scenario file in this folder"):
        load_all((tmp_path,))
    with pytest.raises(UsageError, match="No such file"):
        load(tmp_path / "nowhere.yaml")


def test_folders_are_searched_to_the_bottom_and_a_file_is_taken_once(tmp_path: Path) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    file = _write(tmp_path / "deep" / "er", GOOD, "one.yml")
    _write(tmp_path, "no scenario", "notes.txt")
    assert find((tmp_path, file, tmp_path / "deep")) == [file]


def _with_exemption(folder: Path, expires: datetime.date) -> Scenario:
    exemption = f"{{mode: 'return.*', reason: on purpose, expires: {expires}}}"
    return load(_write(folder, f"{GOOD}faults: {{select: [return.none], ignore: [{exemption}]}}\n"))


def test_an_exemption_holds_to_the_end_of_its_day_and_no_longer(tmp_path: Path) -> None:
    today = datetime.date.today()
    held = _with_exemption(tmp_path, today).selection()
    assert held.exemptions == [("return.*", f"on purpose (until {today})")]
    assert _with_exemption(tmp_path, today - datetime.timedelta(days=1)).selection().exemptions == []


def test_the_command_lines_selection_comes_in_the_place_of_the_files(tmp_path: Path) -> None:
    scenario = _with_exemption(tmp_path, datetime.date.today())
    assert scenario.selection().select == ["return.none"]
    narrowed = scenario.selection(("loss.*",), ("loss.nan",))
    assert (narrowed.select, narrowed.skip) == (("loss.*",), ("loss.nan",))


def test_the_project_of_a_scenario_that_init_wrote_is_the_folder_above(tmp_path: Path) -> None:
    file = tmp_path / "mine" / "scenarios" / "s.yaml"
    file.parent.mkdir(parents=True)
    assert project_root(file) == tmp_path / "mine"
    assert project_root(tmp_path / "mine" / "s.yaml") == tmp_path / "mine"
    (tmp_path / "pyproject.toml").touch()
    assert project_root(file) == tmp_path, "which says so itself"


def test_a_class_beside_the_folder_of_its_scenario_is_found_without_a_repository(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "scenarios").mkdir()
    (tmp_path / "train.py").write_text("class Lit:\n    def training_step(self):\n        pass\n")
    place = place_of("train.Lit", project_root(tmp_path / "scenarios" / "s.yaml"))
    assert (place["file"], place["line"], place["methods"]) == ("train.py", 1, {"training_step": 2})
