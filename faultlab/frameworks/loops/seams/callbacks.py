"""The user's callbacks, as the Trainer that runs the loop calls them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from faultlab.catalogue.injection_points import CallbackHook
from faultlab.core.patching import Patches
from faultlab.frameworks.loops import NAME
from faultlab.frameworks.loops.seams.following import listening
from faultlab.frameworks.torch import states
from faultlab.injection.hooks import Site, hooks

if TYPE_CHECKING:
    from faultlab.injection.armed_fault import Armed

_FIRST = "first"


@hooks(CallbackHook, framework=NAME)
def callback_hook(point: CallbackHook, patches: Patches, armed: Armed, site: Site) -> None:
    loop = armed.clock.trainer

    def left_behind() -> Any:
        module = site.present(armed.clock)
        return [loop.should_stop, None if module is None else states.values(module)]

    def around(name: str, hook: str, call: Callable[[], Any]) -> Any:
        asked = getattr(armed.ctx.dose, "callback", _FIRST)
        chosen = next(iter(loop.callbacks), "") if asked == _FIRST else asked
        if name != chosen or point.hook not in ("", hook):
            return call()
        armed.ctx.memory["hook"] = hook
        return armed.around(call, left_behind) if armed.due() else call()

    listening(patches, loop.around_callbacks, around)
