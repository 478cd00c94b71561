"""Small projects of made-up users, copied and mutated by mutmut as it ships, and what there is to say of the mutants."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from faultlab.mutants.generation import Generated, generate
from faultlab.mutants.mutant import Mutant
from faultlab.mutants.tokens import lines_of
from faultlab.mutants.workspace import Workspace


def project(root: Path, files: Mapping[str, str | bytes]) -> Path:
    """Writes the files, byte for byte."""
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def generated(root: Path, files: Mapping[str, str | bytes]) -> tuple[Generated, Workspace]:
    """The mutants of all the files, which are the whole project."""
    workspace = Workspace(project(root / "project", files).resolve(), (root / "work").resolve())
    workspace.make(list(files))
    return generate(workspace, list(files)), workspace


def applied(source: str, mutant: Mutant) -> str:
    """The user's source with the mutant written into it by hand, where it says that it stands."""
    lines = lines_of(source)

    def offset(line: int, column: int) -> int:
        return sum(map(len, lines[: line - 1])) + column - 1

    begin, end = offset(mutant.line, mutant.column), offset(mutant.end_line, mutant.end_column)
    assert source[begin:end] == mutant.before
    # What is put in stands before the token that follows, and apart from it.
    return f"{source[:begin]}{mutant.after}{' ' * (not mutant.before)}{source[end:]}"


def patched(source: str, mutant: Mutant) -> str:
    """The user's source with the mutant's diff applied, each line of which has to fit."""
    old = [line.removesuffix("\n") for line in lines_of(source)]
    new, at = [], 0
    _, _, *body = mutant.diff.split("\n")
    for line in body:
        if line.startswith("@@"):
            begin = int(line.split(" ")[1][1:].partition(",")[0]) - 1
            new += old[at:begin]
            at = begin
            assert int(line.split(" ")[2][1:].partition(",")[0]) - 1 == len(new)
        elif line.startswith("+"):
            new.append(line[1:])
        else:
            assert old[at] == line[1:], line
            at += 1
            if line.startswith(" "):
                new.append(line[1:])
    return "\n".join([*new, *old[at:]])


def functions(source: str) -> dict[str, list[str]]:
    """The functions by their dotted names, each as its tree in words, under a name that all have."""
    found: dict[str, list[str]] = {}

    def add(body: list[ast.stmt], within: str) -> None:
        for one in body:
            if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)):
                name, one.name = one.name, "f"
                found.setdefault(within + name, []).append(ast.dump(one))
            elif isinstance(one, ast.ClassDef):
                add(one.body, f"{one.name}.")

    add(ast.parse(source).body, "")
    return found


@lru_cache(maxsize=4)
def made_by_mutmut(file: Path) -> dict[str, list[str]]:
    """The functions that mutmut wrote."""
    return functions(file.read_text(encoding="utf-8"))


_clean = lru_cache(maxsize=4)(functions)


def check(workspace: Workspace, mutant: Mutant, source: str) -> None:
    """The mutant stands where it says, and changes what it says: THE property of where mutants stand."""
    cls, _, _ = mutant.function.rpartition(".")
    short = mutant.name.rpartition(".")[2]
    wanted = made_by_mutmut(workspace.tree / mutant.file)[f"{cls}.{short}" if cls else short][-1]
    by_region = functions(applied(source, mutant))[mutant.function]
    assert wanted in by_region, applied(source, mutant)
    assert wanted in functions(patched(source, mutant))[mutant.function], mutant.diff
    assert sum(one != clean for one, clean in zip(by_region, _clean(source)[mutant.function])) <= 1
