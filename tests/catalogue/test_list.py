"""Choosing failure modes: by what is declared of them, and by what can happen to a target."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from faultlab.catalogue import index
from tests.cli.test_cli import HEAVY, ROOT, Done, _faultlab

MODES = index.modes()


def _ids(*arguments: str | Path) -> list[str]:
    done = _faultlab("list", "--json", *arguments)
    assert done.status == 0, done.err
    return [entry["id"] for entry in json.loads(done.out)]


def test_a_filter_given_twice_means_either_and_two_filters_mean_both() -> None:
    either = _ids("--family", "return", "--family", "loss")
    assert either == [id for id, mode in MODES.items() if mode.family in ("return", "loss")]
    both = _ids("--family", "return", "--family", "loss", "--severity", "critical", "--effect", "silent")
    assert both == [id for id in either if (MODES[id].severity, MODES[id].effect.on()) == ("critical", "silent")]
    assert 0 < len(both) < len(either)


def test_filters_narrow_what_globs_match() -> None:
    found = _ids("step.*", "return.*", "--seam", "Definition")
    assert found == [
        id for id, mode in MODES.items() if mode.seam == "Definition" and mode.family in ("step", "return")
    ]


def test_filters_that_leave_nothing_are_no_mistake() -> None:
    done = _faultlab("list", "return.none", "--severity", "minor")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("0 failure modes;")
    assert _ids("return.none", "--severity", "minor") == []


@pytest.fixture(scope="module")
def of_scenario() -> list[dict[str, Any]]:
    done = _faultlab("list", "--json", "--applicable-to", "scenarios/gan/scenario.yaml")
    assert (done.status, done.err) == (0, "")
    assert not done.modules & {"torch", "pytorch_lightning", "lightning"}, "the driver needs none of them"
    return json.loads(done.out)  # type: ignore[no-any-return]


def test_as_json_every_mode_says_whether_it_applies_to_a_scenario_and_why_not(
    of_scenario: list[dict[str, Any]],
) -> None:
    assert [entry["id"] for entry in of_scenario] == list(MODES)
    assert all(entry["applies"] == (not entry["reason"]) for entry in of_scenario)
    told = {entry["id"]: entry for entry in of_scenario}
    assert told["step.raises"]["applies"]
    assert told["label.noisy"]["reason"] == "no part of the batch is used as labels"


def _class(folder: Path, body: str) -> None:
    (folder / "own.py").write_text(f"from tests.broken import healthy\n\n\nclass Lit(healthy.Model):\n{body}")


def _in(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Done:
    monkeypatch.setenv("PYTHONPATH", f"{folder}:{ROOT}")
    monkeypatch.setenv("TMPDIR", str(folder))
    return _faultlab("list", "--applicable-to", "own.Lit", *arguments)


def test_a_class_that_brings_its_data_is_trained_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _class(tmp_path, "    def train_dataloader(self):\n        return healthy.loader()\n")
    done = _in(tmp_path, monkeypatch, "layer.*", "label.noisy")
    assert (done.status, done.err) == (0, "")
    assert "label.noisy" in done.out
    assert "layer.no-dropout" not in done.out
    assert "there is no pooling layer" in done.out
    assert not done.modules & HEAVY - {"numpy", "scipy"}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    pass\n", "`train_dataloader` must be implemented"),
        ("    def __init__(self, width):\n        super().__init__()\n", "missing a required argument: 'width'"),
        ("    def __init__(self):\n        raise OSError('no weights')\n", "OSError: no weights"),
    ],
)
def test_a_class_that_needs_more_is_refused_with_a_scenario_for_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    _class(tmp_path, body)
    done = _in(tmp_path, monkeypatch)
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("own.Lit can't be ")
    assert said in done.err
    assert "write a scenario file" in done.err


def test_a_scenario_whose_clean_run_fails_ends_as_its_campaign_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    file = tmp_path / "fails.yaml"
    parts = (
        "module: {class_path: tests.broken.fails_to_train.Model}",
        "data: {class_path: tests.broken.healthy.loader}",
    )
    file.write_text("\n".join(["schema: 1", "name: fails", *parts, "trainer: {max_epochs: 1}", ""]))
    done = _faultlab("list", "--applicable-to", file)
    assert (done.status, done.out) == (3, "")
    assert done.err.startswith(f"{file}:1:1: the clean run already fails: ZeroDivisionError")
    log = Path(done.err.partition("Its output is in ")[2].strip().removesuffix("."))
    assert "divides by zero" in log.read_text()
