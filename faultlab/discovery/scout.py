"""Tries ways to train a module: every attempt runs in a copy of this process, which may fail, hang or crash.

Run as ``python -m faultlab.discovery.scout`` by `faultlab.discovery.candidates`; requests come on standard input, and
answers go to the descriptor that was standard output, one line of JSON each.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import select
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn

from faultlab.core.exit_status import in_words
from faultlab.core.messages import encode
from faultlab.core.orders import Order, Train
from faultlab.core.part_facts import LoaderFacts
from faultlab.core.results import read_result
from faultlab.discovery import length
from faultlab.discovery.left_behind import LeftBehind
from faultlab.discovery.length import Length
from faultlab.engines import processes
from faultlab.worker.bootstrap import apart

_ATTEMPT = 90.0
_SEARCH = 45.0
_PATIENCE = 1.0
"""Seconds between two looks at how much time an attempt has spent."""
_TAIL = 2000
_SUBCOMMAND = re.compile(r"expected.*subcommand|\{fit,validate,test,predict\}")
"""The error of a LightningCLI without a subcommand."""
_MONITORS = "`ModelCheckpoint(monitor="
"""Part of the error of a ModelCheckpoint whose metric is missing."""


def main() -> None:
    """Serve requests, one per line of standard input, each in a copy of this process."""
    out = os.fdopen(os.dup(1), "wb")
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nowhere, stream)
    processes.die_with_parent()
    del sys.argv[1:]
    import torch

    torch.set_num_threads(1)
    for line in requests:
        request = json.loads(line)
        for package in request["imports"]:
            importlib.import_module(package)
        pid = processes.fork()
        if pid == 0:
            processes.die_with_parent()
            _serve(request, out)
        os.waitpid(pid, 0)
        out.write(encode({"done": True}))
        out.flush()


def _serve(request: Mapping[str, Any], out: IO[bytes]) -> NoReturn:
    processes.adopt_orphans()
    os.chdir(request["folder"])
    sys.path[:0] = request["path"]
    with tempfile.TemporaryDirectory(prefix="faultlab-init-", ignore_cleanup_errors=True) as folder:
        made = LeftBehind(Path(folder, "made"))
        try:
            Scout(request, out, Path(folder)).run()
        finally:
            made.remove()
    os._exit(0)


class Scout:
    """Goes through a request's candidates until one trains."""

    def __init__(self, request: Mapping[str, Any], out: IO[bytes], folder: Path) -> None:
        self._request = request
        self._out = out
        self._folder = folder
        self._left = float(request["seconds"])

    def run(self) -> None:
        """Report how every attempt ended, and finally the result."""
        for candidate in self._request["candidates"]:
            if self._try(candidate):
                return
        for module in self._request["made_up"]:
            if self._try_made_up(module):
                return
        self._say(found=None)

    def _try(self, candidate: Mapping[str, Any]) -> bool:
        self._say(trying=candidate["label"])
        answer = self._attempt(candidate)
        if candidate["how"] == "script" and _MONITORS in answer.get("failed", ""):
            # A metric that is logged later than in such a short run, or never.
            self._say(failed=answer["failed"], label=candidate["label"])
            candidate = _changed(candidate, " without its ModelCheckpoint", without=["ModelCheckpoint"])
            answer = self._attempt(candidate)
        elif candidate["how"] == "script" and _SUBCOMMAND.search(answer.get("failed", "")):
            # A LightningCLI that the script does not name.
            self._say(failed=answer["failed"], label=candidate["label"])
            given = candidate["parts"]["build"]["init_args"].get("arguments", [])
            candidate = _changed(candidate, " with `fit`", arguments=["fit", *given])
            answer = self._attempt(candidate)
        wanted = self._request["name"]
        if wanted and "trajectory" in answer and wanted not in answer["lineage"]:
            first = candidate, answer
            answer = {"failed": f"it trains {answer['lineage'][0]}, not {wanted}"}
            if candidate["how"] == "script":
                self._say(failed=answer["failed"], label=candidate["label"])
                candidate = _changed(candidate, f" of {wanted}", trains=wanted)
                answer = self._attempt(candidate)
            if "trajectory" not in answer and candidate.get("whatever"):
                # The user did not ask for the other class, and the named script trains this one.
                self._say(failed=answer["failed"], label=candidate["label"])
                candidate, answer = first
        if "trajectory" not in answer:
            self._say(failed=answer["failed"], label=candidate["label"])
            return False
        self._tune(candidate, answer)
        return True

    def _attempt(self, candidate: Mapping[str, Any], long: Length = Length()) -> dict[str, Any]:  # noqa: B008
        parts = candidate["parts"]
        return self._apart(lambda: _train(parts, long, str(self._folder / "run")), _ATTEMPT)

    def _try_made_up(self, module: Mapping[str, Any]) -> bool:
        label = f"batches that {self._request['name']} accepts"
        self._say(trying=label)
        answer = self._apart(lambda: _search(module, self._request["reading"], _SEARCH), _SEARCH + 30)
        if answer.get("batch") is None:
            self._say(failed=answer["failed"], label=label)
            return False
        validates = self._request["reading"]["validates"]
        arguments = {"batch": answer["batch"], "batch_size": 16, "samples": 256, "validation": 64 if validates else 0}
        data = {"class_path": "faultlab.targets.synthetic.data", "init_args": arguments}
        label = "a training on synthetic data"
        return self._try({"label": label, "how": "made_up", "parts": {"module": module, "data": data}, **answer})

    def _tune(self, candidate: Mapping[str, Any], first: dict[str, Any]) -> None:
        """Lengthen the training until something is learned, and report the result."""
        answer, tried = first, Length()
        available = _available(first, tried)
        again = length.of(2 * tried.steps, available)
        second = self._attempt(candidate, again)
        spent = {first["steps"]: first["cpu"]}
        if "trajectory" in second:
            spent[second["steps"]] = second["cpu"]
            available = _available(second, again)
        known = {tried: first, again: second}
        given = first["given"]
        asked = None if "limit_train_batches" in given else length.own(given.get("max_epochs"), available)
        for long in length.longer(available, lambda: length.marginal(spent), asked):
            found = known[long] if long in known else self._attempt(candidate, long)
            if "trajectory" not in found:
                break
            answer = found
            spent[found["steps"]] = found["cpu"]
            if length.is_enough(found["losses"], length.marginal(spent)):
                break
        del answer["trajectory"]
        self._say(found={**candidate, **answer, "learns": length.learns(answer["losses"])})

    def _apart(self, act: Callable[[], dict[str, Any]], seconds: float) -> dict[str, Any]:
        """Return the answer of an act in a copy of this process; ``failed`` is the reason if there is none."""
        seconds = min(seconds, self._left)
        if seconds <= 1:
            return {"failed": "no time was left to try it"}
        reading, writing = os.pipe()
        log = self._folder / "log"
        before = processes.children_of(os.getpid())
        pid = processes.fork()
        if pid == 0:
            os.setsid()
            processes.die_with_parent()
            os.close(reading)
            _write_to(log)
            try:
                with apart(str(self._folder / "apart")):
                    answer = act()
            except BaseException as error:
                answer = {"failed": _failure(error)}
            _write_all(writing, encode(answer))
            os._exit(0)
        os.close(writing)
        data, own, ended = b"", processes.OwnTime(pid), False
        while not ended and own.spent() < seconds:
            if select.select([reading], [], [], _PATIENCE)[0]:
                part = os.read(reading, 1 << 16)
                data += part
                ended = not part or data.endswith(b"\n")
        self._left -= own.spent()
        processes.kill_group(pid)
        _, status = os.waitpid(pid, 0)
        processes.sweep_orphans(before)
        os.close(reading)
        if data.endswith(b"\n"):
            return dict(json.loads(data))
        if not ended:
            return {"failed": f"it was still running after {seconds:.0f} s"}
        code = os.waitstatus_to_exitcode(status)
        return {"failed": f"its process {in_words(code)}. {_tail(log)}".strip()}

    def _say(self, **message: Any) -> None:
        self._out.write(encode(message))
        self._out.flush()


