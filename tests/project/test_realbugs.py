"""Real bugs and the detectors that are measured on them: the format, the registry, one run, and the scores."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
import textwrap
import time
from collections import Counter
from datetime import date
from pathlib import Path
from typing import get_args

import pytest

from benchmarks.realbugs import __main__ as realbugs
from benchmarks.realbugs import bug as bugs
from benchmarks.realbugs import cells, coupling, harvest, registry, scores, table, visibility
from benchmarks.realbugs.bug import VERSIONS, Bug, Change, InvalidBug
from benchmarks.realbugs.catalogue import __main__ as catalogue
from benchmarks.realbugs.cells import Cell
from benchmarks.realbugs.checking import check
from benchmarks.realbugs.harvest import cells as cells_of
from benchmarks.realbugs.outcomes import Kept
from benchmarks.realbugs.run import Alert, Outcome, Run
from faultlab.catalogue import index

ALL = bugs.all_bugs()
KINDS = set(get_args(bugs.Kind))


@pytest.fixture(scope="module")
def imported() -> None:
    """What the scripts of bugs import, so that their processes do not each import it again."""
    for name in ("pytorch_lightning", "benchmarks.realbugs.material"):
        importlib.import_module(name)


@pytest.mark.parametrize("bug", ALL, ids=lambda bug: bug.id)
def test_both_versions_of_a_bug_compile_and_differ_by_its_change(bug: Bug) -> None:
    fixed, buggy = (bug.script(version) for version in VERSIONS)
    for text in (fixed, buggy):
        compile(text, bug.id, "exec")
    assert fixed != buggy
    changed = [line for line in bug.diff().splitlines() if line[:1] in "+-" and line[:3] not in ("+++", "---")]
    assert len(changed) <= 8


def test_bugs_are_spread_over_kinds_frameworks_and_years() -> None:
    kinds = Counter(bug.kind for bug in ALL)
    assert set(kinds) == KINDS
    assert min(kinds.values()) >= 2
    assert sum(bug.framework != "lightning" for bug in ALL) >= 10
    assert sum(bug.date >= date(2024, 12, 1) for bug in ALL) >= 10
    assert len({bug.source for bug in ALL}) == len(ALL) >= 30


def test_the_nearest_failure_mode_of_a_bug_exists() -> None:
    assert {bug.nearest for bug in ALL} - {"none"} <= set(index.modes())


def test_every_fifth_bug_is_set_aside_by_the_hash_of_its_id_alone() -> None:
    names = [f"bug-{number}" for number in range(2000)]
    assert 350 < sum(bugs.held_out(name) for name in names) < 450
    assert bugs.held_out("labels-shifted-twice")
    assert not bugs.held_out("gradients-never-cleared")


def test_a_change_keeps_the_indentation_of_the_lines_that_it_replaces() -> None:
    text = "def f():\n    if a:\n        b()\n    return c\n"
    change = Change(fixed="if a:\n    b()\n", buggy="while a:\n    d()\n")
    assert bugs.changed(text, change, Path("bug.yaml")) == "def f():\n    while a:\n        d()\n    return c\n"


@pytest.mark.parametrize("lines", ["a = 1\n", "c = 3\n"])
def test_a_change_must_find_its_lines_exactly_once(lines: str) -> None:
    with pytest.raises(InvalidBug, match=r"bug\.yaml: the lines of a change occur . times in fixed\.py: expected once"):
        bugs.changed("a = 1\na = 1\n", Change(fixed=lines, buggy=""), Path("bug.yaml"))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("kind: step", "kind: steps", "kind"),
        ("measure: error", "measured: error", "measured"),
        ('cause: ["zero_?grad"', 'cause: ["(zero"', "invalid pattern"),
        ("id: gradients", "id: other", "expected the folder's name"),
    ],
)
def test_an_invalid_bug_names_its_file_and_what_is_wrong(tmp_path: Path, old: str, new: str, told: str) -> None:
    source = bugs.BUGS / "gradients-never-cleared"
    text = (source / "bug.yaml").read_text()
    assert old in text
    folder = tmp_path / "gradients-never-cleared"
    folder.mkdir()
    (folder / "fixed.py").write_text((source / "fixed.py").read_text())
    (folder / "bug.yaml").write_text(text.replace(old, new))
    with pytest.raises(InvalidBug, match=r"bug\.yaml") as raised:
        bugs.load(folder)
    assert told in str(raised.value)


def test_an_unknown_bug_is_refused_with_the_closest_one() -> None:
    with pytest.raises(InvalidBug, match=r"unknown bug 'sigmoid-twize'\. Did you mean 'sigmoid-twice'\?"):
        bugs.chosen(["sigmoid-twize"])


def test_every_detector_registers_itself_and_names_the_frameworks_that_it_supports() -> None:
    files = {file.stem for file in (Path(registry.__file__).parent / "detectors").glob("[a-z]*.py")}
    found = registry.detectors()
    assert {Path(one.watch.__code__.co_filename).stem for one in found.values()} == files
    for one in found.values():
        assert set(one.frameworks) <= set(registry.ALL_FRAMEWORKS)
        assert one.usage.endswith(".")
    pinned = (Path(registry.__file__).parent / "peers.txt").read_text()
    assert all(f"{one.package}==" in pinned for one in found.values() if one.environment == "peers")


@pytest.mark.usefixtures("imported")
def test_a_bug_is_worse_than_its_fixed_version_and_a_guard_detects_it_in_its_first_step() -> None:
    (bug,) = bugs.chosen(["gradients-never-cleared"])
    assert not check(bug, seeds=2).problems
    fixed, buggy = (cells.in_child(Cell(bug.id, version, "guards.watch(cheap)", 0)) for version in VERSIONS)
    assert (fixed.alerts, fixed.error) == ([], "")
    assert [alert.check for alert in buggy.alerts] == ["GradientsCleared.not-cleared"]
    assert buggy.alerts[0].step == 1
    assert bug.names_cause(buggy.alerts[0].text)


@pytest.mark.usefixtures("imported")
def test_a_bug_that_is_no_worse_does_not_pass_its_check() -> None:
    (bug,) = bugs.chosen(["mean-of-uneven-batches"])
    assert check(bug.model_copy(update={"margin": 1e9}), seeds=2).problems == ["worse by 1e+09 in 0 of 2 seeds"]


@pytest.mark.usefixtures("imported")
def test_a_detector_that_hangs_dies_or_raises_is_an_error_and_no_detection(monkeypatch: pytest.MonkeyPatch) -> None:
    def raises(run: Run) -> None:
        raise KeyError("findings")

    what = {"hangs": lambda run: time.sleep(60), "dies": lambda run: os._exit(3), "raises": raises}
    made = {name: registry.Detector(name, "public", "A test.", watch) for name, watch in what.items()}
    monkeypatch.setattr(registry, "detectors", lambda: made)
    found = {
        name: cells.in_child(Cell("sigmoid-twice", "buggy", name, 0), 2.0 if name == "hangs" else 100.0)
        for name in made
    }
    assert found["raises"].error == "KeyError: 'findings'"
    assert found["dies"].error == "no result within 100 s, or the process died"
    assert found["hangs"].error == "no result within 2 s, or the process died"
    assert not any(outcome.alerts for outcome in found.values())


def _outcomes(bug: Bug, fixed: list[Outcome], buggy: list[Outcome]) -> dict[Cell, Outcome]:
    pairs = {"fixed": fixed, "buggy": buggy}
    return {Cell(bug.id, version, "x", seed): one for version in VERSIONS for seed, one in enumerate(pairs[version])}


def test_an_alert_counts_if_its_check_is_quiet_on_the_fixed_version_with_the_same_seed() -> None:
    (bug,) = bugs.chosen(["gradients-never-cleared"])
    loud, spike = Alert("always", "something", 0), Alert("grads", "no zero_grad was called", 3)
    fixed = [Outcome([loud]), Outcome(), Outcome([spike]), Outcome(error="KeyError")]
    buggy = [Outcome([loud]), Outcome([spike]), Outcome([spike]), Outcome([spike])]
    found = scores.on_bug(bug, "x", _outcomes(bug, fixed, buggy), 4)
    assert (found.seeds, found.detecting, found.naming, found.latencies) == (3, 1, 1, [3])
    assert not found.detected
    assert found.alarmed
    assert found.errors == ["KeyError"]


def test_a_rate_has_the_interval_of_wilson() -> None:
    low, high = scores.Rate(8, 10).interval
    assert (round(low, 3), round(high, 3)) == (0.490, 0.943)
    assert str(scores.Rate(0, 0)) == "—"


def test_several_detectors_together_detect_what_one_of_them_does() -> None:
    first, second = ALL[:2]
    one = scores.Score({first.id: scores.OnBug(1, 1), second.id: scores.OnBug(1, 0)}, ALL)
    other = scores.Score({first.id: scores.OnBug(1, 0, alarmed=True)}, ALL)
    both = scores.together([one, other])
    assert (both.detected().count, both.detected().of) == (1, 2)
    assert both.alarms().count == 1


def test_coupling_compares_bugs_by_whether_a_detector_detects_their_nearest_mode() -> None:
    chosen = bugs.chosen(["gradients-never-cleared", "validation-augmented", "rate-not-used"])
    chosen = [bug.model_copy(update={"nearest": "none"}) if bug.id == "validation-augmented" else bug for bug in chosen]
    score = scores.Score({bug.id: scores.OnBug(1, int(bug.id[0] == "g"), latencies=[0]) for bug in chosen}, chosen)
    modes = coupling.detected_modes(["GradientsCleared"])
    assert "optimizer.no-zero-grad" in modes
    found = coupling.coupling(chosen, score, modes)
    assert (found.where_detected.count, found.where_detected.of) == (1, 1)
    assert (found.where_not.count, found.where_not.of) == (0, 1)
    assert (found.agree.count, found.agree.of) == (2, 2)
    assert found.without == 1


def test_a_rank_correlation_has_an_interval_and_needs_values_that_differ() -> None:
    rising = coupling.correlation([(one, one**2) for one in range(8)])
    assert rising is not None
    assert (rising.rho, rising.low, rising.high, rising.of) == pytest.approx((1, 1, 1, 8))
    mixed = coupling.correlation([(1, 2), (2, 1), (3, 5), (4, 3), (5, 4), (6, 7)])
    assert mixed is not None
    assert mixed.rho == pytest.approx(27 / 35)
    assert mixed.low < mixed.rho < mixed.high
    assert coupling.correlation([(one, 3) for one in range(8)]) is None
    assert coupling.correlation([(1, 2), (2, 3)]) is None


def test_failure_modes_that_no_bug_is_like_are_listed_by_family() -> None:
    (bug,) = bugs.chosen(["gradients-never-cleared"])
    found = coupling.unlike([bug], ["optimizer.frozen", "optimizer.no-zero-grad", "loader.empty"])
    assert found == {"optimizer": (2, ["optimizer.frozen"]), "loader": (1, ["loader.empty"])}


def test_the_catalogue_counts_what_each_detector_detects_by_guards_tests_and_exceptions() -> None:
    found = [("guard", "TorchAudit"), ("guard", "EarlyStopping"), ("test", "x.py::test_it[torchtest2]")]
    faults = [
        {"mode": "a.b", "status": "detected", "detected_by": [{"kind": kind, "name": name} for kind, name in found]},
        {"mode": "a.c", "status": "detected", "detected_by": [{"kind": "framework", "name": "Lightning"}]},
        {"mode": "a.d", "status": "silent", "detected_by": []},
        {"mode": "a.e", "status": "no_effect", "detected_by": []},
    ]
    report = {"faults": faults, "versions": {}, "baseline": {"false_alarms": []}}
    counted = catalogue.coverage([report, report])
    assert counted["judged"] == ["a.b", "a.c", "a.d"]
    assert {name: modes for name, modes in counted["detected"].items() if modes} == {
        "torch-audit": ["a.b"],
        "torchtest2": ["a.b"],
        "stock": ["a.c"],
        "detect_anomaly, check_finite": ["a.b", "a.c"],
    }


def test_no_bug_that_is_set_aside_is_among_those_that_guards_were_changed_for() -> None:
    assert bugs.seen() <= {bug.id for bug in ALL}
    assert not any(bugs.held_out(name) for name in bugs.seen())
    (seen,) = bugs.chosen(["gradients-never-cleared"])
    assert not seen.new
    assert seen.model_copy(update={"id": "not-looked-at"}).new


def test_a_nightly_detector_runs_on_a_sample_that_another_bug_does_not_reshuffle() -> None:
    known = registry.detectors()
    assert not {name for name, one in known.items() if one.nightly} & set(realbugs.QUICK_DETECTORS)
    chosen = [bug.id for bug in harvest.sample(ALL, 20)]
    assert len(set(chosen)) == 20
    without = [bug.id for bug in harvest.sample([bug for bug in ALL if bug.id != chosen[0]], 20)]
    assert without[:-1] == chosen[1:]
    assert {cell.bug for cell in cells_of(ALL, [known["TrainCheck"]], 3)} == set(chosen)
    assert {cell.seed for cell in cells_of(ALL, [known["TrainCheck"]], 3)} == {0}


def test_what_is_recorded_of_the_fixed_version_is_made_once_for_all_runs_of_a_bug(tmp_path: Path) -> None:
    (bug,) = bugs.chosen(["gradients-never-cleared"])
    shared = tmp_path / "shared"
    shared.mkdir()
    made = []

    def make(file: Path) -> None:
        made.append(file)
        file.write_text("record")

    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        file = cells.write_script(bug, "fixed", folder, 0)
        run = Run(file, file, folder, 0, shared)
        assert run.recorded("record.json", make).read_text() == "record"
        assert run.apart >= 0
    assert [file.parent.name for file in made] == ["0"]


def test_the_page_does_not_tell_who_detects_a_bug_that_is_set_aside_or_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bugs, "seen", lambda: {"gradients-never-cleared"})
    chosen = bugs.chosen(["labels-shifted-twice", "gradients-never-cleared", "rate-not-used"])
    detector = registry.detectors()["guards.watch(cheap)"]
    kept = Kept(None, chosen, {detector.name: detector})
    for bug in chosen:
        for version in VERSIONS:
            alerts = [Alert("check", "text", 0)] if version == "buggy" else []
            kept.keep(Cell(bug.id, version, detector.name, 0), Outcome(alerts))
    text = table.page(chosen, {detector.name: detector}, kept, {"own": sys.executable})
    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    assert rows["gradients-never-cleared"].endswith("| guards.watch(cheap) |")
    assert rows["labels-shifted-twice"].endswith("| *set aside* |")
    assert rows["rate-not-used"].endswith("| *new* |")
    assert re.search(
        r"\| guards.watch\(cheap\) \| 3 of 3 \(44% to 100%\) \| [^|]+ \| 1 of 1 \| 1 of 1 \(21% to 100%\) \|", text
    )


def test_alerts_that_only_warn_can_be_left_out() -> None:
    (bug,) = bugs.chosen(["gradients-never-cleared"])
    fixed = [Outcome([Alert("spike", "a spike", 3, warning=True)])]
    buggy = [Outcome([Alert("rate", "no rate", 3, warning=True)])]
    outcomes = _outcomes(bug, fixed, buggy)
    assert scores.score([bug], "x", outcomes, 1).detected().count == 1
    failures = scores.score([bug], "x", outcomes, 1, lambda alert: not alert.warning)
    assert (failures.detected().count, failures.alarms().count) == (0, 0)
    assert Outcome.from_json(fixed[0].to_json()) == fixed[0]


def test_outcomes_are_kept_until_a_file_changes_and_are_outdated_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, known = bugs.chosen(["sigmoid-twice"]), registry.detectors()
    fixed, buggy = sorted(cells_of(chosen, [known["stock"]], 1), key=lambda cell: cell.version, reverse=True)
    first = Kept(tmp_path, chosen, known)
    first.keep(fixed, Outcome(measure=1.0))
    first.keep(buggy, Outcome(measure=3.0))
    first.keep(buggy, Outcome(measure=2.0))
    assert Kept(tmp_path, chosen, known).current == {fixed: Outcome(measure=1.0), buggy: Outcome(measure=2.0)}
    monkeypatch.setattr(Bug, "script", lambda self, version: textwrap.dedent(version))
    later = Kept(tmp_path, chosen, known)
    assert not later.current
    later.keep(buggy, Outcome(measure=4.0))
    assert later.all == {fixed: Outcome(measure=1.0), buggy: Outcome(measure=4.0)}
    assert list(later.outdated) == [fixed]
    later.tidy()
    (file,) = tmp_path.iterdir()
    assert [json.loads(line)["version"] for line in file.read_text().splitlines()] == ["fixed", "buggy"]
    assert Kept(tmp_path, chosen, known).all == later.all


def test_kept_outcomes_name_no_folder_of_this_machine(tmp_path: Path) -> None:
    chosen, known = bugs.chosen(["sigmoid-twice"]), registry.detectors()
    kept = Kept(tmp_path, chosen, known)
    told = f"no file {tmp_path}/record.json, see https://example.org/a/b"
    kept.keep(cells_of(chosen, [known["stock"]], 1)[0], Outcome(alerts=[Alert("file", told, 3)], error=told))
    (outcome,) = Kept(tmp_path, chosen, known).current.values()
    assert outcome.error == outcome.alerts[0].text == "no file record.json, see https://example.org/a/b"


def test_two_raters_have_judged_each_bug() -> None:
    rated = visibility.ratings()
    assert set(rated) == {bug.id for bug in ALL}
    assert all(len(one.seen) == len(one.relations) == 2 and all(one.relations) for one in rated.values())
    assert visibility.agreement(rated) > 0.4


def test_the_page_is_the_one_of_the_kept_outcomes() -> None:
    known = registry.detectors()
    kept = Kept(realbugs.RESULTS, ALL, known)
    shown = {cell.detector for cell in kept.all}
    used = {name: one for name, one in known.items() if name in shown}
    pythons = {"own": sys.executable, "peers": sys.executable}
    made, there = map(_without_versions, (table.page(ALL, used, kept, pythons), realbugs.PAGE.read_text()))
    assert made == there, "run `python -m benchmarks.realbugs --table-only`"


def _without_versions(page: str) -> str:
    """Return the page without the versions of the tools, which are those of the environment that measured them."""
    page = re.sub(r"\n\d+ of \d+ runs were made before a later change.*\n", "", page)
    return re.sub(r"^- \*\*(.*?)\*\*( \([\w-]+ [\d.]+\))?:", r"- **\1**:", page, flags=re.MULTILINE)


@pytest.mark.nightly(reason="Trains every bug six times; the quick ring checks one bug")
@pytest.mark.parametrize("bug", ALL, ids=lambda bug: bug.id)
def test_every_bug_is_worse_than_its_fixed_version(bug: Bug) -> None:
    if bug.framework == "transformers":
        pytest.importorskip("transformers")
    assert not check(bug, seeds=3).problems
