"""What starts faultlab must not be what starts ranks."""

from __future__ import annotations

from pathlib import Path

import pytest

from faultlab import engines
from faultlab.config.several_ranks import refuse_launchers
from faultlab.errors import UsageError
from tests.support import call

_SET = ("TORCHELASTIC_RUN_ID", "RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_NTASKS", "SLURM_PROCID")


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"TORCHELASTIC_RUN_ID": "none", "RANK": "0", "WORLD_SIZE": "2"}, "torchrun"),
        ({"RANK": "1", "WORLD_SIZE": "2"}, "a launcher of 2 processes"),
        ({"LOCAL_RANK": "0"}, "LOCAL_RANK is set"),
        ({"SLURM_NTASKS": "8", "SLURM_PROCID": "3"}, "srun with 8 tasks"),
    ],
)
def test_a_launcher_around_faultlab_is_an_error_with_a_remedy(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], said: str
) -> None:
    for name in _SET:
        monkeypatch.delenv(name, raising=False)
    refuse_launchers()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UsageError, match="set `devices` under `trainer`") as refused:
        refuse_launchers()
    assert said in str(refused.value)


@pytest.mark.parametrize("environment", [{"SLURM_NTASKS": "1", "SLURM_PROCID": "0"}, {"WORLD_SIZE": "1", "RANK": "0"}])
def test_one_process_is_no_group(monkeypatch: pytest.MonkeyPatch, environment: dict[str, str]) -> None:
    for name in _SET:
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    refuse_launchers()


def test_no_command_that_trains_begins_inside_a_launcher(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    script = tmp_path / "train.py"
    script.write_text("raise SystemExit('it was run')\n")
    for name in _SET:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    with pytest.raises(UsageError, match="torchrun"):
        engines.create("spawn", 1)
    for command in ("init", "doctor"):
        called = call(capsys, monkeypatch, command, script)
        assert (called.status, "started by torchrun" in called.err) == (2, True)
