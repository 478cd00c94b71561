"""Writes a scenario file; its comments explain what was chosen, why, and what could not be found."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from faultlab.campaign.metric_choice import lower_by_name
from faultlab.core.directions import HIGHER, LOWER
from faultlab.discovery.candidates import Guess

_WIDTH = 116
_LONG = 3.0


def scenario_name(guess: Guess) -> str:
    """Return a name in the style of scenarios: the class name, split into words."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", guess.target.name).lower()
    return re.sub(r"[^a-z0-9._-]+", "-", words).strip("-_.") or "module"


def findings(guess: Guess) -> list[str]:
    """Return the notes on what was chosen and why, a sentence or two each."""
    found = guess.found
    assert found is not None
    said = [_how(guess)]
    if made := (guess.assumed if found["how"] != "script" else {}):
        values = ", ".join(f"{name}={_shown(value)}" for name, value in made.items())
        said.append(f"The constructor's required arguments were chosen by name and annotation: {values}.")
    if found.get("skipped"):
        said.append(f"These lines of the file were skipped, because they fail here: {'; '.join(found['skipped'][:3])}.")
    said.append(f"A clean run takes {found['steps']} steps; {_falls(found)}.")
    if found["monitor"]:
        others = [name for name in found["metrics"] if name != found["monitor"]["metric"]]
        better = "higher" if found["monitor"]["mode"] == "max" else "lower"
        instead = f" To use another metric, write {_monitors(others[:3])}." if others else ""
        said.append(
            f"Harm is measured by {found['monitor']['metric']}, which the module logs; {better} is better.{instead}"
        )
    else:
        said.append("The module logs no validation metric, so harm is measured by the training loss.")
    if not found["validation"]:
        said.append("There is no validation, so faults in validation are not tried.")
    if found["guards"]:
        said.append(f"Guards: {', '.join(found['guards'])}.")
    else:
        said.append("There are no guards yet: only the framework, torch and asserts in your code can detect a fault.")
    if found["left_out"]:
        said.append(f"Left out of the script's Trainer: {_left_out(found['left_out'])}.")
    if found["alerts"]:
        said.append(f"The clean run already raises alerts: {'; '.join(found['alerts'][:2])}.")
    if guess.tests:
        said.append(
            f"Tests that mention the class: {', '.join(guess.tests[:3])}. List them under `tests:` to let "
            "them detect faults too."
        )
    return said


def notes(guess: Guess) -> list[str]:
    """Return the findings, and how long a clean run takes."""
    return [*findings(guess), pace(guess)]


def limits(guess: Guess) -> list[str]:
    """Return what the scenario can't show, because of synthetic data or a training that learns nothing."""
    return [text for text in (made_up(guess), unproven(guess)) if text]


def pace(guess: Guess) -> str:
    """Return the time of a clean run. The file does not contain it, because it depends on the machine and its load."""
    found = guess.found
    assert found is not None
    clean = f"A clean run takes {found['fit_seconds']:.1f} s"
    build = found["seconds"] - found["fit_seconds"]
    clean += f", after {build:.1f} s of setup" if build > 1 else ""
    if found["fit_seconds"] > _LONG:
        clean += (
            ", which is long for a training that is run hundreds of times. For a first look, run a part of the faults:"
            " `faultlab run --select 'loss.*'`. To make every run faster, use smaller batches or less data"
        )
    return f"{clean}."


def unproven(guess: Guess) -> str:
    """Return the limits of a training that learns nothing; empty if it learns something."""
    return "" if guess.found is None or guess.found["learns"] else _UNPROVEN


def failures(guess: Guess) -> list[str]:
    """Return the failed attempts, and why they failed."""
    return [f"{label}: {why}" for label, why in dict(guess.tried).items()]


def render(guess: Guess, command: str) -> str:
    """Return the text of the scenario file."""
    found = guess.found
    assert found is not None
    parts, given = found["parts"], found["given"]
    lines = _comment(f"Written by `{command}`: a short training of {guess.target.name} for `faultlab run` to break.")
    lines += [line for text in findings(guess) for line in _comment(text)]
    if guess.tried:
        lines += _comment("Failed attempts:")
        lines += [line for text in failures(guess) for line in _comment(f"  {text}")]
    lines += ["schema: 1", f"name: {scenario_name(guess)}"]
    if found["how"] == "script":
        lines += _comment(
            "Your script is run up to Trainer.fit, and the objects that it passes to fit are trained here."
        )
    if found["how"] == "made_up":
        lines += _comment(_MADE_UP)
    lines += _dumped(parts)
    overriding = " These settings override the script's." if found["how"] == "script" else ""
    if said := unproven(guess):
        lines += _comment(said)
    lines += _comment(f"Short on purpose: every fault costs up to one such run.{overriding}")
    lines += _dumped({"trainer": found["trainer"]})
    if given.get("detect_anomaly"):
        lines += _dumped({"guards": [{"trainer_flag": {"detect_anomaly": True}}]})
    elif found["how"] == "script" and found["guards"]:
        lines += _comment(f"These callbacks of the script are already guards: {', '.join(found['guards'])}.")
    else:
        lines += ["# Your guards, and Trainer flags that stop a faulty training with an error:", "# guards:"]
        lines += ["#   - {class_path: faultlab.guards.StepsTaken}", "#   - trainer_flag: {detect_anomaly: true}"]
    if found["monitor"]:
        lines += _comment("The metric that measures harm.")
        lines += _dumped({"monitor": found["monitor"]})
    if guess.tests:
        lines += _comment("Let your tests detect faults too:")
        lines += [f"# {line}" for line in _dumped({"tests": guess.tests})]
    lines += _comment("Fail in CI if too little is detected:")
    lines += ["# gate: {coverage: 0.5, silent: {critical: 0}}"]
    return "\n".join(lines) + "\n"


