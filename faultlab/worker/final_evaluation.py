"""The metrics of a run's final weights, evaluated again by code that the fault does not affect."""

from __future__ import annotations

from dataclasses import dataclass, field

from faultlab.catalogue.injection_points import ModuleArguments
from faultlab.core.alert import safe_text
from faultlab.core.orders import Train
from faultlab.core.trajectory import Trajectory
from faultlab.detectors import exceptions
from faultlab.frameworks.base import Target, Training
from faultlab.frameworks.torch import replaced_parts
from faultlab.injection.armed_fault import Armed
from faultlab.worker import seeding
from faultlab.worker.shared_evaluation import SharedEvaluation


@dataclass
class FinalEvaluation:
    """Evaluates a trained target.

    ``armed`` is the fault that acted, None without one; ``root`` is the run's folder, ``shared`` the folder of shared
    evaluations. With ``echo`` the user watches the run's output. Afterwards ``in_place`` has the metrics of the network
    with the fault still in it, if the fault may be what computes them, and ``failed`` is why there are none.
    """

    target: Target
    training: Training
    trained: Trajectory
    task: Train
    armed: Armed | None
    root: str
    shared: str
    echo: bool = False
    in_place: dict[str, float] = field(default_factory=dict)
    failed: str = ""

    def take(self) -> dict[str, float]:
        """Return the metrics of the final weights; empty if the target can't evaluate them by itself."""
        if self.echo:
            print("faultlab: training finished", flush=True)
        found = self._taken()
        if self.echo and found:
            values = ", ".join(f"{name} {value:.4g}" for name, value in found.items())
            print(f"faultlab: the final weights, evaluated separately: {values}", flush=True)
        return found

    def _taken(self) -> dict[str, float]:
        armed = self.armed
        if armed is not None and isinstance(armed.mode.point, ModuleArguments):
            seeding.seed(self.task.seed)
            trained = self.training.module
            self.training.module = replaced_parts.rebuilt(trained, lambda: self.target.build(self.root).module)
        module = self.training.module
        parts = replaced_parts.at_the_end(module, armed.replaced, armed.profile) if armed is not None else {}
        if parts:
            if not all(replaced_parts.inside_of_a_loss(module, path) for path in parts):
                self.in_place = self._evaluated()
            if not replaced_parts.put_back(module, parts):
                return dict(self.in_place)
        return self._evaluated()

    def _evaluated(self) -> dict[str, float]:
        """Return the metrics of the module as it is, or those that another run found for the same weights."""
        clean = self.task.profile
        validates = bool(self.trained.validation_batches or (clean is not None and clean.validation_batches))
        # In the precision that the fault left the weights in.
        settings = self.training.evaluation_settings(clean.precision if clean is not None else None)
        circumstances = (
            self.target,
            self.task.seed,
            self.task.variation,
            validates,
            settings,
            self.training.module,
        )
        shared = SharedEvaluation(self.shared, self.trained.digest, *circumstances)
        # An unchanged run has to prove for itself that it evaluates like the clean run.
        if self.armed is not None and (known := shared.read()) is not None:
            return known
        seeding.seed(self.task.seed)
        try:
            found = self.training.evaluate(validates, settings)
        except BaseException as error:  # lasting damage of the fault, or a module that only validates within fit
            print("the independent evaluation failed:", exceptions.text(error), flush=True)
            self.failed = f"{type(error).__name__}: {safe_text(error)}".partition("\n")[0]
            return {}
        shared.write(found)
        return found
