"""The catalogue as Markdown: a page for each family, and a table of all failure modes."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from faultlab.catalogue import guard_index, index, measured
from faultlab.catalogue.failure_mode import FailureMode, families
from faultlab.core import framework_names
from faultlab.report import described
from faultlab.report.docs import guard_pages
from faultlab.report.formats.markdown import anchor, cell, inline
from faultlab.report.text import address, blocks

INDEX = "README.md"
_TITLE = framework_names.title()
MARK = "<!-- Made by `faultlab dev docs` from the injectors' docstrings: change those, not this page. -->"


def pages(modes: Mapping[str, FailureMode]) -> dict[str, str]:
    """Return the text of each page by its file name."""
    grouped = list(families(modes.values()))
    written = {f"{family}.md": "\n".join(_page(family, members)) for family, members in grouped}
    return {INDEX: "\n".join(_index(grouped)), guard_pages.NAME: guard_pages.page(), **written}


def built_in() -> dict[str, FailureMode]:
    """Return faultlab's own failure modes."""
    return {id: mode for id, mode in index.modes().items() if Path(mode.file).parent == index.INJECTORS}


def _index(grouped: list[tuple[str, list[FailureMode]]]) -> Iterator[str]:
    table, loops = measured.table(), measured.table("torch")
    versions = " and ".join(f"{name} {text}" for name, text in table.versions.items())
    total = sum(len(members) for _, members in grouped)
    yield f"# The {total} failure modes\n\n{MARK}\n"
    yield (
        f"The effect of each in stock {_TITLE} was measured with {versions} on {len(table.models)} small models: "
        f"{', '.join(table.models)}. It **raises**: the run ends with an error. It **warns** and continues. It is "
        f"**silent**: the run differs from the clean one, and nothing reports it. **No effect**: the fault acted, and "
        f"the run is bitwise the clean one. A failure mode that can't occur in a model is not counted on it. The "
        f"effect in plain PyTorch loops was measured with torch {described.version('torch')} on "
        f"{len(loops.models)} loops: {', '.join(loops.models)}.\n"
    )
    for family, members in grouped:
        yield f"## [{family}]({family}.md)\n\n{inline(_about(members))}\n"
        yield f"| id | severity | stock {_TITLE} | plain PyTorch loop | what is broken |"
        yield "| --- | --- | --- | --- | --- |"
        for mode in members:
            link = f"[`{mode.id}`]({family}.md#{anchor(mode.id)})"
            effects = f"{described.effects(mode)} | {described.effects(mode, 'torch')}"
            yield f"| {link} | {mode.severity} | {effects} | {cell(mode.summary)} |"
        yield ""


def _page(family: str, members: list[FailureMode]) -> Iterator[str]:
    yield f"# {family}\n\n{MARK}\n\n{inline(_about(members))} [All families]({INDEX})\n"
    for mode in members:
        yield from _mode(mode)


def _mode(mode: FailureMode) -> Iterator[str]:
    yield f"## `{mode.id}`\n\n{inline(mode.summary)}\n"
    yield f"- Severity: {mode.severity}"
    yield f"- Stock {_TITLE}: {described.declared(mode)}"
    yield f"- Measured on {_TITLE} {described.version()}: {'; '.join(described.models(mode)) or 'not yet'}"
    yield f"- {described.in_loop(mode).removesuffix('.')}"
    if models := described.models(mode, "torch"):
        yield f"- Measured in loops with torch {described.version('torch')}: {'; '.join(models)}"
    yield f"- Acts: {described.timing(mode)}, at the seam `{mode.seam}`"
    if guards := guard_index.detecting(mode.id):
        links = [f"[`{guard}`]({guard_pages.NAME}#{anchor(guard)})" for guard in guards]
        yield f"- Detected by the ready-made guards: {', '.join(links)}"
    if needs := described.needs(mode):
        yield f"- Needs: {needs}"
    for dose, meaning in described.doses(mode):
        yield f"- Dose: `{dose}` {inline(meaning)}"
    yield f"- Source: `{_relative(mode.file)}`, function `{_declared(mode.file)[mode.line]}`\n"
    for title, text in described.sections(mode):
        yield f"**{title}**\n\n{_prose(text)}\n"
    yield f"**Evidence**\n\n{_evidence(mode)}\n"


def _evidence(mode: FailureMode) -> str:
    links = [f"[{inline(entry)}]({url})" if (url := address(entry)) else inline(entry) for entry in mode.evidence]
    return "\n".join(f"- {link}" for link in links) or f"None found: {inline(mode.no_evidence)}."


def _prose(text: str) -> str:
    return "\n\n".join(f"```python\n{block}\n```" if is_code else inline(block) for is_code, block in blocks(text))


def _relative(file: str) -> str:
    return Path(file).relative_to(index.INJECTORS.parents[1]).as_posix()


def _about(members: list[FailureMode]) -> str:
    """Return what a family breaks, from the first line of its file: ``return: what `training_step` gives back.``"""
    # A large family has several files, whose names begin with that of the first.
    file = min((mode.file for mode in members), key=len)
    text = (ast.get_docstring(_tree(file)) or "").partition("\n")[0].partition(": ")[2]
    return text[:1].upper() + text[1:]


@cache
def _declared(file: str) -> dict[int, str]:
    """Return the functions of a file by the first line of their declaration."""
    functions = [node for node in _tree(file).body if isinstance(node, ast.FunctionDef)]
    return {min([node.lineno, *(d.lineno for d in node.decorator_list)]): node.name for node in functions}


@cache
def _tree(file: str) -> ast.Module:
    return ast.parse(Path(file).read_text(encoding="utf-8"))
