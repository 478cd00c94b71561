"""An entry of a scenario's guards: a callback, Trainer flags, or a command that judges a training."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from faultlab.config.loop_parts import Part as _Part
from faultlab.config.scenario_fields import refused
from faultlab.core import command_words

_COMMAND = "faultlab.detectors.command.Command"


class Guard(_Part):
    """A callback, Trainer flags that count as a guard, or a command whose exit code judges a training."""

    class_path: str | None = Field(default=None, pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")
    """A callback's class, such as `package.module.Class`."""
    init_args: dict[str, Any] = {}
    """The arguments it is called with."""
    name: str | None = None
    """The guard's name in reports; by default its class's name."""
    trainer_flag: dict[str, Any] | None = None
    """Trainer flags that count as a guard, such as `{detect_anomaly: true}`."""
    command: str | None = None
    """A command that runs at the end of each training, such as `trainproof epoch {log}`: it detects a fault if its exit
    code is not 0. `{log}` is a file with a JSON object for each step, `{checkpoint}` one with the final weights."""

    @model_validator(mode="after")
    def _one_of_them(self) -> Guard:
        if self.command is not None and self.class_path == _COMMAND:
            return self
        given = [one for one in (self.class_path, self.trainer_flag, self.command) if one is not None]
        if len(given) != 1:
            raise refused("a guard must have one of `class_path`, `trainer_flag` and `command`", "Give one of them.")
        if self.command is None:
            return self
        if self.init_args:
            raise refused("`init_args` can't be combined with `command`", "Write the arguments into the command.")
        try:
            name = command_words.name_of(self.command)
        except ValueError as error:
            known = ", ".join(f"{{{one}}}" for one in command_words.PLACEHOLDERS)
            raise refused(f"invalid `command`: {error}", f"Write a command line; placeholders: {known}.") from None
        # From here on it is a callback like any other.
        self.class_path, self.init_args, self.name = _COMMAND, {"command": self.command}, self.name or name
        return self
