"""Random numbers that no seed controls in a run: from the system, from kernels, from threads. In the victim."""

from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from faultlab.core.patching import Patches
from faultlab.core.user_code import UserCode
from faultlab.frameworks.torch.weights import digest
from faultlab.injection import tree

_KERNELS = "does not have a deterministic implementation"
# Packages that draw names and keys, which no training sees.
_ASIDE = ("tempfile", "uuid", "multiprocessing", "asyncio", "logging", "socket", "ssl", "http", "email")
_INSIDE = ("random", "secrets", "numpy", "torch", "os", "faultlab", "contextlib", "functools", "importlib", "threading")
_MOST = 20


class Draws:
    """Records who draws what while it is attached; ``code`` distinguishes the user's lines from those of libraries."""

    def __init__(self, code: UserCode) -> None:
        self._code = code
        self._sources: dict[str, None] = {}
        self._seeds: list[str] = []
        self._weights = ""
        self._batch = ""
        self._inside = False

    def attach(self, patches: Patches) -> None:
        """Make every source record its draws, and kernels warn if their result depends on the order of threads."""
        import numpy
        import torch
        from numpy.random import bit_generator

        for owner in (random.Random, random):
            patches.set(owner, "seed", self._seeding("random", owner.seed))
        for owner, name, what in (
            (bit_generator, "randbits", "a generator of numpy.random without a seed"),
            (random, "_urandom", "the system's random numbers"),
            (os, "urandom", "os.urandom"),
            (torch, "seed", "torch.seed()"),
            (torch.random, "seed", "torch.seed()"),
        ):
            if hasattr(owner, name):
                patches.set(owner, name, self._drawing(what, getattr(owner, name)))
        for owner, name, what in (
            (numpy.random, "seed", "numpy.random.seed"),
            (numpy.random, "default_rng", "numpy.random.default_rng"),
            (torch, "manual_seed", "torch.manual_seed"),
            (torch.random, "manual_seed", "torch.manual_seed"),
        ):
            patches.set(owner, name, self._seeding(what, getattr(owner, name)))
        # A C type, whose attributes can't be replaced.
        profiled = sys.getprofile()
        sys.setprofile(self._profile)
        patches.on_exit(lambda: sys.setprofile(profiled))
        before, only_warned = (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        )
        torch.use_deterministic_algorithms(True, warn_only=True)
        patches.on_exit(lambda: torch.use_deterministic_algorithms(before, warn_only=only_warned))

    def built(self, module: Any) -> None:
        """Record the weights that the training begins with."""
        self._weights = digest(module)

    def first_batch(self, batch: Any) -> None:
        """Record the first batch of the training."""
        total = hashlib.sha256()
        for path, tensor in tree.tensors(batch):
            total.update(f"{path} {tensor.dtype} {tensor.tolist()}".encode())
        self._batch = self._batch or total.hexdigest()

    def to_json(self, warnings: Iterator[str]) -> dict[str, Any]:
        """Return the records; ``warnings`` are the texts of the run's warnings."""
        import torch

        others = [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]
        return {
            "sources": list(self._sources)[:_MOST],
            "seeds": self._seeds[:_MOST],
            "weights": self._weights,
            "batch": self._batch,
            "kernels": sorted({text.partition(_KERNELS)[0].strip() for text in warnings if _KERNELS in text}),
            "threads": others + ["torch's own"] * (torch.get_num_threads() > 1),
        }

    def _profile(self, frame: FrameType, event: str, called: Any) -> None:
        if event != "c_call" or getattr(called, "__name__", "") != "seed":
            return
        owner = type(getattr(called, "__self__", None))
        if owner.__module__.partition(".")[0] == "torch" and not self._inside and (place := self._place(frame)):
            self._sources.setdefault(f"torch.Generator.seed(), drawn {place}")

    def _drawing(self, what: str, draw: Callable[..., Any]) -> Callable[..., Any]:
        def drawing(*args: Any, **kwargs: Any) -> Any:
            return self._recorded(
                lambda place: self._sources.setdefault(f"{what}, drawn {place}"), draw, *args, **kwargs
            )

        return drawing

    def _seeding(self, what: str, seed: Callable[..., Any]) -> Callable[..., Any]:
        def seeding(*args: Any, **kwargs: Any) -> Any:
            values = [one for one in (*args, *kwargs.values()) if not isinstance(one, random.Random)]
            if not values or values[0] is None:
                # numpy draws a seed if it is given none, which is recorded there.
                draw = self._drawing("a generator of random without a seed", seed) if what == "random" else seed
                return draw(*args, **kwargs)
            call = f"{what}({repr(values[0])[:60]})"
            return self._recorded(lambda place: self._seeds.append(f"{call} {place}"), seed, *args, **kwargs)

        return seeding

    def _recorded(self, note: Callable[[str], Any], function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self._inside and (place := self._place(sys._getframe(2))):
            note(place)
        before, self._inside = self._inside, True
        try:
            return function(*args, **kwargs)
        finally:
            self._inside = before

    def _place(self, frame: FrameType | None) -> str:
        """Return the user's innermost line of the call, else a library's; empty for draws that no training sees."""
        library = ""
        while frame is not None:
            package = str(frame.f_globals.get("__name__", "")).partition(".")[0]
            if package in _ASIDE:
                return ""
            place = f"at {frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
            if self._code.holds(frame):
                return place
            if not library and package not in _INSIDE:
                library = place
            frame = frame.f_back
        return library
