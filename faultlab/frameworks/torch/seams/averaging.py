"""Averages of the weights, as torch's AveragedModel updates them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from torch.optim.swa_utils import AveragedModel

from faultlab.catalogue.injection_points import Averaging
from faultlab.core.patching import Patches
from faultlab.frameworks.torch import states
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed

UPDATE = "AveragedModel.update_parameters"
"""Among the hooks of a target profile, if the training averages its weights."""


@hooks(Averaging)
def averaging(point: Averaging, patches: Patches, armed: Armed, site: Site) -> None:
    def make(update: Callable[..., Any]) -> Callable[..., Any]:
        def around(average: AveragedModel, *args: Any, **kwargs: Any) -> Any:
            # A training may average at the end of an epoch, after its validation.
            if not armed.due("train"):
                return update(average, *args, **kwargs)
            armed.ctx.memory["average"] = average

            def call(updates: int | None = None) -> Any:
                if updates is not None:
                    average.n_averaged.fill_(updates)
                return update(average, *args, **kwargs)

            return armed.around(call, lambda: states.values(average), by_arguments=True)

        return around

    patches.wrap(AveragedModel, "update_parameters", make)
