"""Config files of LightningCLI, distinguished from scenarios and other YAML files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from faultlab.core.close_files import did_you_mean
from faultlab.errors import UsageError

_SECTIONS = {"model", "data", "trainer", "seed_everything", "optimizer", "lr_scheduler", "ckpt_path"}
SUBCOMMANDS = {"fit", "validate", "test", "predict"}
"""The subcommands of a LightningCLI."""


def is_cli_config(file: Path) -> bool:
    """Return whether a file is a config of LightningCLI, judging by its sections."""
    return file.suffix in (".yaml", ".yml") and file.is_file() and _sections(_read(file)) is not None


def module_of(file: Path) -> str:
    """Return the name of the class that the config trains, or the file's name if the config leaves it to a script.

    Raises:
        UsageError: There is no such file, or it is not a config of LightningCLI.
    """
    if not file.is_file():
        remedy = did_you_mean(file, "*.y*ml") or "Name a config of LightningCLI, a script or a LightningModule."
        raise UsageError(f"{file}: no such file. {remedy}")
    found = _read(file)
    if isinstance(found, Mapping) and "schema" in found:
        raise UsageError(f"{file}: already a scenario. Run it:\n    faultlab run {file}")
    sections = _sections(found)
    if sections is None:
        remedy = "A config has `model:` and `trainer:` or `data:`; if a script reads this file, name the script."
        raise UsageError(f"{file}:1: not a config of LightningCLI. {remedy}")
    model = sections.get("model")
    path = model if isinstance(model, str) else model.get("class_path") if isinstance(model, Mapping) else None
    return str(path).rpartition(".")[2] if path else file.stem


def arguments(file: str, runs: bool) -> list[str]:
    """Return the command line that passes the config to a LightningCLI; ``runs`` is whether it has subcommands."""
    found = _read(Path(file))
    if runs and isinstance(found, Mapping) and isinstance(found.get("fit"), Mapping):
        return ["--config", file, "fit"]
    return [*(["fit"] if runs else []), "--config", file]


def _sections(found: Any) -> Mapping[str, Any] | None:
    """Return the sections of a file's content, or of its subcommand's; None if it is not a config."""
    if not isinstance(found, Mapping) or "schema" in found:
        return None
    inner = next((found[name] for name in sorted(SUBCOMMANDS) if isinstance(found.get(name), Mapping)), found)
    return inner if len(_SECTIONS & set(map(str, inner))) > 1 and {"model", "data"} & set(inner) else None


def _read(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file}: can't be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise UsageError(f"{file}:{mark.line + 1 if mark else 1}: invalid YAML. Fix the file first.") from None
