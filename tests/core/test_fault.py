"""The text form of faults and triggers, and when a trigger fires."""

from __future__ import annotations

import json
import string

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from faultlab.core.fault import STAGES, Fault, Trigger
from faultlab.errors import FaultSyntaxError

_words = st.from_regex(r"[a-z][a-z0-9]{0,5}(-[a-z0-9]{1,4}){0,2}", fullmatch=True)
_modes = st.builds("{}.{}".format, _words, _words)
_dose_names = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
_NUMBERS_IN_LETTERS = ("inf", "infinity", "nan")
_dose_words = st.from_regex(r"[a-z][a-z0-9_.-]{0,8}", fullmatch=True).filter(lambda w: w not in _NUMBERS_IN_LETTERS)
_dose_values = st.one_of(st.integers(), st.floats(allow_nan=False, allow_infinity=False), _dose_words)
_doses = st.dictionaries(_dose_names, _dose_values, max_size=3)
_stages = st.none() | st.sampled_from(STAGES)
_ranks = st.none() | st.integers(0, 1000)
_triggers = st.one_of(
    st.builds(Trigger, st.sampled_from(["always", "once"]), st.none(), _stages, _ranks),
    st.builds(Trigger, st.sampled_from(["step", "update", "epoch"]), st.integers(min_value=0), _stages, _ranks),
    st.builds(Trigger, st.just("every"), st.integers(min_value=1), _stages, _ranks),
    st.builds(Trigger, st.just("p"), st.floats(0, 1), _stages, _ranks),
)
_faults = st.builds(Fault, _modes, _doses, st.none() | _triggers, st.integers(min_value=0))


@given(_faults)
def test_a_fault_is_read_back_from_its_own_text(fault: Fault) -> None:
    again = Fault.parse(str(fault))
    assert again == fault
    assert str(again) == str(fault)
    assert hash(again) == hash(fault)


@given(_faults)
def test_a_fault_reaches_another_process_as_data(fault: Fault) -> None:
    again = Fault.from_json(json.loads(json.dumps(fault.to_json())))
    assert again == fault
    assert str(again) == str(fault)


@given(_triggers)
def test_a_trigger_is_read_back_from_its_own_text_with_and_without_the_at_sign(trigger: Trigger) -> None:
    assert Trigger.parse(str(trigger)) == trigger
    assert Trigger.parse(f"@{trigger}") == trigger


@given(_faults, _faults)
def test_two_faults_are_equal_exactly_where_their_texts_are(one: Fault, other: Fault) -> None:
    assume(not any(value == 0 for fault in (one, other) for value in fault.dose.values()))
    assert (one == other) == (Fault.parse(str(one)) == Fault.parse(str(other)))
    if one == other:
        assert hash(one) == hash(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (Fault("a.b", {"x": 1}), Fault("a.b", {"x": 1.0})),
        (Fault("a.b", {"x": 0.0}), Fault("a.b", {"x": -0.0})),
        (Fault("a.b", {"x": 1, "y": 2}), Fault("a.b", {"y": 2, "x": 1})),
        (Fault("a.b", {}, Trigger("step", 8)), Fault("a.b", {}, Trigger("step", 8.0))),
        (Fault("a.b", {}, Trigger("p", 1)), Fault("a.b", {}, Trigger("p", 1.0))),
    ],
)
def test_equal_faults_have_one_hash(one: Fault, other: Fault) -> None:
    assert one == other
    assert len({one, other}) == 1


@pytest.mark.parametrize(
    "change",
    [
        "a.c:x=1@step=3,seed=1",
        "a.b:x=2@step=3,seed=1",
        "a.b:y=1@step=3,seed=1",
        "a.b@step=3,seed=1",
        "a.b:x=1@step=4,seed=1",
        "a.b:x=1@every=3,seed=1",
        "a.b:x=1@step=3,stage=train,seed=1",
        "a.b:x=1@step=3,rank=0,seed=1",
        "a.b:x=1@step=3",
        "a.b:x=1@seed=1",
    ],
)
def test_faults_differ_where_any_part_differs(change: str) -> None:
    assert Fault.parse(change) != Fault.parse("a.b:x=1@step=3,seed=1")


