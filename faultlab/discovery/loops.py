"""Training loops without a Trainer, found in a project's source: what `faultlab init` writes a scenario for."""

from __future__ import annotations

import ast
import contextlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from faultlab.catalogue.failure_mode import nearest
from faultlab.config.loop_parts import SCRIPT
from faultlab.core import directions, packages
from faultlab.core.exit_status import in_words
from faultlab.core.threads import one_thread_environment
from faultlab.discovery import asked_ranks, printed_metrics
from faultlab.discovery.project_index import Source, read
from faultlab.errors import UsageError

_BACKWARD = re.compile(r"\.backward\s*\(")
_LOOP = re.compile(r"\.backward\b|\.zero_grad\b|\boptim\.\w+\(")
_BY_OTHERS = {"accelerate", "ignite", "sentence_transformers", "skorch", "transformers", "trl"}
"""Packages whose trainings are broken as loops, although backward is called in the package."""
_LIGHTNING = re.compile(r"^\s*(?:from|import)\s+(?:pytorch_lightning|lightning(?!\.fabric))\b", re.MULTILINE)
_TRAINER = re.compile(r"\bTrainer\b")
_STARTS = re.compile(r"\b(subprocess|multiprocessing)\b")
_WITHOUT_TRAINING = {"numpy", "pandas", "scipy", "matplotlib", "yaml", "requests", "tqdm", "PIL"}
"""Packages that no script trains by."""
_MOST_FILES = 40
_TRAINS = ("main", "train", "fit", "run", "train_model")
_EVALUATES = ("evaluate", "validate", "test", "evaluate_model", "eval_model")
_STEPS = ("train_step", "training_step", "step", "train_batch")
_CONTINUES = ("resume", "resume_training", "continue_training")
_HELD_OUT = r"(val|test|eval|dev)"
# Not "accumulation" or "previous".
_GOOD = r"(acc(?!um|el|ess|ept|ount)|f1|auc|r2|score|(?<!v)iou(?!s)|dice)"
_BAD = r"(loss|error|mse|mae|rmse|perplexity|ppl)"
_BETTER = (
    (re.compile(rf"{_HELD_OUT}.*loss|loss.*{_HELD_OUT}"), "min"),
    (re.compile(rf"{_HELD_OUT}.*{_GOOD}|{_GOOD}.*{_HELD_OUT}"), "max"),
    (re.compile(rf"{_HELD_OUT}.*{_BAD}|{_BAD}.*{_HELD_OUT}"), "min"),
    (re.compile(_GOOD), "max"),
    (re.compile(_BAD), "min"),
    (re.compile(r"correct|reward|return"), "max"),
)
_WIDEST = 100
"""How many characters of a printed line are shown."""
_LONG = 3.0
"""Seconds of a clean run above which the note says so."""


@dataclass(frozen=True)
class LoopFound:
    """A training loop of a project.

    ``train`` is the entry of that name, ``evaluate`` and ``step`` are class paths, empty if no function of the
    source has such a name. ``resume`` is the switch of the function that trains which lets it continue from its
    checkpoint, empty without one. ``path`` has the folders to import from. ``ranks`` is the number of processes that
    the source asks for.
    """

    name: str
    shown: str
    train: dict[str, Any]
    evaluate: str = ""
    step: str = ""
    resume: str = ""
    path: tuple[str, ...] = ()
    ranks: int = 1


