"""A mutant: its place in the user's source, its change, and the name that switches it on."""

from __future__ import annotations

from dataclasses import dataclass

SEPARATOR = "ǁ"
MARK = "__mutmut_"


@dataclass(frozen=True)
class Mutant:
    """One change of one function. Lines and columns count from 1, and ``end_column`` is the first one after it.

    ``name`` is mutmut's, ``file`` relative to the project's root, ``function`` dotted (``LitModel.training_step``).
    ``before`` and ``after`` are the changed text and its replacement. ``digest`` is a hash of the whole function,
    before and after the change. ``exemption`` is the reason that the source gives for exempting it, or empty.
    """

    name: str
    file: str
    function: str
    operator: str
    line: int
    column: int
    end_line: int
    end_column: int
    before: str
    after: str
    diff: str
    digest: str
    exemption: str = ""

    @property
    def mangled(self) -> str:
        """The function's name as mutmut writes it, without the module."""
        return mangled_of(self.name)

    @property
    def place(self) -> str:
        """The place, as editors and terminals take it."""
        return f"{self.file}:{self.line}:{self.column}"

    def switch(self, module: str) -> str:
        """Return the name that switches it on if its file was imported as this module."""
        return f"{module}.{self.name.rpartition('.')[2]}"


def mangled_of(name: str) -> str:
    """Return ``xǁClassǁmethod`` or ``x_function`` from a mutant's full name."""
    return name.rpartition(".")[2].partition(MARK)[0]


def dotted(mangled: str) -> str:
    """Return ``Class.method`` or ``function``."""
    if SEPARATOR in mangled:
        _, cls, method = mangled.rsplit(SEPARATOR, 2)
        return f"{cls}.{method}"
    return mangled.removeprefix("x_")
