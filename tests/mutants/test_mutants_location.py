"""Where a mutant stands: what it puts there, put there by hand, makes the very function that mutmut made."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from faultlab.errors import FaultlabError
from faultlab.mutants.location import functions_of, locate, owner
from faultlab.mutants.tokens import lines_of, text_between, tokens_of
from faultlab.mutants.workspace import Workspace
from tests.generated_mutants import check, located, mutated

ODD: dict[str, str | bytes] = {
    "multi_line.py": """\
        def f(x):
            return g(
                x,
                k=[
                    1,
                ],
            )
        """,
    "indented.py": """\
        class A:
            @staticmethod
            def s(x):
                return x + 1

            @classmethod
            def c(cls, x):
                return x - 1

            async def a(self, x):
                return await x * 2

            class B:
                def lost(self):
                    return 1

            def outer(self):
                def inner():
                    return 3
                return inner
        """,
    "decorated.py": """\
        import functools

        @functools.cache
        def f(x):
            return x + 1

        @property
        def p(self):
            return 2
        """,
    "twice.py": """\
        from typing import overload

        @overload
        def f(x: int) -> int: ...
        @overload
        def f(x: str) -> str: ...
        def f(x):
            return x + x

        def g(x):
            return (x, 1, 2, 3)

        def g(x):
            return x * 4

        def h():
            return 5

        @overload
        def h(): ...
        """,
    "one_line.py": "def f(x): return x + 1\nclass A:\n  def f(self): return 2\nasync  def   g(x): return 3",
    "tabs.py": "class A:\n\tdef f(self):\n\t\tif self:\n\t\t\treturn\t1\n",
    "windows.py": b"def f(x):\r\n    y = g(\r\n        x)\r\n    return y + 1\r\n",
    "marked.py": b"\xef\xbb\xbfdef f(x):\n    return x + 1\n",
    "scripts.py": 'def größe(ß):\n    """Ä\u2028x."""\n    return "日本" + ß, 1\n',
    "feeds.py": 'def f(x):\n    return "\x0c" + x\n\x0c\n\ndef g(x):\n    # \x1c\u2029\x85\n    return x + 1\n',
    "braces.py": """\
        def f(x):
            s = "}{%s" "{" '"' % x
            return f"{{{x - 1}}}" + f'{x!r:>{x * 2}}' + rf"\\d{x[0]}"
        """,
    "commented.py": """\
        # def f(x):
        def f(  # the first
            x,
        ):
            # return x + 1
            return x + 1  # x - 1

            # the end
        # of nothing
        """,
    "continued.py": "def \\\n  f(x):\n    return x + \\\n        1\n",
    "outdented.py": """\
        class A:
            def f(self):
                x = '''
        at the margin
          ''' + self
        # at the margin
                return x
        """,
    "empty.py": "",
    "without.py": "x = 1\n",
}
ODD = {
    name: "".join(line.removeprefix("        ") for line in lines_of(text)) if isinstance(text, str) else text
    for name, text in ODD.items()
}


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return mutated(tmp_path_factory.mktemp("odd"), ODD)


def _changes(odd: Workspace, file: str, function: str) -> list[tuple[int, int, int, int, str, str]]:
    return [
        (m.line, m.column, m.end_line, m.end_column, m.before, m.after)
        for m in located(odd, file)
        if m.function == function
    ]


@pytest.mark.parametrize("file", sorted(set(ODD) - {"decorated.py", "empty.py", "without.py"}))
def test_in_whatever_way_a_file_is_written_its_mutants_stand_where_they_say(file: str, odd: Workspace) -> None:
    text = ODD[file] if isinstance(ODD[file], bytes) else ODD[file].encode()
    source = text.decode("utf-8-sig").replace("\r\n", "\n")
    assert located(odd, file)
    for mutant in located(odd, file):
        check(odd, mutant, source)


def test_an_argument_on_a_line_of_its_own_stands_there(odd: Workspace) -> None:
    assert _changes(odd, "multi_line.py", "f") == [
        (3, 9, 3, 10, "x", "None"),
        (4, 11, 6, 10, "[\n            1,\n        ]", "None"),
        (3, 9, 3, 11, "x,", ""),
        (4, 9, 6, 11, "k=[\n            1,\n        ],", ""),
        (5, 13, 5, 14, "1", "2"),
    ]


@pytest.mark.parametrize(
    ("file", "function", "places"),
    [
        ("indented.py", "A.s", [(4, 18), (4, 20)]),
        ("indented.py", "A.c", [(8, 18), (8, 20)]),
        ("indented.py", "A.a", [(11, 24), (11, 26)]),
        ("indented.py", "A.outer", [(19, 20)]),
        ("twice.py", "f", [(8, 14)]),
        ("twice.py", "g", [(14, 14), (14, 16)]),
        ("twice.py", "h", [(17, 12)]),
        ("one_line.py", "f", [(1, 20), (1, 22)]),
        ("one_line.py", "A.f", [(3, 23)]),
        ("one_line.py", "g", [(4, 27)]),
        ("tabs.py", "A.f", [(4, 11)]),
        ("windows.py", "f", [(2, 9), (3, 9), (4, 14), (4, 16)]),
        ("marked.py", "f", [(2, 14), (2, 16)]),
        ("scripts.py", "größe", [(3, 17), (3, 12), (3, 22)]),
        ("feeds.py", "g", [(7, 14), (7, 16)]),
        ("commented.py", "f", [(6, 14), (6, 16)]),
        ("continued.py", "f", [(3, 14), (4, 1)]),
        ("outdented.py", "A.f", [(3, 13), (5, 7)]),
    ],
)
def test_lines_and_columns_are_those_of_the_users_file(
    file: str, function: str, places: list[tuple[int, int]], odd: Workspace
) -> None:
    assert sorted({(m.line, m.column) for m in located(odd, file) if m.function == function}) == sorted(places)


def test_a_diff_has_the_lines_that_the_file_has(odd: Workspace) -> None:
    diffs = [mutant.diff for mutant in located(odd, "indented.py") if mutant.function == "A.c"]
    assert diffs[0].split("\n") == [
        "--- indented.py",
        "+++ indented.py",
        "@@ -7,2 +7,2 @@",
        "     def c(cls, x):",
        "-        return x - 1",
        "+        return x + 1",
    ]


def test_a_mutant_says_its_place_its_function_and_what_switches_it_on(odd: Workspace) -> None:
    mutant = located(odd, "indented.py")[0]
    assert mutant.place == "indented.py:4:18"
    assert mutant.mangled == "xǁAǁs"
    assert mutant.switch("package.indented") == "package.indented.xǁAǁs__mutmut_1"


def test_the_digest_of_a_function_changes_with_it_and_with_nothing_else() -> None:
    def digests(source: str) -> dict[str, str]:
        return {function.name: function.digest for function in functions_of(source)}

    before = digests("def f(x):\n    return x\n\ndef g(x):\n    return x\n")
    assert digests("import os\n\ndef f(x):\n    return x\n\n\ndef g(x):\n    return 1\n")["f"] == before["f"]
    assert digests("def f(x):\n    return x\n\ndef g(x):\n    return 1\n")["g"] != before["g"]
    assert digests("@staticmethod\ndef f(x):\n    return x\n")["f"] != before["f"]


def test_of_functions_of_one_name_a_mutant_belongs_to_the_one_that_it_stands_in(
    odd: Workspace,
) -> None:
    text = ODD["twice.py"]
    assert isinstance(text, str)
    owners = {function.line for m in located(odd, "twice.py") if (function := owner(m, functions_of(text))) is not None}
    assert owners == {7, 13, 16}
    assert owner(located(odd, "tabs.py")[0], functions_of(text)) is None


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ('{"version": 2, "spans": {}}', "index of lines has version 2: expected 1"),
        ('{"version": 1, "spans": {"x_f__mutmut_orig": [1, 2], "x_f__mutmut_1": [1, 2]}}', "is not at the place"),
        (
            '{"version": 1, "spans": {"x_f__mutmut_orig": [4, 5], "x_f__mutmut_1": [7, 8]}}',
            "is not in the source",
        ),
    ],
)
def test_an_index_of_lines_that_does_not_fit_is_refused(index: str, said: str, tmp_path: Path) -> None:
    mutated = tmp_path / "m.py"
    mutated.write_text(
        "def f():\n    return 1\n\ndef x_f__mutmut_orig():\n    return 2\n\ndef x_f__mutmut_1():\n    return 3\n"
    )
    (tmp_path / "m.py.spans").write_text(index)
    with pytest.raises(FaultlabError, match=said):
        locate("m.py", "def f():\n    return 1\n", mutated, ["m.x_f__mutmut_1"])


_LITERAL = st.sampled_from(["a", "{{", "}}", "'", " ", "\\n", "ß", "\x0c", ":"])
_FIELD = st.sampled_from(
    ["{x}", "{x + 1}", "{x!r}", "{x:>3}", "{x:{y}}", "{x['a']}", "{ {1: 2}[1] }", "{f'{x}'}", "{x=}"]
)


@given(st.lists(_LITERAL | _FIELD, max_size=6), st.sampled_from(['"', '"""']))
@settings(max_examples=60, deadline=None)
def test_the_tokens_of_an_f_string_stand_where_they_say(parts: list[str], quotes: str) -> None:
    source = f"def f(x, y):\n    return f{quotes}{''.join(parts)}{quotes}, x\n"
    tokens = tokens_of(source)
    assert [text_between(source, [token]) for token in tokens] == [token.string for token in tokens]
    gaps = source
    for token in tokens:
        assert token.string in gaps
        gap, _, gaps = gaps.partition(token.string)
        assert not gap.strip()
    assert [token.string for token in tokens].count("+") == parts.count("{x + 1}")
