"""The doctor on the launch of several ranks, and on trainings of several ranks."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from faultlab.doctor.errors import explained
from faultlab.doctor.examination import examine
from faultlab.doctor.finding import ATTENTION, OK, WRONG, Finding
from faultlab.doctor.launch import LAUNCH
from faultlab.doctor.loops.repeated import carries_state, mixes_samples
from faultlab.engines import Engine, create
from tests.patients.ranks import HEALTHY, ILL, Ill

NIGHTLY = pytest.mark.nightly(reason="a training in one process and on two ranks each; the quick ring has the launch")


def launch(**environment: str) -> list[Finding]:
    return LAUNCH.run({"environment": environment})


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"RANK": "0"}, "RANK is set without WORLD_SIZE"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE is set without RANK"),
        ({"LOCAL_RANK": "1"}, "LOCAL_RANK is set without RANK: the Trainer starts no ranks"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}, "MASTER_PORT is not set"),
        ({"RANK": "0", "WORLD_SIZE": "2", "MASTER_PORT": "29511"}, "MASTER_ADDR is not set"),
        ({"RANK": "2", "WORLD_SIZE": "2"}, "RANK=2 is not below WORLD_SIZE=2"),
        ({"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}, "LOCAL_RANK is above RANK"),
        ({"NODE_RANK": "1"}, "makes this the second machine or a later one"),
        ({"RANK": "zero", "WORLD_SIZE": "2"}, "RANK=zero is not a number"),
        ({"MASTER_PORT": "99999"}, "MASTER_PORT=99999 is not a port"),
    ],
)
def test_launch_variables_that_are_half_set_or_contradict_each_other_are_wrong(
    environment: dict[str, str], said: str
) -> None:
    found = [one for one in launch(**environment) if one.verdict == WRONG]
    assert said in " ".join(one.what for one in found)
    assert all(one.remedy for one in found)


class Remembers(nn.Module):
    """Adds the mean of the batch before."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.before = nn.Linear(2, 2), torch.zeros(())

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        before, self.before = self.before, inputs.mean()
        out: torch.Tensor = self.layer(inputs) + before
        return out


