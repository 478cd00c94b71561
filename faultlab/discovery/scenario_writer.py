"""A guess as a scenario file whose comments say what was guessed, why, and what could not be found."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from typing import Any

import yaml

from faultlab.discovery.candidates import Guess

_WIDTH = 116
_LONG = 3.0


def scenario_name(guess: Guess) -> str:
    """A name in the manner of scenarios: that of the class, in words."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", guess.target.name).lower()
    return re.sub(r"[^a-z0-9._-]+", "-", words).strip("-_.") or "module"


def findings(guess: Guess) -> list[str]:
    """What was guessed and why, a sentence or two each."""
    found = guess.found
    assert found is not None
    said = [_how(guess)]
    if made := (guess.assumed if found["how"] != "script" else {}):
        values = ", ".join(f"{name}={_shown(value)}" for name, value in made.items())
        said.append(f"Its constructor needs arguments; by their names and annotations they are {values}.")
    if found.get("skipped"):
        said.append(f"Of the file this was left out, as it can't be run here: {'; '.join(found['skipped'][:3])}.")
    said.append(f"A clean run has {found['steps']} steps; {_falls(found)}.")
    if found["monitor"]:
        said.append(f"Harm is measured by {found['monitor']['metric']}, which it logs.")
    else:
        said.append("It logs no metric of a validation; harm is measured by the training loss.")
    if not found["validation"]:
        said.append("It has no validation, so that nothing is tried that goes wrong there.")
    if found["guards"]:
        said.append(f"Guards: {', '.join(found['guards'])}.")
    else:
        said.append("There are no guards yet: what is detected is detected by luck or by asserts in the code.")
    if found["left_out"]:
        said.append(f"Left out of what the script hands its Trainer: {_left_out(found['left_out'])}.")
    if found["alerts"]:
        said.append(f"On the clean run already: {'; '.join(found['alerts'][:2])}.")
    if guess.tests:
        said.append(f"Tests that mention the class: {', '.join(guess.tests[:3])}; `tests:` has them judge too.")
    return said


def pace(guess: Guess) -> str:
    """Return how long a clean run takes. The file does not say it: it is another machine's, or hour's."""
    found = guess.found
    assert found is not None
    clean = f"A clean run takes {found['fit_seconds']:.1f} s"
    build = found["seconds"] - found["fit_seconds"]
    clean += f", and {build:.1f} s before it" if build > 1 else ""
    if found["fit_seconds"] > _LONG:
        clean += "; that is long for something that is run hundreds of times: smaller batches or data would help"
    return f"{clean}."


def unproven(guess: Guess) -> str:
    """Return what does not follow from a training in which nothing is learnt; empty where something is."""
    return "" if guess.found is None or guess.found["learns"] else _UNPROVEN


def failures(guess: Guess) -> list[str]:
    """What was tried before, and how it ended."""
    return [f"{label}: {why}" for label, why in dict(guess.tried).items()]


def render(guess: Guess, command: str) -> str:
    """The scenario file."""
    found = guess.found
    assert found is not None
    parts, given = found["parts"], found["given"]
    lines = _comment(
        f"Written by `{command}`: how to train {guess.target.name} in a moment, for `faultlab run` to break."
    )
    lines += [line for text in findings(guess) for line in _comment(text)]
    if guess.tried:
        lines += _comment("Tried before, and failed:")
        lines += [line for text in failures(guess) for line in _comment(f"  {text}")]
    lines += ["schema: 1", f"name: {scenario_name(guess)}"]
    if found["how"] == "script":
        lines += _comment("Your script is run as far as Trainer.fit, and what it hands over is trained here.")
    if found["how"] == "made_up":
        lines += _comment(_MADE_UP)
    lines += _dumped(parts)
    overriding = " These override what the script says." if found["how"] == "script" else ""
    if said := unproven(guess):
        lines += _comment(said)
    lines += _comment(f"Short on purpose: every fault costs a run of this.{overriding}")
    lines += _dumped({"trainer": found["trainer"]})
    if given.get("detect_anomaly"):
        lines += _dumped({"guards": [{"trainer_flag": {"detect_anomaly": True}}]})
    elif found["how"] == "script" and found["guards"]:
        lines += _comment(f"The script's callbacks are guards already: {', '.join(found['guards'])}.")
    else:
        lines += ["# Your guards, and flags of the Trainer that raise:", "# guards:"]
        lines += ["#   - {class_path: faultlab.guards.StepsTaken}", "#   - trainer_flag: {detect_anomaly: true}"]
    if found["monitor"]:
        lines += _comment("The metric by which harm is measured.")
        lines += _dumped({"monitor": found["monitor"]})
    if guess.tests:
        lines += _comment("Have your tests judge every fault too:")
        lines += [f"# {line}" for line in _dumped({"tests": guess.tests})]
    lines += _comment("To fail in CI, where less is detected:")
    lines += ["# gate: {coverage: 0.5, silent: {critical: 0}}"]
    return "\n".join(lines) + "\n"


