"""The sections of an injector's docstring."""

from __future__ import annotations

import re

from faultlab.catalogue import index, measured
from faultlab.catalogue.docstring_sections import parse_sections


def test_a_docstring_is_split_into_its_sections() -> None:
    sections = parse_sections(
        """The loss is
        lost.

        Effect: one thing
        and another.
        Why it goes undetected: nobody: looks.

        Or they look away.
        Example:
            def loss(self):
                return None
        Remedy:
        look.
        """
    )
    assert sections.summary == "The loss is lost."
    assert sections.effect == "One thing and another."
    assert sections.undetected == "Nobody: looks.\n\nOr they look away."
    assert sections.example == "    def loss(self):\n        return None"
    assert sections.remedy == "Look."
    assert sections.missing() == []


def test_what_follows_the_first_paragraph_are_details() -> None:
    sections = parse_sections("One sentence.\n\nMore of it\nhere.\n\nEffect: none.")
    assert (sections.summary, sections.details, sections.effect) == ("One sentence.", "More of it here.", "None.")


def test_a_docstring_says_which_sections_it_lacks() -> None:
    assert parse_sections(None).missing() == ["summary", "Effect", "Why it goes undetected", "Example", "Remedy"]
    assert parse_sections("One.\n\nRemedy: two.").missing() == ["Effect", "Why it goes undetected", "Example"]


_OF_LIGHTNING = re.compile(
    r"Trainer|trainer\.|EarlyStopping|(?<!set_)detect_anomaly|callback_metrics|self\.log|training_step|validation_step|configure_|`on_|gradient_clip_val"
)


def test_a_remedy_for_loops_too_says_which_of_its_means_are_those_of_lightning() -> None:
    in_loops = {mode for mode, models in measured.tables()["torch"].modes.items() if models}
    remedies = {id: mode.sections.remedy for id, mode in index.modes().items() if id in in_loops}
    assert len(remedies) > 200
    for_lightning_alone = [id for id, text in remedies.items() if _OF_LIGHTNING.search(text.partition("Lightning")[0])]
    assert for_lightning_alone == []
