"""What mutated files import in place of mutmut's trampoline: it readies a process that nobody else has readied.

A worker of a loader that is spawned and not forked is one, or a script that a test starts.
"""

from faultlab.mutants import switchboard

switchboard.ready()

from mutmut.mutation.trampoline import MutantDict, wrap_in_trampoline  # noqa: E402

__all__ = ["MutantDict", "wrap_in_trampoline"]
