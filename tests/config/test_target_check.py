"""What a scenario names is checked from source files: `check` rejects what `run` would, in the same words."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from faultlab.config import lint, target_check
from faultlab.config.scenario import load
from faultlab.errors import ScenarioError
from tests.support import call

MODEL = """
raise SystemExit("imported")
class Lit: ...
class Wide:
    def __init__(self, width, depth=1, *, rate): ...
class Open:
    def __init__(self, width, **kwargs): ...
class Plain: ...
class Derived(Plain): ...
class Own(Callback): ...
def factory(): ...
@decorated
class Decorated: ...
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg/model.py").write_text(MODEL)
    (tmp_path / "train.py").write_text(MODEL)
    (tmp_path / "spaces/of/names").mkdir(parents=True)
    (tmp_path / "spaces/of/names/model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(project: Path, text: str, module: str = "pkg.model.Lit") -> Path:
    file = project / "s.yaml"
    file.write_text(f"schema: 1\nname: s\nmodule: {{class_path: {module}}}\n{text}")
    return file


def found(file: Path) -> list[str]:
    return [str(problem).partition("s.yaml:")[2] for problem in target_check.check(load(file))]


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("trian.Lit", "can't import 'trian': no module named 'trian'\n    Did you mean 'train'?"),
        ("pkg.modle.Lit", "can't import 'pkg.modle': no module named 'pkg.modle'\n    Did you mean 'pkg.model'?"),
        ("spaces.of.naems.model.Lit", "can't import 'spaces.of.naems.model': no module named 'spaces.of.naems'\n"),
        ("zzzzz.Lit", "can't import 'zzzzz': no module named 'zzzzz'\n    Run from the folder that holds the package"),
        ("pkg.model.Lti", "'pkg.model' has no 'Lti'\n    Did you mean 'Lit'?"),
    ],
)
def test_a_class_that_can_not_be_found_is_an_error_with_the_closest_name(project: Path, module: str, said: str) -> None:
    (problem,) = found(written(project, "", module))
    assert problem.startswith(f"3:10: {said}")


def test_a_class_that_the_module_creates_when_it_is_imported_may_be_there(project: Path) -> None:
    (project / "train.py").write_text("import sys\nsys.modules[__name__].Lit = type('Lit', (), {})\n")
    assert found(written(project, "", "train.Lit")) == []
    (project / "made.py").write_text("globals()['Lit'] = type('Lit', (), {})\n")
    assert found(written(project, "", "made.Lit")) == []
    (project / "plain.py").write_text("Other = type('Lit', (), {})\n")
    assert len(found(written(project, "", "plain.Lit"))) == 1


@pytest.mark.parametrize(
    "module",
    [
        "pkg.model.Lit",
        "train.factory",
        "spaces.of.names.model.Lit",
        "torch.nn.Linear",
        "torch.nnn.Linear",
        "os.path.join",
        "__main__.Lit",
    ],
)
def test_a_class_that_can_be_found_or_may_be_there_is_no_error(project: Path, module: str) -> None:
    assert found(written(project, "", module)) == []


def strategy(name: str, sizes: str = "", devices: int = 2) -> str:
    """A scenario's line with a strategy that is named by its class."""
    path = f"pytorch_lightning.strategies.{name}"
    return f"trainer: {{devices: {devices}, strategy: {{class_path: {path}, init_args: {{{sizes}}}}}}}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trainer: {max_epoch: 2}", "4:11: Trainer has no argument 'max_epoch'\n    Did you mean 'max_epochs'?"),
        (
            "guards: [{class_path: faultlab.guards.StepTaken}]",
            "4:11: 'faultlab.guards' has no 'StepTaken'\n    Did you mean 'StepsTaken'?",
        ),
        ("guards: [{trainer_flag: {detect_anomoly: true}}]", "4:26: Trainer has no argument 'detect_anomoly'"),
        (
            "guards: [{command: 'no-such-judge {log}'}]",
            "4:11: no program 'no-such-judge' can be run\n    Install it",
        ),
        ("trainer: {devices: [0, 1]}", "4:11: the ranks of a training on the CPU are a number"),
        ("trainer: {devices: '1,2'}", "4:11: the ranks of a training on the CPU are a number"),
        ("trainer: {devices: 2000}", "4:11: 2000 ranks on "),
        ("trainer: {num_nodes: 2}", "4:11: training on several machines is not supported"),
        ("trainer: {strategy: ddp}", "4:11: the strategy ddp has one device"),
        ("trainer: {strategy: fsdp}", "4:11: FSDPStrategy needs a GPU"),
        ("trainer: {strategy: deepspeed}", "4:11: deepspeed is not installed"),
        ("trainer: {strategy: xla}", "4:11: trainings by the strategy xla are not supported"),
        (
            strategy("FSDPStrategy"),
            "4:34: FSDPStrategy needs a GPU, and faultlab trains on the CPU\n    Use ModelParallel",
        ),
        (strategy("DeepSpeedStrategy"), "4:34: deepspeed is not installed"),
        (strategy("XLAStrategy"), "4:34: trainings by the strategy xla are not supported"),
        (strategy("ModelParallelStrategy", devices=1), "4:34: ModelParallelStrategy has one device"),
        (
            strategy("ModelParallelStrategy", "data_parallel_size: 1, tensor_parallel_size: 3"),
            "4:133: a mesh of 1 x 3 does not fit 2 devices: tensor_parallel_size does not divide 2\n"
            "    Use one of 1, 2.",
        ),
        (
            strategy("ModelParallelStrategy", "tensor_parallel_size: 1"),
            "4:110: a mesh of 1 x 1 does not fit 2 devices: data_parallel_size times",
        ),
        (
            strategy("ModelParallelStrategy", "data_parallel_size: 2"),
            "4:110: a mesh of 2 x 2 does not fit 2 devices: data_parallel_size times",
        ),
        (
            strategy("ModelParallelStrategy", "data_parallel_size: two, tensor_parallel_size: 1"),
            "4:110: data_parallel_size is not a number of ranks",
        ),
        ("guards: [{class_path: pkg.model.Plain}]", "4:11: 'pkg.model.Plain' is not a Callback"),
        ("guards: [{class_path: pkg.model.Derived}]", "4:11: 'pkg.model.Derived' is not a Callback"),
        ("trainer: {class_path: pkg.model.Trainr}", "4:11: 'pkg.model' has no 'Trainr'"),
    ],
)
def test_what_the_trainer_would_reject_is_an_error_at_its_place(project: Path, text: str, said: str) -> None:
    (problem,) = found(written(project, text + "\n"))
    assert problem.startswith(said)