def test_the_text_form_is_the_documented_one() -> None:
    fault = Fault("label.noisy", {"fraction": 0.3}, Trigger("step", 8, stage="train", rank=1), seed=5)
    assert str(fault) == "label.noisy:fraction=0.3@step=8,stage=train,rank=1,seed=5"
    assert Fault.parse("return.none") == Fault("return.none")
    assert Fault.parse("return.none@seed=4") == Fault("return.none", seed=4)
    assert Fault.parse("label.noisy:fraction=0.3,kind=uniform").dose == {"fraction": 0.3, "kind": "uniform"}
    assert Fault.parse("return.none@once,rank=1").trigger == Trigger("once", rank=1)
    assert Fault.parse("label.noisy").family == "label"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "family.kebab-name"),
        ("return", "family.kebab-name"),
        ("Return.none", "family.kebab-name"),
        ("return.none:", "expected mode:dose=value@trigger"),
        ("return.none@", "expected mode:dose=value@trigger"),
        ("return.none@sometimes", "use @always"),
        ("return.none@step", "such as @step=8"),
        ("return.none@step=x", "needs a number"),
        ("return.none@step=1.5", "whole number"),
        ("return.none@step=-1", "whole number"),
        ("return.none@step=inf", "whole number"),
        ("return.none@every=0", "such as @every=8"),
        ("return.none@p=2", "from 0 to 1"),
        ("return.none@p=nan", "from 0 to 1"),
        ("return.none@always=1", "doesn't take a number"),
        ("return.none@step=1,stage=training", "use one of train"),
        ("return.none@step=1,rank=one", "whole number"),
        ("return.none@step=1,seed=-3", "whole number"),
        ("return.none@step=1,when=now", "use stage, rank or seed"),
        ("return.none@step=1,rank=1,rank=2", "duplicate qualifier rank"),
        ("return.none:fraction", "name=value"),
        ("return.none:fraction=", "name=value"),
        ("return.none:fraction=1,fraction=2", "duplicate dose fraction"),
        ("return.none:fraction=nan", "finite"),
        ("return.none:fraction=1e999", "finite"),
        ("return.none:fraction=half!", "a number or a plain word"),
        ("return.none:Fraction=1", "dose name"),
        ("return.none:fraction=" + "9" * 5000, "number"),
        ("return.none@step=" + "9" * 5000, "number"),
        ("return.none@once,seed=" + "9" * 5000, "number"),
        ("return.none@once,rank=" + "9" * 5000, "number"),
    ],
)
def test_a_bad_text_is_refused_with_what_to_write_instead(text: str, said: str) -> None:
    with pytest.raises(FaultSyntaxError) as refusal:
        Fault.parse(text)
    assert said in str(refusal.value)


_odd = ["-1", "0.5", "1e999", "nan", " ", "٣", "²", "1_0", "\n", "\ud800", "9" * 5000]
_pieces = st.sampled_from(["a.b", *":@,=", "step", "p", "every", "once", "seed", "rank", "stage", "train", "x", *_odd])
_texts = st.one_of(st.text(), st.text(string.printable), st.lists(_pieces, max_size=9).map("".join))


@given(_texts)
def test_any_text_is_a_fault_or_a_syntax_error_and_nothing_else(text: str) -> None:
    for kind in (Fault, Trigger):
        try:
            found = kind.parse(text)
        except FaultSyntaxError:
            continue
        assert kind.parse(str(found)) == found


_kinds = st.sampled_from(["always", "once", "step", "epoch", "every", "p", "x", ""])
_numbers = st.none() | st.integers() | st.floats()


@given(_kinds, _numbers, st.none() | st.text(max_size=5), st.none() | st.integers())
def test_a_trigger_made_of_anything_is_valid_or_a_syntax_error(
    kind: str, number: float | None, stage: str | None, rank: int | None
) -> None:
    try:
        trigger = Trigger(kind, number, stage, rank)
    except FaultSyntaxError:
        return
    assert Trigger.parse(str(trigger)) == trigger


def test_a_whole_number_too_large_for_a_float_is_kept_or_refused() -> None:
    assert Trigger.parse(f"step={2**53 + 1}").number == 2**53 + 1
    assert Trigger("step", 10**400) == Trigger.parse(f"step={10**400}")


@pytest.mark.parametrize("dose", [{"x": True}, {"x": float("inf")}, {"x": "1"}, {"x": "inf"}, {"x": "a b"}, {"x y": 1}])
def test_a_dose_that_no_text_could_say_is_refused(dose: dict[str, object]) -> None:
    with pytest.raises(FaultSyntaxError):
        Fault("a.b", dose)  # type: ignore[arg-type]


