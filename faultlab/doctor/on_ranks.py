"""The clean training on all its ranks: whether they share the work, agree, and end together. The driver's side."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from faultlab.campaign.clean_runs import order
from faultlab.campaign.process_ends import dead_ranks
from faultlab.config import module_lookup
from faultlab.config.scenario import Scenario, import_path
from faultlab.core.collectives import standstill
from faultlab.core.orders import Train
from faultlab.core.results import Outcome, RunResult
from faultlab.doctor.errors import explained
from faultlab.doctor.finding import Checks, Finding, Seen, attention, fine, wrong
from faultlab.engines import Engine

RANKS = Checks()
check = RANKS.check

_CONSEQUENCE = re.compile("Connection (closed|reset) by peer|Broken pipe|Timed out waiting")
_UNSYNCED = re.compile(r"use `self\.log\('(?P<name>[^']+)'.*sync_dist=True")
_SPLIT = re.compile(r"\brandom_split\s*\((?P<rest>[^\n]*)")
_SEEDS = re.compile(r"manual_seed|seed_everything|set_seed")
_PL = "Lightning-AI/pytorch-lightning"


def examined(scenario: Scenario, engine: Engine, timeout: float, seed: int) -> Iterator[Finding]:
    """Yield the findings of one clean run on all ranks; none for a training of one process."""
    if scenario.processes == 1:
        return
    (outcome,) = engine.run([order(engine, "on-ranks", Train(seed, probe=True), deadline=timeout)])
    if (ended := _ended(outcome, timeout)) is not None:
        yield replace(ended, check="ranks")
        return
    runs = outcome.runs
    yield replace(fine(f"the ranks 0 to {len(runs) - 1} train to the end together"), check="ranks")
    seen = {
        "losses": [run.trajectory.losses for run in runs],
        "steps": [run.trajectory.steps for run in runs],
        "apart": outcome.run.trajectory.apart if outcome.run is not None else (),
        "warned": [shown.text for run in runs for shown in run.warnings],
        "profile": runs[0].profile,
        "source": _source(scenario),
    }
    yield from RANKS.run(seen)


def _ended(outcome: Outcome, timeout: float) -> Finding | None:
    """Return what kept the ranks from training to the end; None if nothing did."""
    runs = outcome.runs
    if outcome.target_error is not None:
        error = outcome.target_error
        return wrong(error.message, "", error.remedy)
    raised = [one for one in map(_raised, range(len(runs)), runs) if one is not None]
    # What a rank raises because another has raised before says nothing.
    if own := next((one for one in raised if not _CONSEQUENCE.search(one.what)), None):
        return own
    where = standstill(outcome.collectives)
    if (outcome.timed_out or any(run.waited for run in runs)) and where:
        remedy = "Look for collectives or validations under `if rank == 0`, and for ranks with fewer batches."
        return wrong(f"the ranks wait for each other: {where}", "", remedy)
    if dead := dead_ranks(outcome):
        return wrong(dead[0].message, "", "Run the training by itself, and look at the output of that rank.")
    if outcome.timed_out:
        return wrong(f"the training on several ranks is still running after {timeout:.0f} s", where,
                     "If it is only long, give a longer --timeout.")  # fmt: skip
    if raised:
        return raised[0]
    if not outcome.reported:
        return wrong("a rank ended before the training was done", "", "Look for os._exit or sys.exit on some ranks.")
    return None


def _raised(rank: int, run: RunResult) -> Finding | None:
    if run.trajectory.end != "raised" or not run.alerts:
        return None
    message = run.alerts[-1].message
    named = explained(message)
    what = f"rank {rank} raises {message.partition(chr(10))[0]}" + (f": {named.cause}" if named else "")
    found = wrong(what, "", named.remedy if named else "Check the step that raises, on that rank's data.")
    return replace(found, links=(named.thread,) if named and named.thread else ())


@check("data of the ranks", f"{_PL}#7813", "huggingface/datasets#5360")
def data(seen: Seen) -> Iterator[Finding]:
    """Find ranks that train on the same batches, or on different numbers of them."""
    losses, steps = seen["losses"], seen["steps"]
    if len(set(steps)) > 1:
        told = ", ".join(f"rank {rank}: {number}" for rank, number in enumerate(steps))
        remedy = "Give all ranks as many batches: a DistributedSampler does, by padding or with drop_last=True."
        yield wrong("the ranks train for different numbers of steps", told, remedy)
    elif len(losses[0]) > 1 and all(one == losses[0] for one in losses[1:]):
        what = f"all ranks have the same loss in each of {len(losses[0])} steps: they train on the same batches"
        yield wrong(what, "", _SHARED)
    else:
        yield fine("the ranks train on different batches")


_SHARED = (
    "Give the training loader a torch.utils.data.DistributedSampler, or leave use_distributed_sampler=True in the "
    "Trainer; an IterableDataset or a sampler of your own has to take each n-th sample itself, by its rank."
)


@check("parameters of the ranks", f"{_PL}#9237", "pytorch/pytorch#69031")
def parameters(seen: Seen) -> Iterator[Finding]:
    """Find ranks that end with different parameters."""
    if "parameters" in seen["apart"]:
        remedy = (
            "Call the module that DistributedDataParallel returned, not its .module, and average gradients that you "
            "compute by hand. Seed all ranks alike if nothing broadcasts the first weights."
        )
        yield wrong("the ranks end with different parameters: their gradients are not averaged", "", remedy)
    else:
        yield fine("the ranks end with the same parameters")


@check("metrics of the ranks", f"{_PL}#4702")
def metrics(seen: Seen) -> Iterator[Finding]:
    """Find metrics that each rank logs of its own share of the data."""
    names = dict.fromkeys(found["name"] for text in seen["warned"] if (found := _UNSYNCED.search(text)))
    if names:
        what = f"{', '.join(names)}: each rank logs the metric of its own share of the data, and that of rank 0 counts"
        yield attention(what, "", "Log with sync_dist=True, or log a torchmetrics metric.")


@check("order of the epochs", f"{_PL}#224", "pytorch/pytorch#31771")
def epochs(seen: Seen) -> Iterator[Finding]:
    """Find a DistributedSampler that a loop never gives the epoch."""
    profile, source = seen["profile"], seen["source"]
    if profile is None or not profile.by_hand or not profile.shards or profile.epochs < 2:
        return
    if source and "set_epoch" not in source and "abric" not in source and "shuffle=False" not in source:
        yield wrong("the DistributedSampler is never given the epoch: each epoch has the same order", "",
                    "Call sampler.set_epoch(epoch) before each epoch.")  # fmt: skip


@check("split of the data", f"{_PL}#7728")
def split(seen: Seen) -> Iterator[Finding]:
    """Find a random split without a seed, which differs from rank to rank."""
    drawn = _SPLIT.search(seen["source"])
    if drawn and "generator" not in drawn["rest"] and not _SEEDS.search(seen["source"]):
        what = "random_split draws without a seed, so each rank trains on what others validate on"
        remedy = "Give it generator=torch.Generator().manual_seed(0), or seed all ranks alike."
        yield wrong(what, drawn[0].strip(), remedy)


def _source(scenario: Scenario) -> str:
    """Return the text of the file that trains, as far as the scenario names it; empty if it is not found."""
    entry = scenario.train or scenario.build or scenario.module
    if entry is None:
        return ""
    path = import_path(scenario.file)
    if script := entry.init_args.get("script"):
        files = [Path(folder, script) for folder in path]
        return next((file.read_text(errors="replace") for file in files if file.is_file()), "")
    tree = module_lookup.source(entry.class_path.rpartition(".")[0], path)
    return "" if tree is None else ast.unparse(tree)
