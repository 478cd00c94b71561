"""The requirements of failure modes on their target, by name, each evaluated on the target profile.

Like the rest of the catalogue, this package imports neither torch nor Lightning.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable

from faultlab.catalogue.failure_mode import FailureMode
from faultlab.core.target_profile import TargetProfile
from faultlab.errors import CatalogueError

Requirement = Callable[[TargetProfile], str]

REQUIREMENTS: dict[str, Requirement] = {}


def requirement(name: str) -> Callable[[Requirement], Requirement]:
    """Register a function that returns the reason why a target does not meet the requirement, or an empty string."""

    def register(check: Requirement) -> Requirement:
        REQUIREMENTS[name] = check
        return check

    return register


def inapplicable(mode: FailureMode, profile: TargetProfile) -> str:
    """Return the reason why the failure mode does not apply to this target, or an empty string.

    Raises:
        CatalogueError: The failure mode names an unknown requirement.
    """
    reason = mode.point.unhooked(profile) or mode.point.inapplicable(profile)
    for name in mode.needs:
        if name not in REQUIREMENTS:
            known = f"expected one of {', '.join(sorted(REQUIREMENTS))}"
            raise CatalogueError(f"{mode.id} in {mode.file} names the unknown requirement {name!r}: {known}")
        reason = reason or REQUIREMENTS[name](profile)
    if not reason and mode.judged_by == "reload":
        reason = profile.unreloadable
    if not reason and mode.stages == ("validate",) and not profile.validation_batches:
        reason = "there is no validation loop"
    return reason


for _info in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_info.name)
