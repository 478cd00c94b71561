"""``# faultlab: ignore[reason]``: which mutants it exempts, and that nothing is exempt without a reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from faultlab.errors import ScenarioError
from faultlab.mutants import exemptions
from tests.generated_mutants import generated

SOURCE = """\
def one(x):
    y = x + 1  # faultlab: ignore[as good as any]
    return y * 2


def whole(x):  # faultlab: ignore[it is only shown]
    y = x + 1
    return y - 1  # faultlab:ignore[ its own reason ]


@staticmethod
def decorated(x):  # noqa: E501  # faultlab: ignore[a[0] is never empty]
    return x + 1


def many(
    x=3,  # faultlab: ignore[never left out]
):
    return g(
        x,  # faultlab: ignore[not where the call begins]
    )


def text():
    return "# faultlab: ignore[in a text]"


# faultlab: ignore[on a line of its own]
def below(x):
    return x + 1
"""


@pytest.fixture(scope="module")
def exempted(tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, int], set[str]]:
    made, _ = generated(tmp_path_factory.mktemp("exemptions"), {"model.py": SOURCE})
    found: dict[tuple[str, int], set[str]] = {}
    for mutant in made.mutants:
        found.setdefault((mutant.function, mutant.line), set()).add(mutant.exemption)
    return found


@pytest.mark.parametrize(
    ("function", "line", "reason"),
    [
        ("one", 2, "as good as any"),
        ("one", 3, ""),
        ("whole", 7, "it is only shown"),
        ("whole", 8, "its own reason"),
        ("decorated", 13, "a[0] is never empty"),
        ("many", 17, "never left out"),
        ("many", 20, "not where the call begins"),
        ("text", 25, ""),
        ("below", 30, ""),
    ],
)
def test_an_exemption_holds_for_its_line_or_for_its_function(
    function: str, line: int, reason: str, exempted: dict[tuple[str, int], set[str]]
) -> None:
    assert exempted[function, line] == {reason}


@pytest.mark.parametrize("exemption", ["ignore", "ignore[]", "ignore[ x ]", "ignore why", "ignore(why not)"])
def test_an_exemption_without_a_reason_is_an_error_at_its_place(exemption: str) -> None:
    source = f"x = 1\ny = 2  # faultlab: {exemption}\nz = 3  # faultlab: ignore[]\n"
    with pytest.raises(ScenarioError) as caught:
        exemptions.read(Path("model.py"), source)
    places = [(problem.line, problem.column, problem.message) for problem in caught.value.problems]
    assert places == [(2, 8, "an exemption without a reason"), (3, 8, "an exemption without a reason")]
    assert "# faultlab: ignore[the loader never has fewer]" in str(caught.value)


@pytest.mark.parametrize("comment", ["# faultlab: ignored[by nobody]", "# pylint: ignore[x]", "# ignore[faultlab: x]"])
def test_other_comments_exemption_nothing(comment: str) -> None:
    assert exemptions.read(Path("model.py"), f"x = 1  {comment}\n").by_line == {}
