"""Mutants that end the process: by a signal, and by a status of its own."""

import os
import signal


def fall_over(problems):
    """Ends the process, as a fault in native code does, where there are problems."""
    if problems > 0:
        signal.raise_signal(signal.SIGSEGV)
    return problems


def give_up(problems):
    """Ends the process, without a word to pytest, where there are problems."""
    if problems > 0:
        os._exit(3)
    return problems
