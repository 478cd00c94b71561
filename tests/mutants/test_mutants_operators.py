"""Every change that mutmut makes gets a sensible name, and is told as what was changed and nothing around it."""

from __future__ import annotations

import pytest

from faultlab.mutants.workspace import Workspace
from tests.generated_mutants import check, located, mutated

Change = tuple[str, str, str]
NONE, FIXED, GONE = "argument to None", "condition fixed", "argument removed"
# The function's last line, and what becomes of it: (operator, before, after) in mutmut's order.
CHANGES: dict[str, list[Change]] = {
    "return 5": [("number", "5", "6")],
    "return -.5": [("arithmetic operator", "-", "+"), ("number", ".5", "1.5")],
    "return 0x1F": [("number", "0x1F", "32")],
    "return 2j": [("number", "2j", "3j")],
    'return "a b"': [("text", '"a b"', '"XXa bXX"'), ("text", '"a b"', '"A B"')],
    'return b"B"': [("text", 'b"B"', 'b"XXBXX"'), ("text", 'b"B"', 'b"b"')],
    "return ''": [("text", "''", "'XXXX'")],
    "return True": [("boolean", "True", "False")],
    "return False": [("boolean", "False", "True")],
    "x = y": [("assignment to None", "y", "None")],
    "x = None": [("None to text", "None", '""')],
    "x: int = y": [("assignment to None", "y", "None")],
    "x = y = z": [("assignment to None", "z", "None")],
    "x, y = z, None": [("assignment to None", "z, None", "None")],
    "x = y or None": [("assignment to None", "y or None", "None"), ("logical operator", "or", "and")],
    "x += y": [("assignment instead of update", "+=", "="), ("update operator", "+=", "-=")],
    "x //= y": [("assignment instead of update", "//=", "="), ("update operator", "//=", "/=")],
    "x @= y": [("assignment instead of update", "@=", "=")],
    "return not x": [("negation", "not", "")],
    "return ~x": [("negation", "~", "")],
    "return -x": [("arithmetic operator", "-", "+")],
    "return x + y": [("arithmetic operator", "+", "-")],
    "return x ** y": [("arithmetic operator", "**", "*")],
    "return x << y": [("arithmetic operator", "<<", ">>")],
    "return x & y": [("arithmetic operator", "&", "|")],
    "return x % y": [("arithmetic operator", "%", "/")],
    "return x < y": [("comparison", "<", "<=")],
    "return x >= y": [("comparison", ">=", ">")],
    "return x == y": [("comparison", "==", "!=")],
    "return x != y <= z": [("comparison", "!=", "=="), ("comparison", "<=", "<")],
    "return x and y": [("logical operator", "and", "or")],
    "return x is None": [("identity", "", "not")],
    "return x is not y": [("identity", "not", "")],
    "return x in y": [("membership", "", "not")],
    "return x not in y": [("membership", "not", "")],
    "return not x in y": [("negation", "not", ""), ("membership", "", "not")],
    "return x if y else z": [(FIXED, "y", "(y) and False"), (FIXED, "y", "(y) or True")],
    "return x if (y) else z": [(FIXED, "", "and False"), (FIXED, "", "or True")],
    "return x if f() else z": [(FIXED, "f()", "(f()) and False"), (FIXED, "f()", "(f()) or True")],
    "return lambda x: x": [("body of lambda", "x", "None")],
    "return lambda: None": [("body of lambda", "None", "0")],
    "return g(x)": [(NONE, "x", "None")],
    "return g(x, None)": [(NONE, "x", "None"), (GONE, "x,", ""), (GONE, "None", "")],
    "return g(x, k=y)": [(NONE, "x", "None"), (NONE, "y", "None"), (GONE, "x,", ""), (GONE, "k=y", "")],
    "return g(*x, **y)": [(GONE, "*x,", ""), (GONE, "**y", "")],
    "return g(x or None)": [(NONE, "x or None", "None"), ("logical operator", "or", "and")],
    "return g((x, None))": [(NONE, "(x, None)", "None")],
    "return g(lambda: None)": [(NONE, "lambda: None", "None"), ("body of lambda", "None", "0")],
    "return g(case, x)": [(NONE, "case", "None"), (NONE, "x", "None"), (GONE, "case,", ""), (GONE, "x", "")],
    "return x[0](y)": [(NONE, "y", "None"), ("number", "0", "1")],
    "return g(a.B(), a.C())": [
        (NONE, "a.B()", "None"),
        (NONE, "a.C()", "None"),
        (GONE, "a.B(),", ""),
        (GONE, "a.C()", ""),
    ],
    "return dict(a=x)": [("name of argument", "a", "aXX"), (NONE, "x", "None")],
    "return deepcopy(*x)": [("called function", "deepcopy", "copy")],
    "return x.lower()": [("called function", "lower", "upper")],
    "return x.rsplit(maxsplit=y)": [(NONE, "y", "None"), ("called function", "rsplit", "split")],
    "while x: break": [("jump", "break", "return")],
    "while x: continue": [("jump", "continue", "break")],
    "match x:\n        case 1: pass\n        case y: pass": [
        ("case removed", "case 1: pass", ""),
        ("case removed", "case y: pass", ""),
        ("number", "1", "2"),
    ],
    'return f"don\'t {x + y:>{z}} {{x + y}} {x!r}"': [("arithmetic operator", "+", "-")],
    'return f"{x:\'>5} {-y}"': [("arithmetic operator", "-", "+")],
    "return f\"{g('a')}\"": [(NONE, "'a'", "None"), ("text", "'a'", "'XXaXX'"), ("text", "'a'", "'A'")],
    'return f"""{x}\n        {x[\n    y] * z}"""': [("arithmetic operator", "*", "/")],
}


FILES = {f"f{n}.py": f"def f(x, y, z):\n    w()\n    {body}\n" for n, body in enumerate(CHANGES)}
MANY = {"many.py": f"def f():\n    return g({', '.join(f'k{n}={n}' for n in range(60))})\n"}


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return mutated(tmp_path_factory.mktemp("operators"), {**FILES, **MANY})


@pytest.mark.parametrize(("file", "body"), list(zip(FILES, CHANGES)))
def test_a_mutant_is_named_and_told_as_what_was_changed(file: str, body: str, workspace: Workspace) -> None:
    mutants = located(workspace, file)
    assert [(m.operator, m.before, m.after) for m in mutants] == CHANGES[body]
    for mutant in mutants:
        check(workspace, mutant, FILES[file])


def test_a_call_with_many_keywords_is_told_as_fast_as_any(workspace: Workspace) -> None:
    operators = [mutant.operator for mutant in located(workspace, "many.py")]
    assert {kind: operators.count(kind) for kind in operators} == {NONE: 60, GONE: 60, "number": 60}
