"""What every failure mode does on every model of a zoo: run once, and read by the contract tests and the table."""

from __future__ import annotations

from typing import Any

from faultlab.catalogue import index
from faultlab.catalogue.measured import Table
from faultlab.core import framework_names
from faultlab.core.fault import Fault
from faultlab.core.report import FaultResult, Status
from faultlab.engines import Engine
from tests.lab import Lab, engine, sharing

_FILES = {
    "models": ("classifier", "regressor", "language", "adversarial", "streaming"),
    "equipped": ("equipped", "stopped", "mixed", "crewed", "paired", "seeing", "tuned", "averaged"),
    "distilled": ("distilled",),
    "ranked": ("ranked",),
    "sharded": ("sharded", "split"),
}
RANKED: dict[str, Any] = {"ranked": "ddp", "sharded": sharing(2, 1), "split": sharing(1, 2)}
"""The models that two ranks train, and their strategies."""
LAST = frozenset({"sharded", "split"})
"""The models that are only tried with modes that apply to no other one."""
FACTORIES = {model: f"tests.zoo.{file}.{model}" for file, models in _FILES.items() for model in models}
_HAND_WRITTEN = "tests.frameworks.hand_written"
# Without checks of their own, as stock Lightning has none. The forms of the zoo's first models come first.
LOOPS: dict[str, dict[str, Any]] = {
    **{
        form: {"train": {"class_path": f"{_HAND_WRITTEN}.{form}"}}
        for form in ("accumulating", "one_function_for_both", "streaming", "seeing", "tuned", "distilled")
    },
    "logging": {
        "train": {"class_path": "tests.frameworks.trackers.main"},
        "evaluate": {"class_path": f"{_HAND_WRITTEN}.evaluate"},
    },
    "digits": {
        "train": {"class_path": "scenarios.digits.loop.train", "init_args": {"learning_rate": 0.02}},
        "resume": {"init_args": {"resume": True}},
        "metrics": {"stdout": r"train loss (?P<train_loss>[^,]+), val loss (?P<val_loss>\S+)"},
        "evaluate": {"class_path": "scenarios.digits.loop.evaluate"},
        "step": "scenarios.digits.loop.train_step",
    },
    "averaging": {
        "train": {"class_path": f"{_HAND_WRITTEN}.averaging"},
        "resume": {"init_args": {"resume": True}},
        "evaluate": {"class_path": f"{_HAND_WRITTEN}.evaluate"},
    },
}
ZOOS: dict[str, list[str]] = {framework_names.DEFAULT: list(FACTORIES), "torch": list(LOOPS)}
MODES = sorted(index.modes())
NEVER = "step=1000000000"

_EFFECTS = {
    Status.DETECTED: "raises",
    Status.WARNED: "warns",
    Status.SILENT: "silent",
    Status.NO_EFFECT: "no effect",
}


def opened(working: Engine, framework: str, model: str) -> Lab:
    """A lab with a model of the framework's zoo."""
    if framework == "torch":
        return Lab.of_loop(working, **LOOPS[model])
    if model in RANKED:
        return Lab.of_ranks(working, 2, FACTORIES[model], RANKED[model])
    return Lab(working, FACTORIES[model])


def whole(framework: str) -> tuple[str, ...]:
    """The models that all modes are tried with."""
    return tuple(model for model in ZOOS[framework] if model not in LAST)


def effect(result: FaultResult) -> str:
    """What the framework did, as the table has it; an inconclusive status is its own word, which no table holds."""
    return _EFFECTS.get(result.status, result.status.value)


class Findings:
    """Every failure mode on every model of a zoo, and on its first model once more and with a trigger never met.

    With ``first_alone``, a mode is tried once, on the first model that it applies to, and that is all.
    """

    def __init__(self, framework: str = framework_names.DEFAULT, first_alone: bool = False) -> None:
        self.framework = framework
        self.first_alone = first_alone
        self.results: dict[str, dict[str, FaultResult]] = {mode: {} for mode in MODES}
        self.again: dict[str, FaultResult] = {}
        self.untouched: dict[str, bool] = {}
        self.reasons: dict[str, dict[str, str]] = {}
        self.versions: dict[str, str] = {}
        with engine() as working:
            for model in ZOOS[framework]:
                if not first_alone or not all(self.results.values()):
                    self._study(model, opened(working, framework, model))

    def table(self) -> Table:
        """The findings in the form that is published."""
        modes = {
            mode: {model: effect(result) for model, result in found.items()} for mode, found in self.results.items()
        }
        return Table(self.versions, whole(self.framework), modes)

    def _study(self, model: str, lab: Lab) -> None:
        # Without the part that names a build, for the CPU or a GPU, of the same release.
        self.versions = {name: text.partition("+")[0] for name, text in sorted(lab.told.versions.items())}
        plan = lab.plan()
        self.reasons[model] = {Fault.parse(id).mode: reason for id, reason in plan.items()}
        applicable = {Fault.parse(id).mode: id for id, reason in plan.items() if not reason}
        new = [mode for mode in applicable if not self.results[mode]]
        tried = [applicable[mode] for mode in (new if self.first_alone or model in LAST else applicable)]
        for outcome in lab.run(tried).values():
            result = lab.judge(outcome)
            self.results[result.mode][model] = result
        if self.first_alone:
            return
        for outcome in lab.run(applicable[mode] for mode in new).values():
            result = lab.judge(outcome)
            self.again[result.mode] = result
        for id, outcome in lab.run(f"{mode}@{NEVER}" for mode in new).items():
            untouched = outcome.run is not None and lab.is_clean(outcome)
            self.untouched[Fault.parse(id).mode] = untouched
