"""Names that are almost right, of scripts and of metrics: the one that was meant is suggested."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from faultlab.cli import group
from faultlab.config import lint
from faultlab.config.fault_patterns import _LIST, check_pattern
from faultlab.core.close_files import misspelled

SCRIPT = 'print(f"val loss {0.5}")\nlog("val_loss", 1.0)\nlog(stage + "_acc", 1.0)\nlog(f"{stage}_error", 1.0)\n'


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(SCRIPT)
    Path("classifier.py").touch()


def problems(script: str, metric: str) -> list[str]:
    Path("s.yaml").write_text(
        "schema: 1\nname: s\nframework: torch\n"
        f"train: {{class_path: faultlab.targets.loop_script.run, init_args: {{script: {script}}}}}\n"
        f"monitor: {{metric: {metric}, mode: min}}\n"
    )
    return [f"{one.line}: {one.message} {one.remedy}" for one in lint.check([Path("s.yaml")]).problems]


def test_a_script_that_is_not_there_is_an_error_of_check() -> None:
    assert problems("trian.py", "val_loss") == ["4: no such script: trian.py Did you mean 'train.py'?"]


@pytest.mark.parametrize(
    ("metric", "meant"),
    [("val_lss", "val_loss"), ("val_loss", ""), ("test_acc", ""), ("vali_error", ""), ("reward", "")],
    ids=["misspelled", "right", "put together", "formatted", "unlike any"],
)
def test_a_metric_is_an_error_only_where_the_source_has_almost_the_same(metric: str, meant: str) -> None:
    assert [meant in one for one in problems("train.py", metric)] == ([True] if meant else [])


@pytest.mark.parametrize("command", ["init", "doctor"])
@pytest.mark.parametrize("name", ["train.yp", "trian.py"])
def test_a_file_that_is_not_there_is_an_error_that_suggests_the_near_one(command: str, name: str) -> None:
    done = CliRunner().invoke(group, [command, name])
    assert getattr(done.exception, "exit_code", 0) == 2
    assert "Did you mean 'train.py'?" in str(done.exception)


@pytest.mark.parametrize("target", ["classifier.Net", "train.fit", "package.module.LitModel", "classifier"])
def test_the_path_of_a_class_is_no_misspelled_file(target: str) -> None:
    assert misspelled(target, "*.py") == ""


def test_a_family_that_is_like_none_is_not_corrected() -> None:
    assert check_pattern("nosuch.*") == ("no failure mode matches 'nosuch.*'", _LIST)
    assert check_pattern("los.*") == ("no failure mode matches 'los.*'", "Did you mean 'loss.*'?")
