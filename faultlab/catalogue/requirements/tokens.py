"""Requirements on text: labels that are its tokens, prompts and padding that are not learned, packed samples."""

from __future__ import annotations

from faultlab.catalogue.requirements import requirement
from faultlab.core.target_profile import TargetProfile


@requirement("token-labels")
def _token_labels(profile: TargetProfile) -> str:
    return profile.unlabelled or ("" if "labels" in profile.tokens else "the labels are not the tokens of a text")


@requirement("ignored-prompt")
def _ignored_prompt(profile: TargetProfile) -> str:
    return _token_labels(profile) or ("" if "prompt" in profile.tokens else "every label of the text is learned")


@requirement("ignored-padding")
def _ignored_padding(profile: TargetProfile) -> str:
    return profile.unlabelled or ("" if "padding" in profile.tokens else "no label is ignored as padding")


@requirement("hiding-mask")
def _hiding_mask(profile: TargetProfile) -> str:
    return "" if "mask" in profile.tokens else "no input is a mask that hides anything"


@requirement("packed-samples")
def _packed_samples(profile: TargetProfile) -> str:
    return "" if "packed" in profile.tokens else "no input distinguishes samples that share a row"


@requirement("padded-validation")
def _padded_validation(profile: TargetProfile) -> str:
    if not profile.validation_batches:
        return "there is no validation loop"
    if not set(profile.leaves) <= set(profile.validation_leaves):
        return "the validation batch does not have the parts of the training batch"
    return _ignored_padding(profile)