def find(target: str, given: Sequence[str], ill: bool = False) -> LoopFound | None:
    """Return the loop that a command line names, ``file.py`` or ``file.py:function``; None where it names none.

    Args:
        target: As it was given to `faultlab init`.
        given: The script's own arguments.
        ill: Whether it may be a loop that lacks a part, such as backward.

    Raises:
        UsageError: It names a loop that can't be broken, or a function that is not there.
    """
    path, _, name = target.partition(":")
    file = Path(path)
    if file.suffix != ".py" or not file.is_file():
        return None
    source = read(file.resolve())
    imported = _imported(source)
    if "pytorch_lightning" in imported or (
        "lightning" in imported and ("fabric" not in source.text or source.subclasses("LightningModule"))
    ):
        return None
    for package in imported & set(packages.OWN_OPTIMIZERS):
        remedy = "faultlab breaks trainings with torch's optimizers."
        raise UsageError(
            f"{file} trains with {packages.OWN_OPTIMIZERS[package]}, which has optimizers of its own. {remedy}"
        )
    if not (_LOOP if ill else _BACKWARD).search(source.text) and not imported & _BY_OTHERS and not _elsewhere(source):
        return None
    functions = {node.name: node for node in source.tree.body if isinstance(node, ast.FunctionDef)}
    if name and name not in functions:
        hint = nearest(name, functions) or f"Its functions: {', '.join(functions) or 'none'}."
        raise UsageError(f"{file} has no function {name!r}. {hint}")
    module = _module_path(file)
    if not name and source.acts:
        train: dict[str, Any] = {"script": str(file), **({"arguments": list(given)} if given else {})}
        ranks = asked_ranks.of([source.text, *(one.text for one in _imported_files(source))])
        return LoopFound(file.stem, str(file), {"class_path": SCRIPT, "init_args": train}, ranks=ranks)
    name = name or next((one for one in _TRAINS if one in functions and not _required(functions[one])), "")
    if not name or not module:
        raise UsageError(_without_function(file, functions, module))
    if _required(functions[name]) and not functions[name].decorator_list:
        raise UsageError(f"{file}:{name} needs arguments. {_in_a_scenario(f'{module}.{name}', functions[name])}")
    if given:
        remedy = f"They are the arguments of a script: faultlab init {file} -- {' '.join(given)}"
        raise UsageError(f"{file}:{name} is a function, which takes no arguments after --. {remedy}")
    evaluate = next((one for one in _EVALUATES if one in functions and len(_required(functions[one])) == 1), "")
    step = next((one for one in _STEPS if one in functions), "")
    return LoopFound(
        file.stem,
        f"{file}:{name}",
        {"class_path": f"{module}.{name}"},
        f"{module}.{evaluate}" if evaluate else "",
        f"{module}.{step}" if step else "",
        _switch(functions[name]),
        (str(Path.cwd()),),
        asked_ranks.of([source.text, *(one.text for one in _imported_files(source))]),
    )


def _without_function(file: Path, functions: Mapping[str, ast.FunctionDef], module: str) -> str:
    """Return the error for a file that trains nothing when it is run, and whose function to call is not obvious."""
    nothing = f"{file} trains nothing when it is run"
    if callable_ones := [one for one in functions if not _required(functions[one])]:
        lines = "".join(f"\n    faultlab init {file}:{one}" for one in callable_ones[:10])
        return f"{nothing}; name the function that does:{lines}"
    if not functions or not module:
        return f"{nothing}. Let it train when it is run, as `python {file}` does."
    name = next((one for one in _TRAINS if one in functions), next(iter(functions)))
    return f"{nothing}, and its functions need arguments. {_in_a_scenario(f'{module}.{name}', functions[name])}"


def _in_a_scenario(class_path: str, function: ast.FunctionDef) -> str:
    values = ", ".join(f"{one}: ..." for one in _required(function))
    lines = [
        "schema: 1",
        "name: mine",
        "framework: torch",
        f"train: {{class_path: {class_path}, init_args: {{{values}}}}}",
    ]
    return "Give them in a scenario:" + "".join(f"\n    {line}" for line in lines)


def tried(found: LoopFound, seconds: float) -> dict[str, Any]:
    """Return what one clean run of the loop shows: steps, seconds, losses, metrics, ranks, and its layout.

    A loop for several ranks that fails on them may be one for a GPU each, and train by itself on the CPU.

    Raises:
        UsageError: It does not train to its end in time.
    """
    try:
        return _tried(found, seconds)
    except UsageError as error:
        if found.ranks == 1:
            raise
        with contextlib.suppress(UsageError):
            return {**_tried(replace(found, ranks=1), seconds), "on_ranks": f"On {found.ranks} ranks: {error}"}
        raise


def _tried(found: LoopFound, seconds: float) -> dict[str, Any]:
    request = {"framework": "torch", **parts(found), "path": list(found.path)}
    try:
        done = subprocess.run(
            [sys.executable, "-m", "faultlab.discovery.loop_trial"],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            timeout=seconds,
            env=one_thread_environment(),
            check=False,
        )
    except subprocess.TimeoutExpired:
        remedy = f"Allow more time with --timeout, or shorten the training. {_shortened(found.shown)}"
        raise UsageError(f"{found.shown} takes more than {seconds:.0f} s\n    {remedy}") from None
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = (done.stderr.strip().splitlines() or [f"its process {in_words(done.returncode)}"])[-1]
        raise UsageError(f"{found.shown} can't be tried: {last}") from None
    if "error" in answer:
        raise UsageError(f"{found.shown}: {answer['error']}. {answer['remedy']}")
    return {**answer, "ranks": found.ranks}


