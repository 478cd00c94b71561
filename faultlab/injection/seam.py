"""What a seam is: the place in torch or Lightning where injectors attach. It owns all patching."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from faultlab.core.patching import Patches
from faultlab.injection import compilation

if TYPE_CHECKING:
    from faultlab.core.target_profile import Recon
    from faultlab.injection.armed_fault import Armed


@dataclass
class Site:
    """Whom a seam attaches to: the user's class, and the instance where it is known already.

    Where somebody else builds the module, the instance becomes known later, and it may be another one each time.
    """

    cls: type
    module: Any = None

    def owner(self, name: str) -> Any:
        """The instance where the user has set the attribute on it, which would hide the class's; else the class."""
        return self.module if self.module is not None and name in vars(self.module) else self.cls

    def present(self, trainer: Any) -> Any:
        """The module in use: the trainer's, which after a resumption is another than the one attached to."""
        inside = getattr(trainer, "lightning_module", None)
        return self.module if inside is None else inside

    def first_argument(self, name: str) -> int:
        """Where the first argument after ``self`` stands in a call of the owner's method."""
        return 1 if self.owner(name) is self.cls else 0


@dataclass(frozen=True)
class Seam:
    """Base of the seams. ``attach_at`` is ``fit`` where it has to be in place before fit begins, else ``step``.

    ``leaves`` names what a fault at this seam leaves as it is in a healthy training, among what ready-made guards judge
    (`faultlab.guards.Guard.judges`): batches, forward, backward, metrics.
    """

    attach_at = "step"
    leaves: ClassVar[frozenset[str]] = frozenset()

    @property
    def name(self) -> str:
        return type(self).__name__

    def install(self, patches: Patches, armed: Armed, site: Site) -> None:
        """Attaches through ``patches`` alone; the value goes through ``armed``."""
        raise NotImplementedError

    def inapplicable(self, recon: Recon) -> str:
        """Why nothing flows through this seam on this target, or an empty string."""
        return ""


@contextmanager
def attach(armed: Armed, site: Site) -> Iterator[None]:
    """The fault is in place inside the context, and gone without trace after it."""
    with compilation.lifted(), Patches() as patches:
        armed.seam.install(patches, armed, site)
        yield
