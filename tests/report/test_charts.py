"""What the page draws: curves thinned without losing what matters, charts, latencies, and the kill matrix."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from faultlab.catalogue import index
from faultlab.core.detection import Detection
from faultlab.core.report import Report
from faultlab.core.thinning import thinned
from faultlab.report.html.charts import HEIGHT, WIDTH, Chart, Curves
from faultlab.report.html.latency import distribution
from faultlab.report.html.lessons import Lesson, choices, replay
from faultlab.report.html.matrix import WIDEST, matrix
from tests.support import result

VALUES = st.floats(allow_nan=True, allow_infinity=True)


def after(steps: int, kind: str = "guard", name: str = "G") -> Detection:
    return Detection(kind, name, steps, steps, False, "no")


def charts(folder: Path, clean: Any, faulty: Any, acts: int | None = 0) -> list[Chart]:
    content = {"metric": "val_loss", "clean": {"run": {"loss": clean}}, "faults": {"loss.nan@always": {"loss": faulty}}}
    (folder / "curves.json").write_text(json.dumps(content))
    return Curves(folder).of(result("loss.nan@always", "silent", first_step=acts), index.modes()["loss.nan"])


@pytest.mark.parametrize("apart", [", ", ",\n"])
def test_curves_are_found_however_the_lines_of_their_file_are_broken(tmp_path: Path, apart: str) -> None:
    head = '{"metric": "val_loss", "clean": {"run": {"loss": [[0, 1.0], [1, 0.5]]}}, "faults": {'
    names = ["loss.nan@always", 'odd ": \\" {\n', "loss.nan@once"]
    faults = [f'{json.dumps(name)}: {{"loss": [[0, 1.0], [1, {n}.0]]}}' for n, name in enumerate(names)]
    begin, end = ("\n", "\n") if "\n" in apart else ("", "")
    (tmp_path / "curves.json").write_text(head + begin + apart.join(faults) + end + "}}\n")
    curves = Curves(tmp_path)
    assert [curves.of(result(name, "silent"), None)[0].words for name in names] == [
        f"from 1 to {n}, in the clean run to 0.5" for n in range(3)
    ]
    assert curves.of(result("loss.nan@step=1", "silent"), None) == []


def test_only_the_curves_that_are_drawn_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = ",\n".join(f'"a.b@step={n}": {{"loss": [[0, 1.0], [1, 0.5]]}}' for n in range(1000))
    (tmp_path / "curves.json").write_text(
        f'{{"metric": "m", "clean": {{"run": {{"loss": []}}}}, "faults": {{\n{faults}\n}}}}'
    )
    curves = Curves(tmp_path)
    read: list[Any] = []
    loads = json.loads
    monkeypatch.setattr(json, "loads", lambda text: read.append(text) or loads(text))
    assert len(curves.of(result("a.b@step=700", "silent"), None)) == 1
    assert len(read) == 1


def points(lines: list[str]) -> list[tuple[float, float]]:
    return [tuple(map(float, point.split(","))) for line in lines for point in line.split()]  # type: ignore[misc]


@given(st.lists(VALUES, min_size=1, max_size=900), st.integers(min_value=4, max_value=60))
def test_a_thinned_series_keeps_its_ends_its_order_and_its_extremes(values: list[float], longest: int) -> None:
    series = list(enumerate(values))
    kept = thinned(series, longest)
    assert len(kept) <= max(longest, 2)
    assert [step for step, _ in kept] == sorted({step for step, _ in kept})
    assert (kept[0][0], kept[-1][0]) == (0, len(values) - 1)
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) == len(values):
        assert (max(finite), min(finite)) == (max(v for _, v in kept), min(v for _, v in kept))
    elif len(finite) < len(values):
        assert any(not math.isfinite(value) for _, value in kept), "what is not finite is not thinned away"


def test_a_chart_has_both_curves_and_the_step_in_which_the_fault_acts(tmp_path: Path) -> None:
    (chart,) = charts(tmp_path, [[0, 2.0], [10, 1.0]], [[0, 2.0], [10, 4.0]], acts=5)
    assert points(chart.clean) == [(0, 80), (WIDTH, HEIGHT)]
    assert points(chart.faulty) == [(0, 80), (WIDTH, 0)]
    assert (chart.acts, chart.low, chart.high, chart.last) == (WIDTH / 2, "1", "4", 10)
    assert chart.words == "from 2 to 4, in the clean run to 1"
    assert not chart.logarithmic


def test_what_is_no_number_breaks_the_line_and_is_marked(tmp_path: Path) -> None:
    (chart,) = charts(tmp_path, [[0, 1.0], [4, 1.0]], [[0, 1.0], [1, 2.0], [2, None], [3, 2.0], [4, None]])
    assert len(chart.faulty) == 2
    assert chart.broken == [WIDTH / 2, WIDTH]
    assert chart.words.endswith("to not a finite number, in the clean run to 1")


def test_a_chart_says_where_the_runs_are_one_and_where_the_faulted_one_ends_early(tmp_path: Path) -> None:
    course = [[0, 3.0], [1, 2.0], [2, 1.0]]
    assert charts(tmp_path, course, course)[0].words == "the same as in the clean run"
    assert charts(tmp_path, course, course[:2])[0].words.endswith(", and ends in step 1")
    assert charts(tmp_path, course, [])[0].words == "not recorded in the faulted run"


def test_far_apart_values_are_drawn_on_a_logarithmic_axis_where_they_have_one(tmp_path: Path) -> None:
    assert charts(tmp_path, [[0, 1.0], [1, 1.0]], [[0, 1.0], [1, 1000.0]])[0].logarithmic
    assert not charts(tmp_path, [[0, 0.0], [1, 1.0]], [[0, 0.0], [1, 1000.0]])[0].logarithmic


@given(clean=st.lists(VALUES, max_size=6), faulty=st.lists(VALUES, max_size=6))
def test_every_point_lies_on_the_chart_whatever_the_values(
    tmp_path_factory: pytest.TempPathFactory, clean: list[float], faulty: list[float]
) -> None:
    def series(values: list[float]) -> list[list[Any]]:
        return [[step, value if math.isfinite(value) else None] for step, value in enumerate(values)]

    for chart in charts(tmp_path_factory.mktemp("chart"), series(clean), series(faulty)):
        for across, down in points(chart.clean) + points(chart.faulty):
            assert 0 <= across <= WIDTH
            assert -0.1 <= down <= HEIGHT + 0.1


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"metric": 1, "clean": 2, "faults": 3}', "{"])
def test_a_file_of_curves_that_is_none_draws_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "curves.json").write_text(text)
    assert Curves(tmp_path).of(result("loss.nan@always", "silent"), None) == []
    assert Curves(tmp_path / "nowhere").of(result("loss.nan@always", "silent"), None) == []
    assert charts(tmp_path, "abc", [[0, "x"], [1, 2]]) == []


def test_latencies_are_counted_in_ranges_that_double_and_tests_are_left_out() -> None:
    late = [result(f"a.b@step={step}", "detected", detected_by=[after(step)]) for step in (0, 0, 1, 5, 100)]
    by_test = result("a.c@always", "detected", detected_by=[after(0, "test", "t.py::test")])
    found = distribution(Report("r", faults=[*late, by_test]))
    assert found is not None
    assert (found["total"], found["median"]) == (5, 1)
    assert [(bucket.words, bucket.faults) for bucket in found["buckets"]] == [
        ("in the same step", 2),
        ("1 step later", 1),
        ("2 to 3 steps later", 0),
        ("4 to 7 steps later", 1),
        ("8 to 15 steps later", 0),
        ("16 to 31 steps later", 0),
        ("32 to 63 steps later", 0),
        ("64 to 100 steps later", 1),
    ]
    assert distribution(Report("r", faults=[by_test])) is None


def test_the_sooner_a_detector_detects_the_stronger_its_cell() -> None:
    faults = [result(f"a.m{step}@always", "detected", detected_by=[after(step)]) for step in (0, 4, 16, 17)]
    (family,) = matrix(Report("r", faults=faults))["families"]
    assert {row.mode: row.cells[0].level for row in family[2]} == {"a.m0": 0, "a.m4": 1, "a.m16": 2, "a.m17": 3}


def test_detectors_beyond_what_a_table_holds_share_a_column_and_can_be_filtered_by() -> None:
    several = [after(0, name=f"Guard{n}") for n in range(WIDEST + 5)]
    found = matrix(Report("r", faults=[result("a.b@always", "detected", detected_by=several)]))
    assert (len(found["columns"]), found["others"], len(found["numbers"])) == (WIDEST, 5, WIDEST + 5)
    ((_, _, (row,)),) = found["families"]
    assert len(row.cells) == WIDEST + 1
    assert row.spans == [(cell, 1) for cell in row.cells]
    assert row.who == list(range(WIDEST + 5))


def test_a_lesson_offers_the_right_answer_among_others_of_other_families_and_always_the_same() -> None:
    modes = index.modes()
    lesson = Lesson("loss.nan", modes["loss.nan"], [], "")
    offered = choices(lesson, modes)
    assert offered == choices(lesson, modes)
    assert "loss.nan" in [id for id, _ in offered]
    assert len({mode.family for _, mode in offered}) == len(offered) == 4


def test_a_command_to_replay_a_fault_is_one_for_the_shell() -> None:
    assert replay("loss.nan@step=8", "my scenarios/a.yaml") == (
        "faultlab replay loss.nan@step=8 --scenario 'my scenarios/a.yaml'"
    )
    assert replay("loss.nan@step=8", "") == ""
