"""The engine that the doctor's tests share in a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from faultlab.engines import Engine, create


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    working = create("fork", 2)
    yield working
    working.close()
