"""A rank records its position in the sequence of collectives."""

from __future__ import annotations

from pathlib import Path

from faultlab.core.collectives import Position, file_of, read
from faultlab.ranks.position import Recorder


class _Work:
    def __init__(self, successful: bool) -> None:
        self.successful = successful

    def is_completed(self) -> bool:
        return True

    def is_success(self) -> bool:
        return self.successful


def test_a_recorder_stays_at_the_collective_that_failed(tmp_path: Path) -> None:
    recorder = Recorder(lambda: 4)
    recorder.write_to(file_of(str(tmp_path / "meeting"), 0))
    for name, successful in (("broadcast", True), ("all_reduce", False), ("barrier", True)):
        recorder.enter(name)
        recorder.begun(_Work(successful))
    assert recorder.last == "all_reduce (its 2nd collective, in step 4)"
    assert read(str(tmp_path / "meeting"), 1) == [Position(0, 2, "all_reduce", 4)]


def test_a_recorder_takes_its_position_to_the_file_of_a_fork(tmp_path: Path) -> None:
    recorder = Recorder(lambda: 4)
    recorder.write_to(file_of(str(tmp_path / "trunk"), 0))
    recorder.enter("broadcast")
    recorder.write_to(file_of(str(tmp_path / "fork"), 0))
    assert read(str(tmp_path / "fork"), 1) == [Position(0, 1, "broadcast", 4, earlier=True)]
    recorder.enter("barrier")
    assert read(str(tmp_path / "fork"), 1) == [Position(0, 2, "barrier", 4)]
    assert read(str(tmp_path / "trunk"), 1) == [Position(0, 1, "broadcast", 4)]
