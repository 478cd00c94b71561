"""One thread for each process, set by variables that numeric libraries read on import."""

from __future__ import annotations

import os

VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_QUIET = {"TOKENIZERS_PARALLELISM": "false", "JE_ARROW_MALLOC_CONF": "background_thread:false"}
"""Settings without which the tokenizers of Hugging Face and Arrow start threads; a user's own are kept."""


def one_thread_environment() -> dict[str, str]:
    """Return the environment for a process that will import torch and fork.

    It has to be set before the import: a fork after a multi-threaded torch operation hangs in the child.
    """
    return {**_QUIET, **os.environ, **dict.fromkeys(VARIABLES, "1")}