def _fired(text: str, steps: int = 12, per_epoch: int = 4, seed: int = 0) -> list[int]:
    trigger = Trigger.parse(text)
    acted: list[int] = []
    for step in range(steps):
        if trigger.fires(step, step // per_epoch, len(acted), seed):
            acted.append(step)
    return acted


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("always", list(range(12))),
        ("once", [0]),
        ("step=0", [0]),
        ("step=7", [7]),
        ("step=12", []),
        ("epoch=0", [0, 1, 2, 3]),
        ("epoch=2", [8, 9, 10, 11]),
        ("every=1", list(range(12))),
        ("every=5", [0, 5, 10]),
        ("p=0", []),
        ("p=1", list(range(12))),
    ],
)
def test_a_trigger_fires_at_its_steps(text: str, steps: list[int]) -> None:
    assert _fired(text) == steps


def test_once_waits_until_the_fault_has_really_acted() -> None:
    trigger = Trigger("once")
    assert trigger.fires(step=9, epoch=2, acted=0)
    assert not trigger.fires(step=9, epoch=2, acted=1)


@given(st.floats(0.05, 0.95), st.integers(0, 2**32))
def test_a_probability_picks_the_same_steps_for_the_same_seed_and_about_as_many_as_it_says(p: float, seed: int) -> None:
    fired = _fired(f"p={p}", steps=2000, seed=seed)
    assert fired == _fired(f"p={p}", steps=2000, seed=seed)
    # Six standard deviations: a sound generator misses that once in five hundred million tries.
    assert abs(len(fired) - 2000 * p) < 6 * (2000 * p * (1 - p)) ** 0.5


def test_a_probability_picks_other_steps_for_another_seed() -> None:
    assert len({tuple(_fired("p=0.5", steps=64, seed=seed)) for seed in range(8)}) == 8


def test_whether_a_probability_fires_does_not_depend_on_the_steps_before() -> None:
    trigger = Trigger("p", 0.3)
    whole = [trigger.fires(step, 0, 0, seed=3) for step in range(50)]
    assert [trigger.fires(step, 0, 17, seed=3) for step in range(25, 50)] == whole[25:]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a.b@p=2", "@p needs a probability from 0 to 1, such as @p=0.1"),
        ("a.b@once,stage=x", "unknown stage 'x'; use one of train, validate, test, predict"),
        ("a.b@once,rank=-1", "rank needs a whole number, not '-1'"),
        ("a.b@once,seed=-1", "seed needs a whole number, not '-1'"),
        ("a.b@seed=" + "9" * 5000, "seed needs a smaller number than one of 5000 digits"),
        ("a.b@step=1=2", "step needs a number, not '1=2'"),
        ("a.b@step=" + "9" * 5000, "step needs a smaller number than one of 5000 digits"),
        ("a.b:x=" + "9" * 5000, "a dose needs a smaller number than one of 5000 digits"),
        ("a.b:x=1=2", "the dose x must be a number or a plain word, not '1=2'"),
        ("a.b@once,x=1,y=2", "unknown qualifier x, y in 'a.b@once,x=1,y=2'; use stage, rank or seed"),
    ],
)
def test_a_refusal_says_what_is_wrong_in_one_sentence(text: str, said: str) -> None:
    with pytest.raises(FaultSyntaxError) as refusal:
        Fault.parse(text)
    assert str(refusal.value) == said


def test_what_no_text_can_say_is_refused_too() -> None:
    for make, said in [
        (lambda: Trigger("once", rank=-1), "a rank is 0 or greater"),
        (lambda: Fault("a.b", seed=-1), "a seed must be 0 or greater"),
        (lambda: Trigger.parse("once,seed=1,x=2"), "unsupported qualifier of a trigger: seed, x; use stage or rank"),
    ]:
        with pytest.raises(FaultSyntaxError) as refusal:
            make()
        assert str(refusal.value) == said


def test_a_trigger_counts_in_whole_numbers() -> None:
    assert str(Trigger("step", 8.0)) == "step=8"


def test_a_fault_gets_the_trigger_that_the_plan_has_for_it() -> None:
    fault = Fault("a.b", {"x": 1}, None, 3)
    assert fault.with_trigger(Trigger("once")) == Fault("a.b", {"x": 1}, Trigger("once"), 3)


def test_faults_of_different_doses_have_different_hashes() -> None:
    assert len({hash(Fault("a.b", {"x": number})) for number in range(50)}) > 40


def test_the_steps_that_a_probability_picks_are_the_same_in_every_version() -> None:
    assert _fired("p=0.3", steps=20) == [4, 10, 16]
    assert [step for step in range(20) if Trigger("p", 0.3).fires(step, 0, 0)] == _fired("p=0.3", steps=20)
