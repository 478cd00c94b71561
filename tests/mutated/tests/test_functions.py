"""Tests of what is no training."""

import os
import subprocess
import sys
import unittest
from unittest import mock

from slopes import cached, crashes, loops, scales, tables


def test_the_table_that_was_made_at_import_is_right():
    assert tables.WEIGHTS == [1, 2, 3]
    assert tables.UNIT


def test_a_place_is_named_as_at_import():
    assert tables.place("Origin") == tables.PLACE


def test_powers_are_there():
    assert cached.powers()


def test_a_module_can_be_imported_late():
    from slopes import lazy

    assert lazy.SQUARES


def test_the_late_module_has_squares():
    from slopes.lazy import SQUARES

    assert SQUARES == [1, 4, 9]


def test_powers_are_those_of_two():
    assert cached.powers() == [1, 2, 4]


def test_powers_can_be_read_again():
    assert len(cached.powers()) > 1


def test_a_countdown_ends_at_one():
    assert loops.countdown(4) == 1


def test_rows_are_even():
    assert list(loops.rows(3)) == [0, 2, 4]


def test_nothing_falls_over_without_problems():
    assert crashes.fall_over(0) == 0


def test_nobody_gives_up_without_problems():
    assert crashes.give_up(0) == 0


def test_clamped_in_an_empty_environment():
    with mock.patch.dict(os.environ, clear=True):
        assert scales.Scale.clamp(-1) == 0
        assert scales.Scale.clamp(2) == 2


def test_a_derived_class_scales_by_its_own_factor():
    assert scales.Double.scaled(4) == 8
    assert scales.Double().doubled == 4


def test_a_program_says_the_answer():
    program = "from slopes import program; print(program.answer(7))"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "42\n"


def test_a_name_is_given():
    assert isinstance(scales.named("Slope"), str)


def test_a_half_is_added():
    assert scales.rounded(1) > 0


class TestSpan(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.found = scales.span([1, 2, 5])

    def test_it_is_a_number(self):
        assert isinstance(self.found, int)

    def test_it_goes_from_end_to_end(self):
        assert self.found == 4
