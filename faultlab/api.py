"""Campaigns from Python: `run` runs a scenario, or the objects that it is given, and returns the report."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from faultlab import engines
from faultlab.campaign.campaign import Campaign, Options
from faultlab.campaign.healthy_runs import Watch
from faultlab.campaign.progress_lines import ProgressLines, chosen
from faultlab.catalogue.failure_mode import nearest
from faultlab.config import target_check
from faultlab.config.fault_patterns import check_pattern
from faultlab.config.given_scenario import given, name_of
from faultlab.config.scenario import Scenario, load
from faultlab.core.report import Report
from faultlab.engines import Engine
from faultlab.errors import UsageError
from faultlab.mutants.mutation import MutationOptions, SourceMutation


def run(
    target: Any,
    data: Any = None,
    *,
    trainer: Mapping[str, Any] | None = None,
    guards: Sequence[Any] = (),
    monitor: str | tuple[str, str] | None = None,
    name: str = "",
    select: Sequence[str] = (),
    ignore: Sequence[str] = (),
    jobs: int | None = None,
    engine: str | None = None,
    seed: int = 0,
    timeout: float | None = None,
    out: Path | str = "reports",
    advice: bool = True,
    progress: Callable[[str], None] | bool | None = None,
) -> Report:
    """Break a training, one fault at a time, and return the report of who detected what.

    The training is that of a scenario file, or of a module and data that this process holds, in a notebook too. Each
    run trains in a process of its own, so that the module, the data and the weights of this process stay as they are.
    Of a module and data each of these processes is a copy of this one: threads are not copied, runs compute on the CPU,
    and a process that has used CUDA can't be copied. Source mutants are generated and judged where a scenario has
    ``mutants:``.

    Args:
        target: The path of a scenario file, a loaded `Scenario`, a LightningModule, its class, or a function without
            parameters that returns one. A class or function is called for each run; a module is copied, and trains
            from the weights that it has now.
        data: A DataLoader, a pair of them for training and validation, a LightningDataModule, its class, or a function
            without parameters that returns one of these. None if the module has its own loaders, or for a scenario.
            Loaders are copied for each run, with their data set; a function saves the memory of the copies.
        trainer: Keyword arguments of the Trainer, such as ``{"max_epochs": 2}``. By default the Trainer has no logger
            and no checkpoints, and trains on one CPU. Not for a scenario, nor are `guards`, `monitor` and `name`.
        guards: The guards to try: callbacks, classes of them that are called without arguments, and dicts of Trainer
            flags such as ``{"detect_anomaly": True}``.
        monitor: The logged metric that harm is measured by, or the metric and whether its best is the ``"min"`` or the
            ``"max"``, such as ``("val_acc", "max")``. By default the metric of validation.
        name: The campaign's name, and that of its folder under `out`. By default the name of the class or function.
        select: Globs over failure modes, or whole faults such as ``"label.noisy:fraction=0.3@step=8"``. By default
            those of the scenario, or all.
        ignore: Globs over failure modes to leave out.
        jobs: The number of runs at a time. By default one for each core.
        engine: ``"fork"`` or ``"spawn"``, or the name of an engine that an installed package adds. By default fork
            where the system has it. Objects need fork.
        seed: The seed of the clean run that faulted runs are compared with.
        timeout: Deadline of a faulted run in seconds. By default it is measured.
        out: The folder to write reports to.
        advice: Whether the ready-made guards watch too, and the report prescribes those that detect a silent fault.
        progress: A function that takes each line of progress, or whether to print them. By default they are printed in
            a notebook, at an interpreter's prompt and on a terminal.

    Returns:
        The report. Notebooks show it as a table, and ``report.page`` is the path of its HTML page.

    Raises:
        ScenarioError: The scenario file is invalid, or the module or its data can't be built.
        UsageError: An argument is invalid, there are more jobs than cores, or this process can't be copied.
        BaselineError: The clean run fails.
        KeyboardInterrupt: The campaign was interrupted; its report of the runs so far is on disk.
    """
    _check_patterns(select, ignore)
    say = chosen(progress)
    if isinstance(target, (str, Path, Scenario)):
        _refuse_objects(data=data, trainer=trainer, guards=guards, monitor=monitor, name=name)
        scenario = target if isinstance(target, Scenario) else load(Path(target))
        working = engines.create(engine or engines.default(), engines.checked_jobs(jobs))
    else:
        scenario, working = _of_objects(target, data, trainer or {}, guards, monitor, name, engine, jobs)
    options = Options(tuple(select), tuple(ignore), seed, timeout, out=Path(out), watch=Watch(advised=advice))
    return _carried_out(scenario, working, options, ProgressLines(say))


def _carried_out(scenario: Scenario, working: Engine, options: Options, listener: ProgressLines) -> Report:
    from faultlab.report import files

    campaign = Campaign(scenario, working, options, listener)
    try:
        report = campaign.run()
        interrupted = campaign.interrupted
        if scenario.mutants is not None and not interrupted:
            asked = MutationOptions(seed=options.seed, timeout=options.timeout, out=options.out, watch=options.watch)
            mutation = SourceMutation(asked, working, listener, scenario)
            report = mutation.run(report)
            interrupted = mutation.interrupted
    finally:
        working.close()
    report.page = files.write(report, options.out).as_posix()
    if interrupted:
        raise KeyboardInterrupt
    return report


def _of_objects(
    module: Any,
    data: Any,
    trainer: Mapping[str, Any],
    guards: Sequence[Any],
    monitor: str | tuple[str, str] | None,
    name: str,
    engine: str | None,
    jobs: int | None,
) -> tuple[Scenario, Engine]:
    """Return the scenario that trains the objects, and an engine whose runs have them."""
    from faultlab.engines.fork_live import LiveEngine, check_copiable
    from faultlab.targets import live

    if engine not in (None, "fork"):
        raise UsageError(f"faultlab.run(engine): {engine!r} can't run objects of this process: expected 'fork'")
    if not live.is_module(module) and (not callable(module) or _is_torch_module(module)):
        raise UsageError(
            f"faultlab.run(target): unsupported {type(module).__name__}: expected a scenario file, a "
            f"{live.module_name()}, its class, or a function that returns one"
        )
    if not isinstance(trainer, Mapping):
        raise UsageError(
            f"faultlab.run(trainer): unsupported {type(trainer).__name__}: expected the Trainer's keyword arguments, "
            'such as {"max_epochs": 2}'
        )
    _check_names(trainer)
    _check_guards(guards)
    check_copiable()
    owner = type(module) if live.is_module(module) else module
    flags = [guard for guard in guards if isinstance(guard, Mapping)]
    for flag in flags:
        _check_names(flag, "guards")
    file, script = _source(owner)
    scenario = given(name or name_of(_word(owner)), monitor, flags, file, script)
    parts = live.Parts(module, data, dict(trainer), [guard for guard in guards if not isinstance(guard, Mapping)])
    return scenario, LiveEngine(engines.checked_jobs(jobs), lambda: live.give(parts))


def _source(owner: Any) -> tuple[Path, str]:
    """Return the file that defines the class or function, and the main script if that is it."""
    try:
        file = Path(inspect.getsourcefile(inspect.unwrap(owner)) or "")
    except (TypeError, OSError):  # it is built in, or was typed at a prompt
        file = Path()
    # The cells of a notebook have files that don't exist, or lie in a temporary folder.
    if not file.is_file() or "ipykernel" in str(file):
        return Path.cwd() / "faultlab.run", ""
    is_script = getattr(owner, "__module__", "") == "__main__"
    return file, str(file) if is_script else ""


def _word(owner: Any) -> str:
    return str(getattr(owner, "__name__", "") or type(owner).__name__)


def _is_torch_module(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def _check_names(given: Mapping[str, Any], argument: str = "trainer") -> None:
    known = target_check.trainer_parameters()
    for name in given:
        if known and name not in known:
            hint = nearest(name, known)
            message = f"faultlab.run({argument}): Trainer has no argument {name!r}"
            raise UsageError(f"{message}\n    {hint}" if hint else message)


def _check_guards(guards: Any) -> None:
    several = isinstance(guards, Iterable) and not isinstance(guards, (str, Mapping))
    for guard in guards if several else [guards]:
        if not several or isinstance(guard, str):
            raise UsageError(
                f"faultlab.run(guards): unsupported {guard!r}: expected a list of callbacks, classes of callbacks, or "
                "dicts of Trainer flags"
            )


def _check_patterns(select: Sequence[str], ignore: Sequence[str]) -> None:
    for argument, patterns, whole in (("select", select, True), ("ignore", ignore, False)):
        if isinstance(patterns, str):
            raise UsageError(f"faultlab.run({argument}): unsupported text {patterns!r}: expected a list of texts")
        for pattern in patterns:
            if (wrong := check_pattern(pattern, whole_faults=whole)) is not None:
                message, remedy = wrong
                raise UsageError(f"faultlab.run({argument}): {message}" + (f"\n    {remedy}" if remedy else ""))


def _refuse_objects(**given: Any) -> None:
    for name, value in given.items():
        if value is not None and value != () and value != "" and value != []:
            raise UsageError(
                f"faultlab.run({name}): a scenario names its own {name}\n"
                "    Write it into the scenario, or call faultlab.run() with the module instead of a scenario."
            )