_UNPROVEN = (
    "This training is too short to learn anything: its loss does not fall by more than it varies. It shows which "
    "faults are detected, but not how much harm they do. Increase max_epochs or limit_train_batches to measure harm."
)
_MADE_UP = (
    "The data is synthetic: random patterns with labels that can be learned from them. Results about "
    "optimizers, gradients, train and eval mode, checkpoints and guards apply to your module. Harm measured on "
    "synthetic data proves nothing about your own data. To measure harm, name your own loaders under `data:`, "
    "such as {class_path: package.module.MyDataModule}."
)


def _monitors(metrics: Sequence[str]) -> str:
    """Return the `monitor:` line of each metric; the usual mode if the name does not say which values are better."""
    modes = {name: HIGHER if lower_by_name(name) is False else LOWER for name in metrics}
    return " or ".join(f"`monitor: {{metric: {name}, mode: {mode}}}`" for name, mode in modes.items())


def made_up(guess: Guess) -> str:
    """Return the limits of synthetic data; empty for real data."""
    return _MADE_UP if guess.found and guess.found["how"] == "made_up" else ""


def remedy(guess: Guess) -> str:
    """Return what the user should write if nothing trained."""
    if not guess.target.known:
        return (
            "Make the script train when it is run by itself, or name the class: faultlab init package.module:LitModel."
        )
    if missing := _missing_package(guess):
        return f"Install {missing} into the environment of faultlab: python -m pip install {missing}"
    name = guess.target.class_path or f"package.module.{guess.target.name}"
    needed = guess.unknown or list(guess.reading.needed)
    arguments = f", init_args: {{{', '.join(f'{one}: ...' for one in needed)}}}" if needed else ""
    return "\n".join(
        [
            "Write a scenario that names the module and its data:",
            "    schema: 1",
            f"    name: {scenario_name(guess)}",
            f"    module: {{class_path: {name}{arguments}}}",
            "    data: {class_path: package.module.loaders}   # a function that returns (train_loader, val_loader)",
            "    trainer: {max_epochs: 2, limit_train_batches: 8, limit_val_batches: 4}",
            "or a script that reaches Trainer.fit, and run `faultlab init` again.",
            *_doctor(guess),
        ]
    )


def _missing_package(guess: Guess) -> str:
    """Return the package that the code imports and that isn't installed; empty if something else failed."""
    for _, why in guess.tried:
        found = re.search(r"No module named '(\w+)", why)
        # A module of the project itself is to be found, not installed.
        if found and not (Path(found[1]).is_dir() or Path(f"{found[1]}.py").is_file()):
            return found[1]
    return ""


def _doctor(guess: Guess) -> list[str]:
    script = guess.target.script or guess.target.source
    trains = script is not None and script.fits
    return (
        [f"Run `faultlab doctor {script.shown}` to find out why its training step is not executed."]
        if script and trains
        else []
    )


def _how(guess: Guess) -> str:
    found = guess.found
    assert found is not None
    if found["how"] == "script":
        return f"The module, data, callbacks and Trainer arguments come from {found['script']}."
    if found["how"] == "own":
        return "The module has its own loaders."
    if found["how"] == "made_up":
        batch = _shown(found["parts"]["data"]["init_args"]["batch"])
        return (
            "The module's own data was not found or could not be loaded. It trains on synthetic batches of this "
            f"form: {batch}."
        )
    return f"The data comes from {found['label']}."


def _left_out(entries: list[list[str]]) -> str:
    """Return the left-out parts, grouped by reason."""
    by_reason: dict[str, list[str]] = {}
    for name, why in entries:
        by_reason.setdefault(why, []).append(name)
    return "; ".join(f"{', '.join(names)} ({why})" for why, names in by_reason.items())


def _falls(found: Mapping[str, Any]) -> str:
    losses = found["losses"]
    if len(losses) < 4:
        return "it is too short to show whether the module learns"
    quarter = len(losses) // 4
    first, last = sum(losses[:quarter]) / quarter, sum(losses[-quarter:]) / quarter
    if found["learns"]:
        return f"its loss falls from {first:.3g} to {last:.3g}"
    return f"its loss does not fall by more than it varies ({first:.3g} to {last:.3g})"


def _comment(text: str) -> list[str]:
    indent = "#" + " " * (len(text) - len(text.lstrip()) + 1)
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    # Paths and class names must not be broken.
    wrapped = textwrap.TextWrapper(_WIDTH, break_long_words=False, break_on_hyphens=False)
    wrapped.initial_indent = indent
    wrapped.subsequent_indent = indent + "  " * (len(indent) > 2)
    return wrapped.wrap(plain)


def _dumped(parts: Mapping[str, Any]) -> list[str]:
    lines = []
    for key, value in parts.items():
        text = yaml.safe_dump({key: value}, sort_keys=False, default_flow_style=None, width=_WIDTH, allow_unicode=True)
        lines += text.rstrip().splitlines()
    return lines


def _shown(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, sort_keys=False, width=10_000).strip()
    return text.removesuffix("...").strip()
