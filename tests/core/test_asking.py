"""Objects that answer a question for an attribute with another exception than AttributeError."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from faultlab.core.asking import asked, has
from faultlab.injection import tree


class Parts(dict[str, Any]):
    """A dict whose items are attributes; what it lacks is a KeyError."""

    __getattr__ = dict.__getitem__


class Remote:
    """An object that is asked over a connection that is gone."""

    def __getattr__(self, name: str) -> Any:
        raise ConnectionError(name)


@pytest.mark.parametrize("thing", [Parts(), Remote(), object()], ids=["key error", "other error", "plain"])
def test_what_an_object_lacks_is_the_default(thing: Any) -> None:
    assert asked(thing, "named_parameters") is None
    assert asked(thing, "named_parameters", 3) == 3
    assert not has(thing, "named_parameters")


def test_what_an_object_has_is_given_even_where_it_is_none() -> None:
    assert asked(Parts(x=1), "x") == 1
    assert has(Parts(x=None), "x")


def test_a_batch_whose_missing_attributes_are_key_errors_is_taken_apart_and_put_together() -> None:
    batch = Parts(x=torch.ones(2, 3), y=torch.zeros(2))
    assert [path for path, _ in tree.tensors(batch)] == ["x", "y"]
    changed = tree.replace(batch, {"y": torch.ones(2)})
    assert isinstance(changed, Parts)
    assert changed.y.tolist() == [1.0, 1.0]
    assert batch.y.tolist() == [0.0, 0.0]
