"""A LightningCLI config file that names its classes, executed up to ``Trainer.fit``."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from faultlab.errors import TargetError
from faultlab.frameworks.lightning.interception import Reached
from faultlab.frameworks.lightning.main_script import as_started, run_to_fit


class CliConfig:
    """One config file, as ``LightningCLI`` without classes accepts it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._folder = os.getcwd()

    def run_to_fit(self, arguments: Sequence[str], trains: str = "") -> Reached:
        """Let LightningCLI build what the file names, and start fit.

        Raises:
            TargetError: LightningCLI can't.
        """
        os.chdir(self._folder)
        given = ["fit", "--config", str(self.file), *map(str, arguments)]

        def run() -> None:
            cli = importlib.import_module(f"{self._namespace()}.cli")
            cli.LightningCLI(save_config_callback=None, args=given)

        try:
            with as_started(str(self.file), given):
                return run_to_fit(run, self.file, given, trains)
        except TargetError as error:
            remedy = "Use a config that `LightningCLI()` can fit, with a class_path under model and data."
            raise TargetError((*error.where[:-1], "config"), error.message, remedy) from error.__cause__
        finally:
            os.chdir(self._folder)

    def enter(self, reached: Reached) -> None:
        """Change to the working folder that the process had when it reached fit."""
        with contextlib.suppress(OSError):
            os.chdir(reached.folder)

    def _namespace(self) -> str:
        """Return the Lightning package of the module's class, whose LightningCLI to use."""
        import yaml

        model = (yaml.safe_load(self.file.read_bytes()) or {}).get("model") or {}
        folder, _, name = str(model.get("class_path", "") if isinstance(model, dict) else "").rpartition(".")
        if folder:
            cls = getattr(importlib.import_module(folder), name, None)
            bases = {base.__module__.partition(".")[0] for base in getattr(cls, "__mro__", ())}
            if "pytorch_lightning" in bases:
                return "pytorch_lightning"
        return "lightning.pytorch" if importlib.util.find_spec("lightning") else "pytorch_lightning"