def test_an_option_for_this_process_alone_is_an_error_for_several_ranks(project: Path) -> None:
    several = load(written(project, "trainer: {strategy: ddp, devices: 2}\n"))
    with pytest.raises(ScenarioError, match=r"4:26: --debug can't be used with 2 ranks\n +Leave out --debug, or set"):
        target_check.require_one_process(several, "--debug")
    target_check.require_one_process(load(written(project, "trainer: {max_epochs: 2}\n")), "--debug")


def test_the_debugger_of_a_replay_on_several_ranks_is_one_message(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(project, "trainer: {strategy: ddp, devices: 2}\n")
    done = call(capsys, monkeypatch, "replay", "loss.nan", "--scenario", file, "--debug")
    assert (done.status, done.err.count("\n")) == (2, 2)
    assert "--debug can't be used with 2 ranks" in done.err


@pytest.mark.parametrize(
    "text",
    [
        "trainer: {max_epochs: 2, devices: 1, strategy: auto, num_nodes: 1}",
        "trainer: {devices: [0]}",
        "trainer: {class_path: pkg.model.Own, init_args: {anything: 1}}",
        *(f"guards: [{{class_path: pkg.model.{name}}}]" for name in ("Own", "factory", "Decorated")),
        "guards: [{class_path: pytorch_lightning.callbacks.EarlyStopping}]",
        "guards: [{class_path: faultlab.guards.LossFalls}]",
    ],
)
def test_what_the_trainer_accepts_or_only_a_run_can_know_is_no_error(project: Path, text: str) -> None:
    assert found(written(project, text + "\n")) == []


@pytest.mark.parametrize(
    ("module", "said"),
    [
        ("Wide, init_args: {width: 1, rate: 1}", []),
        (
            "Wide, init_args: {wdith: 1, width: 1, rate: 1}",
            ["3:50: pkg.model.Wide: got an unexpected keyword argument"],
        ),
        ("Wide, init_args: {width: 1}", ["3:38: pkg.model.Wide: missing a required argument: 'rate'"]),
        ("Wide", ["3:10: pkg.model.Wide: missing a required argument: 'width'", "3:10: pkg.model.Wide: missing"]),
        ("Open, init_args: {anything: 1}", []),
        ("Own, init_args: {anything: 1}", []),
        ("Decorated, init_args: {anything: 1}", []),
        ("factory, init_args: {anything: 1}", ["3:53: pkg.model.factory: got an unexpected"]),
    ],
)
def test_arguments_are_checked_against_a_signature_that_the_source_shows(
    project: Path, module: str, said: list[str]
) -> None:
    problems = found(written(project, "", f"pkg.model.{module}"))
    assert len(problems) == len(said)
    assert all(problem.startswith(start) for problem, start in zip(problems, said)), problems


def test_the_trainers_arguments_are_read_from_its_source_as_it_has_them() -> None:
    import pytorch_lightning

    known = set(inspect.signature(pytorch_lightning.Trainer.__init__).parameters) - {"self"}
    assert known <= set(target_check.trainer_parameters())


def test_a_missing_gpu_is_an_error_where_it_would_be_needed_and_a_warning_where_files_are_checked(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(project, "trainer: {accelerator: gpu}\n")
    monkeypatch.setattr(target_check, "has_gpu", lambda accelerator: False)
    checked = lint.check([file])
    assert checked.problems == []
    (warning,) = checked.warnings
    assert (warning.line, warning.remedy) == (4, "Set `accelerator: cpu`.")
    with pytest.raises(ScenarioError, match=r"s.yaml:4:11: accelerator 'gpu' is not available"):
        lint.load_checked((file,))
    monkeypatch.setattr(target_check, "has_gpu", lambda accelerator: True)
    assert lint.check([file]).warnings == []
    assert len(lint.load_checked((file,))) == 1


@pytest.mark.parametrize("command", ["check", "run", "prescribe", "mutate"])
def test_every_command_says_the_same_of_a_scenario_before_it_runs_anything(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    done = call(capsys, monkeypatch, command, written(project, "trainer: {max_epoch: 2}\n", "trian.Lit"))
    assert (done.status, done.out) == (2, "")
    assert "s.yaml:3:10: can't import 'trian'" in done.err
    assert "s.yaml:4:11: Trainer has no argument 'max_epoch'" in done.err
