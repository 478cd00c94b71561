"""Which part of a model is taken for what gives the predictions, and which parts of a batch for labels."""

from __future__ import annotations

from typing import Any

import pytest
from torch.utils.data import DataLoader

from faultlab.catalogue.injection_points import Batch, HeadInput, ModuleArguments
from faultlab.catalogue.requirements import REQUIREMENTS
from faultlab.core.part_facts import LoaderFacts
from faultlab.core.predictions import Call, giver
from faultlab.core.target_profile import TargetProfile
from tests.injection.outer import probed
from tests.zoo import foreign, parts


@pytest.mark.parametrize(
    ("factory", "forward", "inputs", "labels"),
    [
        (parts.two_embeddings, "score", ("0",), ("1",)),
        (parts.watched, "net", ("0",), ("1",)),
        (parts.forward_gives_nothing, "net", ("0",), ("1",)),
        (parts.own_criterion, "net", ("0",), ("1",)),
        (parts.learnt_criterion, "net", ("0",), ("1",)),
        (parts.judged, "generator", ("0",), ("1",)),
        (parts.encoding_forward, "decoder", ("0",), ()),
        (parts.variational, "decoder", ("0",), ()),
        (parts.inner_loss, "noising.net", ("0",), ()),
        (parts.frozen_backbone, "head", ("0",), ("1",)),
        (parts.language_model, "net", ("input_ids",), ()),
        (parts.translator, "head", ("source",), ("reply",)),
        (parts.actor_critic, "actor", ("state",), ()),
        (parts.last_of_sequences, "net", ("x", "lengths"), ("y",)),
        (foreign.headed, "heads.value", ("0",), ("1",)),
        (foreign.autoencoder, "net", ("x", "group"), ()),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_what_gives_the_predictions_is_found_by_the_data(
    factory: Any, forward: str, inputs: tuple[str, ...], labels: tuple[str, ...]
) -> None:
    module, data = factory()
    profile = probed(module, data if isinstance(data, tuple) else (data, None))
    assert (profile.forward, profile.inputs, profile.labels) == (forward, inputs, labels)


@pytest.mark.parametrize("factory", [parts.encoding_forward, parts.variational, parts.language_model])
def test_inputs_that_are_their_own_labels_are_not_said_to_be_inputs_alone(factory: Any) -> None:
    profile = probed(*factory())
    assert profile.own_labels == profile.inputs[:1]
    reason = "the labels are the inputs themselves, and can't be broken apart from them"
    assert [REQUIREMENTS["labels"](profile), Batch("labels").inapplicable(profile)] == [reason] * 2


def test_noise_that_is_drawn_like_an_input_makes_no_label_of_it() -> None:
    profile = probed(*parts.inner_loss())
    assert (profile.own_labels, REQUIREMENTS["labels"](profile)) == ((), "no part of the batch is used as labels")


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        (parts.two_embeddings, "no layer with parameters runs in the part that computes the predictions"),
        (parts.frozen_backbone, "there is nothing trainable before the last layer"),
        (parts.encoding_forward, ""),
    ],
)
def test_a_graph_is_cut_midway_only_where_something_learns_before_the_last_layer(factory: Any, reason: str) -> None:
    assert HeadInput().inapplicable(probed(*factory())) == reason


def test_two_embeddings_are_two_layers_and_a_weight_with_its_bias_is_one() -> None:
    assert REQUIREMENTS["several-layers"](probed(*parts.two_embeddings())) == ""
    single = probed(*parts.forward_gives_nothing())
    assert REQUIREMENTS["several-layers"](single) == "the module has a single trainable layer"


def test_of_parts_in_line_the_last_counts_and_of_parts_side_by_side_the_largest() -> None:
    encoder, decoder = Call("encoder", size=64), Call("decoder", fed_by=frozenset([0]), size=8)
    assert giver([encoder, decoder], {0, 1}, ()) is decoder
    actor, critic = Call("actor", size=24), Call("critic", size=8)
    assert giver([actor, critic], {0, 1}, ()) is actor
    assert giver([actor, critic], (), ()) is None


def test_numbers_that_are_only_compared_with_each_other_are_no_classes() -> None:
    persons, classes = probed(*parts.contrasted()), probed(*parts.counted_classes())
    assert (persons.labels, persons.names, classes.labels, classes.names) == (("1",), ("1",), ("1",), ())
    assert "compared with each other" in REQUIREMENTS["class-scores"](persons)
    assert [REQUIREMENTS["class-labels"](persons), REQUIREMENTS["class-scores"](classes)] == ["", ""]


def test_a_part_that_is_handed_what_another_has_made_and_does_not_use_it_comes_not_after_it() -> None:
    actor, inner = Call("actor", size=24), Call("critic.net", size=8)
    critic = Call("critic", fed_by=frozenset([0]), within=frozenset([1]), size=8)
    assert giver([actor, inner, critic], {0, 2}, ()) is actor


def test_the_modules_own_forward_counts_if_the_loss_goes_by_it() -> None:
    own, head = Call("", size=8), Call("head", fed_by=frozenset([0]))
    assert giver([own, head], {1}, ()) is own
    assert giver([Call("", graph=False), head], {1}, ()) is head


def test_a_part_that_is_given_labels_and_learns_nothing_is_a_loss() -> None:
    net = Call("net", size=8)
    criterion = Call("criterion", fed_by=frozenset([0]), untouched=frozenset(["1"]), learns=False, size=8)
    assert giver([net, criterion], {1}, ("1",)) is net
    assert giver([net, criterion], {1}, ()) is criterion


def test_parts_that_are_fed_with_each_others_outputs_are_no_judges() -> None:
    there, back = Call("there"), Call("back", fed_by=frozenset([0]))
    returned, again = Call("back"), Call("there", fed_by=frozenset([2]))
    assert giver([there, back, returned, again], {1, 3}, ()) is again


def test_why_a_mode_does_not_apply_is_true_of_this_target() -> None:
    module, (train, _) = parts.watched()
    whole = [DataLoader(train.dataset, batch_size=len(train.dataset)), None]
    repeated = probed(module, whole, max_epochs=3)
    assert REQUIREMENTS["differing-batches"](repeated) == "every step of the clean run receives the same batch"
    assert REQUIREMENTS["differing-batches"](probed(*parts.watched())) == ""
    assert ModuleArguments().inapplicable(TargetProfile(takes=None)) == "the module's class cannot be found by its name"
    assert ModuleArguments().inapplicable(TargetProfile(takes=())) == "the module's class takes no arguments"
    passed = ModuleArguments().inapplicable(TargetProfile(takes=("net",)))
    assert passed == "no argument of the module is known to be a number or a string"
    limited = TargetProfile(loading=LoaderFacts(batches=4))
    assert REQUIREMENTS["sized-loader"](limited) == "the training loader has no length"
