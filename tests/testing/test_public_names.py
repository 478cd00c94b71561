"""The names that `faultlab.testing` offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

from faultlab import testing


@pytest.mark.parametrize("name", testing.__all__)
def test_each_public_name_is_an_object_of_its_module(name: str) -> None:
    assert getattr(testing, name).__name__ == name


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'assert_nothing'"):
        testing.assert_nothing  # noqa: B018


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, faultlab.testing; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