class Mixes(nn.Module):
    """Subtracts the mean of the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.layer(inputs - inputs.mean(0))
        return out


def test_a_model_is_examined_in_its_wrapper_after_the_process_group_has_ended() -> None:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    wrappers = [DistributedDataParallel(one) for one in (Remembers(), Mixes(), nn.Linear(2, 2))]
    dist.destroy_process_group()
    batches = [((torch.ones(4, 2),), {}), ((torch.zeros(4, 2),), {})]
    assert [carries_state(one, batches) for one in wrappers] == [True, False, False]
    assert [mixes_samples(one, batches) for one in wrappers] == [False, True, False]


def test_an_environment_without_a_launcher_or_with_a_whole_one_is_not_wrong() -> None:
    assert [one.verdict for one in launch()] == [OK]
    whole = launch(RANK="1", WORLD_SIZE="2", LOCAL_RANK="1", MASTER_ADDR="localhost", MASTER_PORT="29500")
    assert {one.verdict for one in whole} == {ATTENTION, OK}
    assert "faultlab starts ranks itself" in whole[0].remedy
    (slurm,) = [one for one in launch(SLURM_NTASKS="4") if one.check == "slurm"]
    assert (slurm.verdict, "srun" in slurm.remedy) == (ATTENTION, True)
    assert "slurm" not in {one.check for one in launch(SLURM_NTASKS="4", SLURM_PROCID="0")}


def test_a_meeting_point_that_is_taken_is_wrong_until_it_is_free() -> None:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        port = str(listening.getsockname()[1])
        (taken,) = [one for one in launch(MASTER_PORT=port) if one.check == "rendezvous"]
        assert taken.verdict == WRONG
        assert f"port {port}, where the ranks are to meet, is in use" in taken.what
    (free,) = [one for one in launch(MASTER_PORT=port) if one.check == "rendezvous"]
    assert free.verdict == OK


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        ("ValueError: Error initializing torch.distributed using env:// rendezvous: environment variable RANK expected,"
         " but not set", "a launcher, and RANK is not set"),
        ("DistNetworkError: The server socket has failed to listen on any local network address. port: 29500, "
         "code: -98, name: EADDRINUSE, message: address already in use", "the port where the ranks meet"),
        ("ValueError: The strategy `fsdp` requires a GPU accelerator, but received `CPUAccelerator`.", "on GPUs only"),
        ("RuntimeError: [enforce fail at pair.cc:446] op.preamble.length <= op.nbytes. 16 vs 4", "in different"),
        ("RuntimeError: [../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:3", "another rank's"),
        ("RuntimeError: [gloo/unbound_buffer.cc:78] Timed out waiting 1500ms for recv operation to complete",
         "has not entered the collective"),
    ],
)  # fmt: skip
def test_an_error_of_ranks_has_its_cause(message: str, cause: str) -> None:
    found = explained(message)
    assert found is not None
    assert cause in found.cause
    assert found.remedy


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    if not hasattr(os, "fork"):
        pytest.skip("this system can't fork")
    working = create("fork", 2)
    yield working
    working.close()


def examined(folder: Path, text: str, engine: Engine) -> list[Finding]:
    (folder / "train.py").write_text(text)
    return list(examine(str(folder / "train.py"), 60, engine=engine))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("trainer: {devices: 2000, strategy: ddp}", "2000 ranks on "),
        ("trainer: {devices: 2, strategy: fsdp}", "FSDPStrategy needs a GPU"),
    ],
)
def test_ranks_that_can_not_run_here_are_wrong_before_any_is_started(text: str, said: str, tmp_path: Path) -> None:
    scenario = tmp_path / "ddp.yaml"
    scenario.write_text(f"schema: 1\nname: ddp\nbuild: {{class_path: tests.zoo.ranked.ranked}}\n{text}\n")
    (found,) = examine(str(scenario), 60)
    assert (found.check, found.verdict, bool(found.remedy)) == ("scenario file", WRONG, True)
    assert found.what.startswith(said)
    assert found.evidence.startswith(f"{scenario}:4:")


def test_a_loop_of_too_many_ranks_is_wrong_before_any_is_started(tmp_path: Path) -> None:
    scenario = tmp_path / "loop.yaml"
    train = "train: {class_path: faultlab.targets.loop_script.run, init_args: {script: train.py}}"
    scenario.write_text(f"schema: 1\nname: loop\nframework: torch\nranks: 2000\n{train}\n")
    (found,) = examine(str(scenario), 60)
    assert (found.check, found.verdict, found.evidence) == ("scenario file", WRONG, f"{scenario}:4:1")


@NIGHTLY
@pytest.mark.parametrize("name", [one.name for one in ILL])
def test_the_cause_of_an_ill_training_on_ranks_is_named(name: str, tmp_path: Path, engine: Engine) -> None:
    ill: Ill = next(one for one in ILL if one.name == name)
    found = [one for one in examined(tmp_path, ill.text(), engine) if one.verdict != OK]
    named = [one for one in found if one.check == ill.check and ill.what in one.what and ill.remedy in one.remedy]
    assert named, found
    assert named[0].remedy


@NIGHTLY
def test_a_healthy_training_on_ranks_is_well(tmp_path: Path, engine: Engine) -> None:
    found = examined(tmp_path, HEALTHY, engine)
    assert [one for one in found if one.verdict != OK] == []
    assert {"ranks", "data of the ranks", "parameters of the ranks"} <= {one.check for one in found}


@NIGHTLY
def test_a_trainer_of_two_ranks_is_examined_alone_and_on_both(tmp_path: Path, engine: Engine) -> None:
    build = "build: {class_path: tests.zoo.ranked.ranked}"
    scenario = tmp_path / "ddp.yaml"
    scenario.write_text(f"schema: 1\nname: ddp\n{build}\ntrainer: {{strategy: ddp, devices: 2, max_epochs: 2}}\n")
    # Of the zoo's model, which validates on what it trains on.
    own = {"shared data"}
    assert {one.check for one in examine(str(scenario), 60, engine=engine) if one.verdict != OK} <= own
    scenario.write_text(
        f"schema: 1\nname: ddp-shared\n{build}\n"
        "trainer: {strategy: ddp, devices: 2, max_epochs: 2, use_distributed_sampler: false}\n"
    )
    found = {one.check: one for one in examine(str(scenario), 60, engine=engine) if one.verdict != OK}
    assert "use_distributed_sampler=True" in found["data of the ranks"].remedy