def _shortened(shown: str) -> str:
    """Return how to shorten the training of a script, or of a function that is shown as ``script:function``."""
    if ":" in shown:
        return "Name the function in a scenario, with fewer epochs under `init_args` of `train`."
    return (
        f"Arguments after -- are passed to the script, such as `faultlab init {shown} -- --epochs 1`. "
        "If it takes no arguments, let it read its number of epochs from one, or from an environment variable."
    )


def parts(found: LoopFound) -> dict[str, Any]:
    """Return the entries of a scenario that name the loop."""
    others = {
        "ranks": found.ranks if found.ranks > 1 else None,
        "resume": {"init_args": {found.resume: True}} if found.resume else None,
        "evaluate": {"class_path": found.evaluate} if found.evaluate else None,
        "step": found.step,
    }
    return {"train": found.train, **{key: value for key, value in others.items() if value}}


def monitor(metrics: Mapping[str, float]) -> dict[str, str] | None:
    """Return the metric to measure harm by, and its better direction; None if no name shows it.

    The best value so far comes after others: it hides what happens after it.
    """
    names = sorted(metrics, key=lambda name: (directions.is_best(name, (), ""), "train" in name.lower()))
    for pattern, mode in _BETTER:
        for name in names:
            if pattern.search(name.lower()):
                return {"metric": name, "mode": mode}
    return None


def _measure(answer: Mapping[str, Any]) -> tuple[Mapping[str, str] | None, printed_metrics.Found | None]:
    """Return the entry under ``monitor``, and the printed number that it names; None for each that is not there.

    What the training returns or logs comes before what it prints, unless that is the best value so far.
    """
    returned = monitor(answer["metrics"])
    if returned is not None and not directions.is_best(returned["metric"], (), ""):
        return returned, None
    printed = printed_metrics.find(answer["printed"], monitor)
    if printed is None or (returned is not None and printed.best):
        return returned, None
    return printed.monitor, printed


def findings(answer: Mapping[str, Any]) -> list[str]:
    """Return what a clean run showed, a sentence each."""
    losses, metrics = answer["losses"], answer["metrics"]
    loaders = len(answer["training"])
    told = [f"The module that trains is {answer['root']}.", f"A clean run has {answer['steps']} steps."]
    if losses:
        told[-1] = f"A clean run has {answer['steps']} steps; its loss goes from {losses[0]:.3g} to {losses[-1]:.3g}."
    if answer["ranks"] > 1:
        told.append(f"It trains on {answer['ranks']} ranks, each in a process of its own, as under torchrun.")
    elif "on_ranks" in answer:
        told.append(f"It trains in one process. {answer['on_ranks']}")
    told.append(f"Training batches come from {loaders or 'no'} DataLoader{'' if loaders == 1 else 's'}.")
    chosen, printed = _measure(answer)
    if printed is not None:
        times = "once" if printed.times == 1 else f"{printed.times} times"
        line = printed.line if len(printed.line) <= _WIDEST else f"{printed.line[:_WIDEST]}..."
        told.append(f"Harm is measured by {printed.monitor['metric']}, which it prints {times}, as in `{line}`.")
    elif chosen is not None:
        told.append(f"Harm is measured by {chosen['metric']}, which it returns or logs.")
    else:
        known = f" among {', '.join(metrics)}" if metrics else ""
        told.append(f"Harm is not measured: no metric was found{known}. Return one, or print it as `val_loss 0.123`.")
    if (printed and printed.best) or (chosen and directions.is_best(chosen["metric"], (), "")):
        told.append("That is the best value so far, which hides harm done after it. Print the current value, too.")
    if answer["seconds"] > _LONG:
        told.append(
            f"A clean run takes {answer['seconds']:.0f} s, which is long for a training that is run hundreds of times. "
            "For a first look, run a part of the faults: `faultlab run --select 'loss.*'`. To make every run faster, "
            "shorten the training: arguments after -- are passed to the script, such as `-- --epochs 1`."
        )
    return told


