"""Small projects of made-up users, mutated by mutmut as it ships, and whether mutants stand where they say."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from faultlab.mutants import generation
from faultlab.mutants.generation import Generated, generate
from faultlab.mutants.location import functions_of, locate, owner
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


def mutated(root: Path, files: Mapping[str, str | bytes]) -> Workspace:
    """What mutmut alone makes of the files, for faultlab to say where the mutants stand in them."""
    workspace = Workspace(project(root / "project", files).resolve(), (root / "work").resolve())
    workspace.make(list(files))
    assert "error" not in generation._run(workspace)
    return workspace


def located(workspace: Workspace, file: str) -> list[Mutant]:
    """The mutants of one file."""
    source = (workspace.folder / file).read_text(encoding="utf-8")
    names = json.loads((workspace.tree / f"{file}.meta").read_text(encoding="utf-8"))["exit_code_by_key"]
    return locate(file, source, workspace.tree / file, list(names))


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
    old = source.split("\n")
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


_known = lru_cache(maxsize=8)(functions_of)


@lru_cache(maxsize=8)
def _made_by_mutmut(file: Path) -> dict[str, str]:
    """The functions that mutmut wrote, by their names, each as its tree in words."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    bodies = [tree.body, *(node.body for node in tree.body if isinstance(node, ast.ClassDef))]
    made = [node for body in bodies for node in body if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]
    return {node.name: _words(node) for node in made}


def _words(function: ast.stmt) -> str:
    assert isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
    renamed = type(function)(**{**dict(ast.iter_fields(function)), "name": "f", "decorator_list": []})
    return ast.dump(renamed)


def _at(source: str, line: int, count: int) -> str:
    """The function that stands on these lines, as its tree in words."""
    text = "".join(lines_of(source)[line - 1 : line - 1 + count])
    (tree,) = ast.parse(f"if 1:\n{text}" if text[0] in " \t" else text).body
    return _words(tree.body[0] if isinstance(tree, ast.If) else tree)


def check(workspace: Workspace, mutant: Mutant, source: str) -> None:
    """The mutant stands where it says, and changes what it says: THE property of where mutants stand."""
    function = owner(mutant, _known(source))
    assert function is not None
    count = function.source.count("\n") + (not function.source.endswith("\n"))
    assert function.line <= mutant.line <= mutant.end_line < function.line + count
    wanted = _made_by_mutmut(workspace.tree / mutant.file)[mutant.name.rpartition(".")[2]]
    assert wanted != _at(source, function.line, count)
    for changed in (applied(source, mutant), patched(source, mutant)):
        assert _at(changed, function.line, count + changed.count("\n") - source.count("\n")) == wanted, mutant
