"""What a failure mode needs of its target, as named requirements judged from the target profile, never by guess.

Like the catalogue it imports neither torch nor Lightning.
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
    """Registers a requirement: a function that says why the target does not meet it, or returns an empty string."""

    def register(check: Requirement) -> Requirement:
        REQUIREMENTS[name] = check
        return check

    return register


def inapplicable(mode: FailureMode, profile: TargetProfile) -> str:
    """Why the failure mode can't apply to this target, in words, or an empty string."""
    reason = mode.point.inapplicable(profile)
    if not mode.point.hooked(profile):
        reason = f"faultlab has no hook for {mode.seam} in {profile.framework}"
    for name in mode.needs:
        if name not in REQUIREMENTS:
            known = f"faultlab knows {', '.join(sorted(REQUIREMENTS))}"
            raise CatalogueError(f"{mode.id} in {mode.file} needs {name!r}: {known}")
        reason = reason or REQUIREMENTS[name](profile)
    if not reason and mode.judged_by == "reload":
        reason = profile.unreloadable
    if not reason and mode.stages == ("validate",) and not profile.validation_batches:
        reason = "there is no validation loop"
    return reason


for _info in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_info.name)
