"""Candidate ways to train a module, best evidence first, each tried in another process."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from faultlab.config.scenario import import_path
from faultlab.core.exit_status import in_words
from faultlab.core.threads import one_thread_environment
from faultlab.discovery import arguments, cli_config, project_index
from faultlab.discovery.module_source import Reading, methods_of, read_module
from faultlab.discovery.project_index import Found, Source
from faultlab.errors import UsageError

_SECONDS = 150.0
_GRACE = 30.0
_BUSY = 4
"""How many times slower a busy machine may be."""
_MOST_SCRIPTS = 3


@dataclass
class Guess:
    """The result of a search for a way to train the target.

    ``found`` describes the candidate that trains, or is None; ``tried`` has the failed attempts with their reasons,
    ``assumed`` the constructor arguments with chosen values, ``unknown`` those without one.
    """

    target: Found
    reading: Reading = field(default_factory=Reading)
    found: dict[str, Any] | None = None
    tried: list[tuple[str, str]] = field(default_factory=list)
    assumed: dict[str, Any] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)
    tests: list[str] = field(default_factory=list)


def guess(
    scouting: Scouting,
    target: Found,
    file: Path,
    on_attempt: Callable[[str], None],
    seconds: float = _SECONDS,
    arguments_given: Sequence[str] = (),
) -> Guess:
    """Find how a scenario can train the module. Runs the user's code, in processes that end with this call.

    Args:
        scouting: The process that tries.
        target: The requested module.
        file: The future path of the scenario.
        on_attempt: Called with the description of each attempt before it begins.
        seconds: Time limit for all attempts.
        arguments_given: The command line for the user's script.
    """
    guessed = Guess(target, tests=project_index.tests_for(target))
    source = target.source
    importable = bool(target.class_path) and (source is None or source.imports_quietly)
    if source is not None:
        guessed.reading = read_module(source, target.name)
        guessed.assumed, guessed.unknown = arguments.guess(source, guessed.reading, importable)
    else:
        guessed.reading.validates = True
    candidates = list(_scripts(target, arguments_given))
    forms: list[dict[str, Any]] = []
    # With arguments, only the script can be meant, not another way to train the module.
    if not arguments_given:
        candidates += _with_data(target, importable, guessed.assumed)
        forms += _forms(target, importable, guessed)
    request = {
        "name": target.name if target.known else "",
        "folder": str(Path.cwd()),
        "path": import_path(file),
        "imports": _packages(target),
        "candidates": candidates,
        "made_up": forms,
        "reading": guessed.reading.to_json(),
        "seconds": seconds,
    }
    # The process counts its own time; this limit is only for one that hangs.
    for message in scouting.ask(request, _BUSY * seconds + _GRACE):
        if "trying" in message:
            on_attempt(message["trying"])
        elif "failed" in message:
            guessed.tried.append((message["label"], message["failed"]))
        else:
            guessed.found = message.get("found")
    if guessed.found is not None and not target.known:
        guessed.target = replace(target, name=guessed.found["module"].rpartition(".")[2])
    elif guessed.found is not None and source is not None and guessed.found.get("whatever"):
        name = guessed.found["module"].rpartition(".")[2]
        if name != target.name and name in source.classes:
            guessed.reading = read_module(source, name)
            guessed.target = replace(target, name=name, class_path=source.class_path(name))
    return guessed


def builds(target: Found, given: Sequence[str] = ()) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the ways to run scripts that train the target: file, its text, and the ``build`` of a scenario.

    Args:
        target: The requested module.
        given: The command line that the user gives the script.
    """
    for source in project_index.scripts_for(target)[:_MOST_SCRIPTS]:
        more = _command_line(source, target.config, given)
        asked = {"script": source.shown, **({"arguments": more} if more else {})}
        yield source.shown, source.text, {"class_path": "faultlab.targets.script.build", "init_args": asked}
    if target.config:
        asked = {"config": target.config, **({"arguments": list(given)} if given else {})}
        yield target.config, "logger", {"class_path": "faultlab.targets.script.configured", "init_args": asked}


def build_of(file: Path, given: Sequence[str] = ()) -> dict[str, Any]:
    """Return the ``build`` of a scenario for one script, whatever its source looks like."""
    try:
        more = _command_line(project_index.read(file), "", given)
    except UsageError:
        more = list(given)
    asked = {"script": str(file), **({"arguments": more} if more else {})}
    return {"class_path": "faultlab.targets.script.build", "init_args": asked}


def _command_line(source: Source, config: str, given: Sequence[str]) -> list[str]:
    if "LightningCLI" not in source.text:
        return list(given)
    runs = "run=False" not in source.text.replace(" ", "")
    if config:
        return [*cli_config.arguments(config, runs), *given]
    return ["fit", *given] if runs and not cli_config.SUBCOMMANDS & set(given) else list(given)


