"""Config files of LightningCLI, told apart from scenarios and from anything else that is YAML."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from faultlab.errors import UsageError

_SECTIONS = {"model", "data", "trainer", "seed_everything", "optimizer", "lr_scheduler", "ckpt_path"}
SUBCOMMANDS = {"fit", "validate", "test", "predict"}
"""What a LightningCLI can be told to do."""


def is_cli_config(file: Path) -> bool:
    """Return whether a file is a config of LightningCLI, as far as its sections tell."""
    return file.suffix in (".yaml", ".yml") and file.is_file() and _sections(_read(file)) is not None


def module_of(file: Path) -> str:
    """Return the name of the class that the config trains, or the file's where the config leaves that to a script.

    Raises:
        UsageError: There is no such file, or it is no config of LightningCLI.
    """
    if not file.is_file():
        raise UsageError(f"{file}: no such file. Name a config of LightningCLI, a script or a LightningModule.")
    found = _read(file)
    if isinstance(found, Mapping) and "schema" in found:
        raise UsageError(f"{file} is a scenario already\n    faultlab run {file}")
    sections = _sections(found)
    if sections is None:
        remedy = "A config has `model:` and `trainer:` or `data:`; where a script reads this file, name the script."
        raise UsageError(f"{file}:1 is no config of LightningCLI. {remedy}")
    model = sections.get("model")
    path = model if isinstance(model, str) else model.get("class_path") if isinstance(model, Mapping) else None
    return str(path).rpartition(".")[2] if path else file.stem


def arguments(file: str, runs: bool) -> list[str]:
    """Return the command line by which a LightningCLI, which carries out subcommands or does not, takes the config."""
    found = _read(Path(file))
    if runs and isinstance(found, Mapping) and isinstance(found.get("fit"), Mapping):
        return ["--config", file, "fit"]
    return [*(["fit"] if runs else []), "--config", file]


def _sections(found: Any) -> Mapping[str, Any] | None:
    """The sections of what is in a file, those of its subcommand where it has one; None where it is no config."""
    if not isinstance(found, Mapping) or "schema" in found:
        return None
    inner = next((found[name] for name in sorted(SUBCOMMANDS) if isinstance(found.get(name), Mapping)), found)
    return inner if len(_SECTIONS & set(map(str, inner))) > 1 and {"model", "data"} & set(inner) else None


def _read(file: Path) -> Any:
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{file} can't be read: {error}") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise UsageError(f"{file}:{mark.line + 1 if mark else 1} is no YAML that can be read; mend it first") from None