_UNPROVEN = (
    "SO SHORT A TRAINING LEARNS NOTHING that could be told from chance, so that it proves nothing about harm: who "
    "detects a fault holds, how much a fault harms does not. More max_epochs or limit_train_batches may change that."
)
_MADE_UP = (
    "THE DATA IS MADE UP: random patterns with labels that can be learnt from them. What is said of optimizers, "
    "gradients, modes, checkpoints and guards holds for your module; how much a fault harms, and what only your own "
    "data would show, does not. Name your data here to have that too."
)


def made_up(guess: Guess) -> str:
    """What follows from data that is made up; empty where it is not."""
    return _MADE_UP if guess.found and guess.found["how"] == "made_up" else ""


def remedy(guess: Guess) -> str:
    """What the user should write where nothing trained."""
    if not guess.target.known:
        return (
            "Have the script train when it is run by itself, or name the class: faultlab init package.module:LitModel."
        )
    name = guess.target.class_path or f"package.module.{guess.target.name}"
    needed = guess.unknown or list(guess.reading.needed)
    arguments = f", init_args: {{{', '.join(f'{one}: ...' for one in needed)}}}" if needed else ""
    return "\n".join(
        [
            "Write a scenario that says how it is built and trained:",
            "    schema: 1",
            f"    name: {scenario_name(guess)}",
            f"    module: {{class_path: {name}{arguments}}}",
            "    data: {class_path: package.module.loaders}   # a function that returns (train_loader, val_loader)",
            "    trainer: {max_epochs: 2, limit_train_batches: 8, limit_val_batches: 4}",
            "or a script that gets as far as Trainer.fit, and `faultlab init` again.",
            *_doctor(guess),
        ]
    )


def _doctor(guess: Guess) -> list[str]:
    script = guess.target.script or guess.target.source
    trains = script is not None and script.fits
    return [f"`faultlab doctor {script.shown}` says why a training step does not execute."] if script and trains else []


def _how(guess: Guess) -> str:
    found = guess.found
    assert found is not None
    if found["how"] == "script":
        return f"{found['script']} trains it: module, data, callbacks and Trainer arguments are taken from there."
    if found["how"] == "own":
        return "It brings its own loaders."
    if found["how"] == "made_up":
        batch = _shown(found["parts"]["data"]["init_args"]["batch"])
        return f"Its data was not found or can't be had, so data is made up, of shapes on which it trains: {batch}."
    return f"Its data is {found['label']}."


def _left_out(entries: list[list[str]]) -> str:
    """What is left out, by the reason."""
    by_reason: dict[str, list[str]] = {}
    for name, why in entries:
        by_reason.setdefault(why, []).append(name)
    return "; ".join(f"{', '.join(names)} ({why})" for why, names in by_reason.items())


def _falls(found: Mapping[str, Any]) -> str:
    losses = found["losses"]
    if len(losses) < 4:
        return "too short to say whether it learns"
    quarter = len(losses) // 4
    first, last = sum(losses[:quarter]) / quarter, sum(losses[-quarter:]) / quarter
    if found["learns"]:
        return f"its loss falls from {first:.3g} to {last:.3g}"
    return f"its loss does not fall by more than it varies ({first:.3g} to {last:.3g})"


def _comment(text: str) -> list[str]:
    indent = "#" + " " * (len(text) - len(text.lstrip()) + 1)
    plain = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    # Neither a path nor a class's name is to be broken in two.
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
