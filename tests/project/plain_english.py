"""Counts the idioms that docs/STYLE.md rules out, in docs, docstrings, comments and messages.

``python -m tests.project.plain_english [GITREF]`` prints the counts, of a commit if one is given.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

IDIOMS = {
    "docstring that is a bare clause": re.compile(
        r"\A\W*(What|Whether|Why|How|Where|When|Who|Whose|Which|Whatever|Whoever|That|Those|Such)\b"
    ),
    "say for print, report or raise": re.compile(r"\b(says?|said|saying)\b", re.I),
    "tell for print, report or show": re.compile(r"\b(tells?|told|telling)\b", re.I),
    "nobody, somebody, anybody, whoever": re.compile(r"\b(nobody|somebody|anybody|whoever)\b", re.I),
    "is no X": re.compile(r"(?<!here )\b(is|are|was|were|be) no (?!longer|more|less|better|worse|fewer)(?=\w)", re.I),
    "noticed": re.compile(r"\b(un)?notic(e|es|ed|ing)\b", re.I),
    "anew": re.compile(r"\banew\b", re.I),
    "mend": re.compile(r"\bmend(s|ed|ing)?\b", re.I),
    "grave": re.compile(r"\bgrave(r|st|ly)?\b", re.I),
    "stands for is": re.compile(
        r"\b(stands?|stood) (in|at|by|there|twice|beside|under|above|below|before|after|on)\b", re.I
    ),
    "go on": re.compile(r"\b(go|goes|going|went|gone) on\b", re.I),
    "come to": re.compile(r"\b(comes?|came|coming) (to|by|along|of)\b", re.I),
    "carry out": re.compile(r"\b(carry|carries|carried|carrying) out\b", re.I),
    # Not "in which" and "at which", which are often the plain way to name a run or a step.
    "of which, by which, from which": re.compile(r"\b(of|by|from|on|with) which\b", re.I),
    "excuse, recon, nursery, trunk": re.compile(r"\b(excuse[sd]?|recon|nursery|nurseries|trunk)\b", re.I),
}
"""What to count: the first in docstrings, the others everywhere."""

_DOCSTRING = "docstring"

# Other people's words, measurements, and what a page quotes.
LEFT_OUT = re.compile(r"^(docs/(literature|STYLE)\.md|docs/examples/|faultlab/doctor/errors/)")


def counts(texts: Iterator[tuple[str, str, bool]]) -> Counter[str]:
    """Count each idiom.

    Args:
        texts: For each text its file, the text itself, and whether it is a docstring.
    """
    found: Counter[str] = Counter(dict.fromkeys(IDIOMS, 0))
    for _, text, docstring in texts:
        for name, pattern in IDIOMS.items():
            if name.startswith(_DOCSTRING):
                found[name] += bool(docstring and pattern.match(text))
            else:
                found[name] += len(pattern.findall(text))
    return found


def places(texts: Iterator[tuple[str, str, bool]], wanted: str = "") -> Iterator[tuple[str, str, str]]:
    """Yield idiom, file and the words around each place."""
    for file, text, docstring in texts:
        for name, pattern in IDIOMS.items():
            of_docstrings = name.startswith(_DOCSTRING)
            if wanted not in name or (of_docstrings and not docstring):
                continue
            for match in [pattern.match(text)] if of_docstrings else pattern.finditer(text):
                if match:
                    around = text[max(0, match.start() - 40) : match.end() + 40]
                    yield name, file, " ".join(around.split())


def texts(sources: Iterator[tuple[str, str]]) -> Iterator[tuple[str, str, bool]]:
    """Yield the prose of the sources: file, text, and whether it is a docstring."""
    for file, source in sources:
        if LEFT_OUT.match(file):
            continue
        if file.endswith(".py"):
            yield from ((file, text, docstring) for text, docstring in _prose(source))
        else:
            yield file, re.sub(r"```.*?```|`[^`\n]*`", "", source, flags=re.S), False


def _prose(source: str) -> Iterator[tuple[str, bool]]:
    tree = ast.parse(source)
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, documented) and ast.get_docstring(node) is not None and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            documents = id(node) in docstrings
            # Keys, names and patterns are not prose.
            if documents or " " in node.value.strip():
                yield node.value, documents
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.string, False


_PATHS = ["faultlab", "docs", "benchmarks", "scenarios", "README.md", "CONTRIBUTING.md", "action.yml"]
_KINDS = (".py", ".md", ".jinja", ".yaml", ".yml")


def tree(revision: str = "") -> Iterator[tuple[str, str]]:
    """Yield the files of the working tree, or of a commit, with their texts."""
    listed = (
        ["git", "ls-tree", "-r", "--name-only", revision]
        if revision
        else ["git", "ls-files", "-co", "--exclude-standard"]
    )
    for file in subprocess.run(
        [*listed, "--", *_PATHS], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split():
        if not file.endswith(_KINDS):
            continue
        if revision:
            show = ["git", "show", f"{revision}:{file}"]
            yield file, subprocess.run(show, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        elif (ROOT / file).is_file():
            yield file, (ROOT / file).read_text()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--places"]:
        under = sys.argv[3] if len(sys.argv) > 3 else ""
        for one in places(texts((f, t) for f, t in tree() if f.startswith(under)), sys.argv[2]):
            print(*one, sep=" | ")
    else:
        for name, number in counts(texts(tree(*sys.argv[1:2]))).items():
            print(f"{number:6d}  {name}")