def _scripts(target: Found, given: Sequence[str]) -> Iterator[dict[str, Any]]:
    for shown, text, build in builds(target, given):
        for keep in ([], ["logger"]):
            more = {"init_args": {**build["init_args"], "keep": keep}} if keep else {}
            label = f"running {shown} up to Trainer.fit" + (" with its logger" if keep else "")
            if not keep or "logger" in text:
                own = not target.asked and target.source is not None and shown == target.source.shown
                parts = {"build": {**build, **more}}
                yield {"label": label, "how": "script", "script": shown, "whatever": own, "parts": parts}


def _with_data(target: Found, importable: bool, assumed: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield candidates that train the module with data from the project."""
    source = target.source
    if not target.known:
        return
    if source is None:
        yield {"label": "its own loaders", "how": "own", "parts": {"module": {"class_path": target.class_path}}}
        return
    for module in _components(source, target.name, importable, assumed):
        if read_module(source, target.name).own_loaders:
            yield {"label": "its own loaders", "how": "own", "parts": {"module": module}}
        for near in _near(source):
            quiet = near.imports_quietly
            for name in near.subclasses("LightningDataModule"):
                reading = read_module(near, name)
                values, unknown = arguments.guess(near, reading, quiet)
                for data in _components(near, name, quiet, values) if not unknown else ():
                    label = f"{name} in {near.shown}"
                    yield {"label": label, "how": "data", "parts": {"module": module, "data": data}, "values": values}
            for name in near.loader_functions if quiet else ():
                data = {"class_path": near.class_path(name)}
                yield {"label": f"{name}() in {near.shown}", "how": "data", "parts": {"module": module, "data": data}}


def _forms(target: Found, importable: bool, guessed: Guess) -> Iterator[dict[str, Any]]:
    """Yield the ways to name the module alone."""
    if not target.known:
        return
    if target.source is None:
        yield {"class_path": target.class_path}
        return
    plain = list(_components(target.source, target.name, importable, guessed.assumed))
    if importable:
        # If an import of the file is not installed, the class itself may not need it.
        values, _ = arguments.guess(target.source, guessed.reading, importable=False)
        plain += _components(target.source, target.name, False, values)
    hooks = [hook for hook in ("prepare_data", "setup") if hook in methods_of(target.source, target.name)]
    for form in plain:
        # A module that fetches its own data would keep doing so; one that builds its layers in these hooks needs them.
        for left_out in (hooks, hooks[:1]) if len(hooks) > 1 else (hooks,) if hooks else ():
            yield {"class_path": "faultlab.targets.synthetic.without", "init_args": {"module": form, "hooks": left_out}}
        yield form


def _components(source: Source, name: str, importable: bool, values: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    if importable and source.class_path(name):
        yield {"class_path": source.class_path(name), **({"init_args": dict(values)} if values else {})}
    else:
        asked = {"script": source.shown, "name": name, **({"init_args": dict(values)} if values else {})}
        yield {"class_path": "faultlab.targets.script.module", "init_args": asked}


def _near(source: Source) -> Iterator[Source]:
    """Yield the file itself and its neighbors."""
    yield source
    for file in sorted(source.file.resolve().parent.glob("*.py"))[:40]:
        if file != source.file.resolve() and source.file.resolve().is_relative_to(Path.cwd()):
            with contextlib.suppress(UsageError):
                yield project_index.read(file)


def _packages(target: Found) -> list[str]:
    """Return the packages that are worth importing once for all attempts."""
    source = target.script or target.source
    text = source.text if source else Path(target.config).read_text("utf-8") if target.config else target.class_path
    return ["lightning.pytorch"] if "lightning" in text.replace("pytorch_lightning", "") else ["pytorch_lightning"]


class Scouting:
    """The process that tries candidates; it ends with the context, and so do the processes that it started."""

    def __init__(self) -> None:
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the context
        self._process = subprocess.Popen(
            [sys.executable, "-m", "faultlab.discovery.scout"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
            env=one_thread_environment(),
        )

    def ask(self, request: Mapping[str, Any], seconds: float) -> Iterator[dict[str, Any]]:
        """Yield the answers to a request, the result last; for a process that ends or is late, the reason."""
        late = threading.Event()

        def end() -> None:
            late.set()
            self._end()

        timer = threading.Timer(seconds, end)
        timer.daemon = True
        timer.start()
        said: dict[str, Any] = {}
        try:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(json.dumps(request).encode() + b"\n")
                self._process.stdin.flush()
            for line in self._process.stdout:
                said = json.loads(line)
                if "done" in said:
                    return
                yield said
        finally:
            timer.cancel()
        why = f"it took longer than {seconds:.0f} s" if late.is_set() else self._last_words()
        yield {"label": "looking for a way to train it", "failed": why}

    def _last_words(self) -> str:
        self._errors.seek(0)
        said = self._errors.read().decode(errors="replace").strip().splitlines()
        return said[-1] if said else f"its process {in_words(self._process.wait())}"

    def _end(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def __enter__(self) -> Scouting:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._end()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout, self._errors):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
