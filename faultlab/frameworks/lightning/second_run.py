"""Repetition of what libraries let a process do once, for scripts that run twice in one process."""

from __future__ import annotations

import functools
import multiprocessing
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from faultlab.core.patching import Patches


def forget(program: str) -> None:
    """Undo what an earlier run of a script left in libraries.

    Args:
        program: The script's ``sys.argv[0]``.
    """
    # Scripts may choose how processes are started.
    multiprocessing.set_start_method(None, force=True)
    if (absl := sys.modules.get("absl.flags")) is not None:
        for flag in list(absl.FLAGS.get_flags_for_module(program)):
            delattr(absl.FLAGS, flag.name)
        absl.FLAGS.unparse_flags()


@contextmanager
def tolerated() -> Iterator[None]:
    """Let a script repeat what this process has done before."""
    import torch

    with Patches() as patches:
        # Every run uses one thread, which is set already.
        patches.set(torch, "set_num_interop_threads", lambda count: None)
        if (omegaconf := sys.modules.get("omegaconf")) is not None:
            config: Any = omegaconf.OmegaConf
            patches.set(config, "register_new_resolver", staticmethod(_replacing(config.register_new_resolver)))
        yield


def _replacing(register: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(register)
    def registered(name: str, resolver: Any, *, replace: bool = True, use_cache: bool = False) -> None:
        register(name, resolver, replace=True, use_cache=use_cache)

    return registered
