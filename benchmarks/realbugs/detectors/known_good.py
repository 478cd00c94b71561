"""faultlab's guards with a record of known good runs, as `faultlab prescribe --records` sets them up."""

from pathlib import Path
from typing import Any

from benchmarks.realbugs.registry import detector
from benchmarks.realbugs.run import Run

RUNS = 5
# The seeds of the recorded runs are none of those that are watched.
FIRST_SEED = 1000


@detector(
    "guards, KnownGood",
    "faultlab",
    f'`guards.all("full", profile=FILE)`, as a callback or in `guards.watch` or `guards.hf`, where FILE has {RUNS} '
    "runs of the fixed version with other seeds, by `guards.KnownGoodRecorder`; it knows the training that the bug was "
    "added to. The CPU column leaves out the recording.",
    package="faultlab",
    module="faultlab.guards",
)
def watch(run: Run) -> None:
    from faultlab import guards

    file = run.recorded("known-good.json", lambda new: _record(run, new))
    try:
        train_with(run, guards.all("full", profile=str(file)))
    except guards.Alarm as alarm:
        run.alert(f"{alarm.guard}.{alarm.check}", f"{alarm} {alarm.causes}")


def _record(run: Run, file: Path) -> None:
    from faultlab import guards

    for seed in range(FIRST_SEED, FIRST_SEED + RUNS):
        again = Run(run.baseline, run.baseline, run.folder, seed)
        train_with(again, [guards.KnownGoodRecorder(str(file))])


def train_with(run: Run, watching: Any) -> None:
    """Run a training under a set or a list of guards, as each framework takes them."""
    from faultlab import guards

    parts = run.parts
    if run.framework == "lightning":
        # Lightning's Trainer takes the set of guards as one callback.
        run.train(watching if isinstance(watching, list) else [watching])
    elif run.framework == "transformers":
        run.train([guards.hf(watching)])
    else:
        with guards.watch(
            parts.model, parts.optimizer, guards=watching, loader=parts.loader, validation=parts.validation
        ):
            run.train()
