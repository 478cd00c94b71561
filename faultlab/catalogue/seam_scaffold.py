"""The scaffold of a new seam: an injection point, which is data, and its hook for every framework."""

from __future__ import annotations

import re
from pathlib import Path

from faultlab.catalogue import import_lines, injection_points
from faultlab.core import atomic_write
from faultlab.errors import UsageError

_NAME = re.compile(r"([A-Z][a-z0-9]+)+")
_POINT = '''\
"""Describe in a few words where it is."""

from __future__ import annotations

from dataclasses import dataclass

from faultlab.catalogue.injection_points.point import InjectionPoint


@dataclass(frozen=True)
class {name}(InjectionPoint):
    """Describe what passes here, and what the injector gets."""
'''
_HOOK = '''\
"""Describe in a few words what the hook attaches to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from faultlab.catalogue.injection_points import {name}
from faultlab.core.patching import Patches
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed


@hooks({name})
def {module}(point: {name}, patches: Patches, armed: Armed, site: Site) -> None:
    """Wrap what produces the value through patches: it returns armed.map(value) if armed.due()."""
    raise NotImplementedError
'''


def add(name: str, package: Path) -> list[Path]:
    """Write the scaffold of a seam below a package laid out as faultlab's, and return the files that were written.

    Raises:
        UsageError: The name is invalid, or the injection point or a file exists.
    """
    if not _NAME.fullmatch(name):
        raise UsageError(f"invalid injection point {name!r}: expected the name of a class, such as GradientBucket")
    module = re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()
    points = package / "catalogue" / "injection_points"
    file, hook = points / f"{module}.py", package / "frameworks" / "torch" / "seams" / f"{module}.py"
    if existing := [str(one) for one in (file, hook) if one.exists()] or [name] * (name in injection_points.__all__):
        raise UsageError(f"{name!r} can't be added: {existing[0]} already exists")
    listing = points / "__init__.py"
    if not listing.is_file() or not hook.parent.is_dir():
        raise UsageError(f"{package} is not a package like faultlab: {listing} or {hook.parent} is missing")
    text = listing.read_text(encoding="utf-8")
    atomic_write.write(file, _POINT.format(name=name))
    atomic_write.write(hook, _HOOK.format(name=name, module=module))
    atomic_write.write(listing, import_lines.exporting(text, f"faultlab.catalogue.injection_points.{module}", name))
    return [file, hook, listing]
