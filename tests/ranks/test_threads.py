"""A process is copied only while the threads of its process groups wait."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Iterator

import pytest

from faultlab.ranks import membership, threads
from faultlab.ranks.copies import together
from faultlab.worker import snapshots

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="this system shows no threads' states")


@pytest.fixture
def computing() -> Iterator[threading.Thread]:
    """A thread with the name of gloo's that computes without Python's lock for about a tenth of a second."""

    def compute() -> None:
        with open(f"/proc/self/task/{threading.get_native_id()}/comm", "w") as file:
            file.write("pt_gloo_runloop")
        hashlib.pbkdf2_hmac("sha256", b"", b"", 200_000)

    thread = threading.Thread(target=compute)
    thread.start()
    while threads.rest(0) and thread.is_alive():
        time.sleep(0.001)
    yield thread
    thread.join()


def test_the_copy_of_a_process_waits_for_the_threads_of_its_groups(computing: threading.Thread) -> None:
    # Other tests' groups leave theirs.
    with_it = threads.of_gloo()
    assert not threads.rest(0)
    assert threads.rest(60)
    computing.join(10)
    assert (threads.of_gloo(), threads.rest(0)) == (with_it - 1, True)


def test_the_copies_that_are_ranks_of_a_test_wait_for_them_too(
    computing: threading.Thread, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork, at_rest = os.fork, []

    def forking() -> int:
        at_rest.append(threads.rest(0))
        return fork()

    monkeypatch.setattr(os, "fork", forking)
    assert together(2, lambda rank: f"said by rank {rank}", joins=False) == "said by rank 0"
    assert at_rest == [True]


def test_a_process_whose_groups_do_not_come_to_rest_is_not_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "rest", lambda: False)
    assert snapshots.obstacle() != "its process group still exchanges values"
    monkeypatch.setattr(membership, "present", lambda: membership.Membership(0, 2))
    assert snapshots.obstacle() == "its process group still exchanges values"