def _changed(candidate: Mapping[str, Any], label: str, **arguments: Any) -> dict[str, Any]:
    """Return the candidate with changed arguments of its build function."""
    build = candidate["parts"]["build"]
    parts = {"build": {**build, "init_args": {**build["init_args"], **arguments}}}
    return {**candidate, "label": candidate["label"] + label, "parts": parts}


def trainer_settings(long: Length, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the Trainer's settings for a short run, on top of a script's own."""
    settings: dict[str, Any] = {"max_epochs": long.epochs, "limit_train_batches": long.batches}
    if given.get("limit_val_batches") not in (0, 0.0):
        settings["limit_val_batches"] = 4
    for name, usual in (("check_val_every_n_epoch", 1), ("val_check_interval", 1.0), ("min_epochs", 1)):
        if given.get(name, usual) != usual:
            settings[name] = usual
    for name in ("max_steps", "min_steps"):
        if name in given:
            settings[name] = -1 if name == "max_steps" else 0
    if given.get("overfit_batches"):
        settings["overfit_batches"] = 0.0
    return settings


def _train(parts: Mapping[str, Any], long: Length, root: str) -> dict[str, Any]:
    """Train once in this process, with the code that executes every run of a campaign."""
    from faultlab.campaign.metric_choice import choose_metric
    from faultlab.core.results import Outcome
    from faultlab.errors import TargetError
    from faultlab.frameworks.lightning.target import Target
    from faultlab.targets import script
    from faultlab.worker.dispatch import carry_out

    begun, cpu = time.perf_counter(), time.process_time()
    given: dict[str, Any] = {}
    left_out: list[tuple[str, str]] = []
    said: list[dict[str, Any]] = []
    try:
        if "build" in parts and (handed := script.handed(parts["build"])) is not None:
            given, left_out = dict(handed.flags), list(handed.left_out)
        trainer = trainer_settings(long, given)
        target = Target({**parts, "trainer": trainer, "path": []})
        carry_out(target, Order("clean", Train(0, probe=True), root=root), said.append)
    except TargetError as error:
        return {"failed": ". ".join(filter(None, (error.message.rstrip("."), error.remedy)))}
    outcome = Outcome("clean", [read_result(said[-1]["result"])])
    if outcome.target_error is not None:
        return {"failed": outcome.target_error.message}
    run = outcome.run
    assert run is not None
    trajectory, profile = run.trajectory, run.profile
    if trajectory.end != "finished":
        return {"failed": run.alerts[-1].message if run.alerts else f"the training ended: {trajectory.end}"}
    if not trajectory.steps:
        return {"failed": "it trained no step: the training loader yields no batch"}
    assert profile is not None
    measure = choose_metric(trajectory, None, profile.directions)
    told = measure.metric in trajectory.metrics and measure.lower_is_better is not None
    metrics = trajectory.final or {key: series[-1][1] for key, series in trajectory.metrics.items()}
    cls = _class(profile.module)
    losses = [loss for _, loss in trajectory.losses]
    return {
        "trajectory": True,
        "trainer": trainer,
        "given": given,
        "left_out": left_out,
        "module": profile.module,
        "lineage": [one.__name__ for one in cls.__mro__] if cls else [profile.module.rpartition(".")[2]],
        "namespace": profile.namespace,
        "steps": trajectory.steps,
        "batches": _batches(profile.loading),
        "fit_seconds": run.fit_seconds,
        "cpu": time.process_time() - cpu,
        "seconds": time.perf_counter() - begun,
        "monitor": {"metric": measure.metric, "mode": measure.mode} if told else None,
        "metrics": metrics,
        "losses": losses,
        "guards": list(run.guards),
        "alerts": [f"{alert.name}: {alert.message}" for alert in run.alerts],
        "leaves": {path: list(leaf.shape) for path, leaf in profile.leaves.items()},
        "validation": trajectory.validation_batches,
        "skipped": script.skipped(),
    }


def _available(answer: Mapping[str, Any], long: Length) -> int | None:
    """Return the number of batches in an epoch: those that arrived, if fewer than requested."""
    fewer = answer["steps"] < long.steps
    found: int | None = max(1, answer["steps"] // long.epochs) if fewer else answer["batches"]
    return found


def _batches(loading: LoaderFacts | None) -> int | None:
    """Return the number of batches in an unlimited epoch, or None if unknown."""
    samples, size = (loading.samples, loading.batch_size) if loading is not None else (None, None)
    return -(-samples // size) if samples and size else None


def _search(module: Mapping[str, Any], reading: Mapping[str, Any], seconds: float) -> dict[str, Any]:
    from faultlab.discovery.shapes import Search
    from faultlab.errors import TargetError
    from faultlab.frameworks.lightning.target import Target
    from faultlab.injection import compilation
    from faultlab.targets import script

    try:
        target = Target({"module": module})
        target.make_module()
    except TargetError as error:
        return {"failed": ". ".join(filter(None, (error.message.rstrip("."), error.remedy)))}
    search = Search(target.make_module, reading, seconds)
    with compilation.lifted():
        batch = search.run()
    if batch is None:
        often = "; ".join(f"{text} ({count} times)" for text, count in search.errors.most_common(3))
        return {
            "failed": f"none of {search.tried} kinds of batches trained: "
            f"{often or 'no layer shows what input it takes'}"
        }
    return {"batch": batch, "tried": search.tried, "skipped": script.skipped()}


def _class(path: str) -> type | None:
    from faultlab.core.class_paths import found_class

    return found_class(path)


def _failure(error: BaseException) -> str:
    from faultlab.core.alert import safe_text

    return f"{type(error).__name__}: {safe_text(error)}"


def _write_to(log: Path) -> None:
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _tail(log: Path) -> str:
    try:
        text = log.read_text(errors="replace")[-_TAIL:].strip()
    except OSError:
        return ""
    return text.splitlines()[-1] if text else ""


if __name__ == "__main__":
    main()
