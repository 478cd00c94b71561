"""The environment of processes that import torch and fork."""

from __future__ import annotations

import pytest

from faultlab.core.threads import one_thread_environment


def test_no_library_starts_threads_unless_the_user_wants_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "8")
    monkeypatch.delenv("TOKENIZERS_PARALLELISM", raising=False)
    found = one_thread_environment()
    assert (found["OMP_NUM_THREADS"], found["TOKENIZERS_PARALLELISM"]) == ("1", "false")
    # Then forks are refused, and every run begins from the beginning.
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "true")
    assert one_thread_environment()["TOKENIZERS_PARALLELISM"] == "true"