def render(found: LoopFound, answer: Mapping[str, Any], command: str) -> str:
    """Return the text of the scenario file."""
    lines = [f"# Written by `{command}`.", *(f"# {line}" for line in findings(answer))]
    lines += ["schema: 1", f"name: {scenario_name(found)}", "framework: torch"]
    entries = parts(replace(found, ranks=answer["ranks"]))
    if found.train["class_path"] == SCRIPT:
        entries = {**entries.pop("train")["init_args"], **entries}
    chosen, printed = _measure(answer)
    if printed is not None:
        entries["metrics"] = {"stdout": printed.pattern}
    if chosen is not None:
        entries["monitor"] = dict(chosen)
    lines += [_entry(key, value) for key, value in entries.items()]
    if not found.evaluate:
        lines += ["# The final weights are not evaluated separately, so a fault may falsify what harm is measured by."]
        lines += ["# A function that takes the trained module and returns its metrics measures harm more reliably:"]
        lines += ["# evaluate: {class_path: package.module.evaluate}"]
    if not found.step:
        lines += ["# Name the function of one training step to break what it returns, too:"]
        lines += ["# step: package.module.train_step"]
    lines += ["# To fail in CI if less is detected:", "# gate: {coverage: 0.5, silent: {critical: 0}}"]
    return "\n".join(lines) + "\n"


def _entry(key: str, value: Any) -> str:
    # YAML's own choice would put a mapping of plain values in braces.
    flow = None if isinstance(value, (dict, list)) else False
    return str(yaml.safe_dump({key: value}, sort_keys=False, default_flow_style=flow, width=100)).rstrip()


def scenario_name(found: LoopFound) -> str:
    """Return the name of the scenario, after the file."""
    return re.sub(r"[^a-z0-9]+", "-", found.name.lower()).strip("-") or "loop"


def _imported(source: Source) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


def _elsewhere(source: Source) -> bool:
    """Return whether a script trains by what it imports: a loop in a file of the project, or in a package."""
    near = list(_imported_files(source))
    texts = [one.text for one in near]
    # What a script calls Trainer is Lightning's, but for those of the packages that are known to run loops.
    of_lightning = _TRAINER.search(source.text) or any(_LIGHTNING.search(text) for text in texts)
    if not source.acts or source.modules or of_lightning:
        return False
    # What those train is out of reach; the trial says which.
    if any(_BACKWARD.search(text) for text in texts) or _STARTS.search(source.text):
        return True
    own = {one.file.stem for one in near}
    packages_imported = {name for one in (source, *near) for name in _imported(one)} - own - sys.stdlib_module_names
    return bool(packages_imported - _WITHOUT_TRAINING)


def _imported_files(source: Source) -> Iterator[Source]:
    """Yield the files beside a script, or below its folder, that it imports, and those that they import."""
    waiting, seen = [source], {source.file.resolve()}
    while waiting and len(seen) < _MOST_FILES:
        one = waiting.pop()
        for node in ast.walk(one.tree):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or "", *(f"{node.module or ''}.{alias.name}" for alias in node.names)]
            for name in names:
                for folder in {source.file.resolve().parent, one.file.resolve().parent, Path.cwd()}:
                    base = folder.joinpath(*name.strip(".").split("."))
                    for file in (base.with_name(f"{base.name}.py"), base / "__init__.py"):
                        if file.is_file() and file.resolve() not in seen:
                            seen.add(file.resolve())
                            with contextlib.suppress(UsageError):
                                found = read(file.resolve())
                                waiting.append(found)
                                yield found


def _required(function: ast.FunctionDef) -> list[str]:
    """Return the names of the arguments without a default."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    needed = positional[: len(positional) - len(arguments.defaults)]
    keywords = [one for one, value in zip(arguments.kwonlyargs, arguments.kw_defaults) if value is None]
    return [one.arg for one in (*needed, *keywords)]


def _switch(function: ast.FunctionDef) -> str:
    """Return the argument that lets a function continue a training, which is off by default; empty without one."""
    arguments = function.args
    positional = [*arguments.posonlyargs, *arguments.args]
    optional = [
        *zip(reversed(positional), reversed(arguments.defaults)),
        *zip(arguments.kwonlyargs, arguments.kw_defaults),
    ]
    off = [one.arg for one, value in optional if isinstance(value, ast.Constant) and value.value is False]
    return next((name for name in _CONTINUES if name in off), "")


def _module_path(file: Path) -> str:
    """Return the dotted path of a file below the working folder; empty where it can't be imported from there."""
    try:
        names = file.resolve().relative_to(Path.cwd().resolve()).with_suffix("").parts
    except ValueError:
        return ""
    return ".".join(names) if all(name.isidentifier() for name in names) else ""
