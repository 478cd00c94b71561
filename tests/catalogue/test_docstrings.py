"""The sections of an injector's docstring."""

from __future__ import annotations

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
