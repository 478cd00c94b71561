"""The scaffold of a new failure mode: every field and section, and an injector to fill in."""

from __future__ import annotations

import ast
import builtins
import keyword
from collections import Counter
from pathlib import Path

from faultlab.catalogue import import_lines, index, injection_points
from faultlab.catalogue.docstring_sections import parse_sections
from faultlab.catalogue.failure_mode import FailureMode, nearest
from faultlab.catalogue.injection_points import InjectionPoint
from faultlab.core import atomic_write, framework_names
from faultlab.core.fault import MODE_ID
from faultlab.errors import UsageError

# The catalogue's tests must fail until the scaffold is filled in, as they do for an empty cause and a short reason.
_DECLARATION = '''
@failure_mode(
    "{id}",
    seam={seam},
    severity="major",
    effect="silent",
    cause=(),
    when="always",
    stages=("train",),
    doses=(),
    needs=(),
    evidence=(),
    no_evidence="?",
    hangs=False,
    judged_by="run",
)
def {function}({signature}:
    """Describe in one sentence what is broken.

    Effect: describe how torch and {framework} react: the error and where it is raised, the warning, or nothing.
    Why it goes undetected: describe what looks healthy nevertheless.
    Example:
        the_line_that_is_broken()           # the intended line
    Remedy: name the check or habit that finds it.
    """
{body}'''
_KINDS = {
    "map": ("value: Any, ctx: Context) -> Any", "    return value\n"),
    "around": ("call: Call, ctx: Context) -> Any", "    return call()\n"),
    "in_place": ("value: Any, ctx: Context) -> None", ""),
}


def seams() -> dict[str, InjectionPoint]:
    """Return the injection points that a failure mode may use as its seam, by name and without arguments."""
    points = (getattr(injection_points, name) for name in injection_points.__all__)
    return {point.__name__: point() for point in points if point is not InjectionPoint}


def add(id: str, seam: str | None, folder: Path) -> tuple[Path, FailureMode]:
    """Write the scaffold of a failure mode into the file of its family, and return the file and the mode.

    Raises:
        UsageError: The id or the seam is invalid, or the failure mode already exists.
    """
    if not MODE_ID.match(id):
        raise UsageError(f"invalid failure mode id {id!r}: expected family.kebab-name, such as loss.wrong-sign")
    family, _, name = id.partition(".")
    if "-" in family:
        raise UsageError(f"invalid family {family!r}: expected one word, because it names a file")
    file = folder / f"{family}_.py" if keyword.iskeyword(family) else folder / f"{family}.py"
    siblings = {id: mode for one in (file, *folder.glob(f"{family}_*.py")) for id, mode in _declared(one).items()}
    known = {**index.modes(), **siblings}
    if id in known:
        raise UsageError(f"{id} already exists: {known[id].file}:{known[id].line}")
    sources = seams()
    usual = Counter(mode.seam for mode in siblings.values()).most_common(1)
    chosen = seam or (usual[0][0] if usual else "StepOutput")
    if chosen not in sources:
        raise UsageError(f"unknown seam {chosen!r}. {nearest(chosen, sources) or 'Seams: ' + ', '.join(sources)}")
    kind = sources[chosen].kind
    text = file.read_text(encoding="utf-8") if file.is_file() else _header(family)
    wanted = [
        ("typing", "Any"),
        ("faultlab.catalogue.injection_points", chosen),
        ("faultlab.injection.registry", "failure_mode"),
    ]
    wanted += [("faultlab.injection.armed_fault", "Context")] + [("faultlab.injection.armed_fault", "Call")] * (
        kind == "around"
    )
    for module, imported in wanted:
        text = import_lines.importing(text, module, imported)
    signature, body = _KINDS[kind]
    function = _free_name(family, name, text)
    declaration = _declaration(id, chosen, function, signature, body)
    atomic_write.write(file, f"{text.rstrip()}\n\n{declaration}")
    return file, _declared(file)[id]


def unfilled(mode: FailureMode) -> list[str]:
    """Return the parts of a failure mode that are unchanged from the scaffold."""
    (function,) = [node for node in ast.parse(_blank()).body if isinstance(node, ast.FunctionDef)]
    prompts = parse_sections(ast.get_docstring(function, clean=False))
    left = [part for part, prompt in vars(prompts).items() if prompt and getattr(mode.sections, part) == prompt]
    return left + ["cause"] * (not mode.cause) + ["no_evidence"] * (mode.no_evidence == "?")


def _blank() -> str:
    return _declaration("", "Seam", "blank", "value) -> None", "")


def _header(family: str) -> str:
    return f'"""{family}: describe in a few words what this family breaks."""\n\nfrom __future__ import annotations\n'


def _declared(file: Path) -> dict[str, FailureMode]:
    if not file.is_file():
        return {}
    try:
        return {mode.id: mode for mode in index.read(file)}
    except SyntaxError as error:
        raise UsageError(f"{file}:{error.lineno}: {error.msg}. Fix the file first.") from None


def _free_name(family: str, name: str, text: str) -> str:
    """Return a function name that shadows nothing."""
    plain = name.replace("-", "_")
    names = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    defined = {getattr(node, "name", "") for node in ast.parse(text).body}
    imported = {alias.asname or alias.name for node in import_lines.imports(text) for alias in node.names}
    taken = {*names, *defined, *imported, *dir(builtins), *keyword.kwlist}
    candidates = [plain, f"{family}_{plain}", *(f"{plain}_{number}" for number in range(2, 99))]
    return next(candidate for candidate in candidates if candidate not in taken)


def _declaration(id: str, seam: str, function: str, signature: str, body: str) -> str:
    framework = framework_names.title()
    return _DECLARATION.format(id=id, seam=seam, function=function, signature=signature, body=body, framework=framework)
