"""What comes later than before is said by how much, whatever time line a connection has."""

from __future__ import annotations

import pytest

from tests.lab.lag import LEAST_BEFORE, Lag


def test_what_comes_later_than_before_is_said_by_how_much() -> None:
    lag = Lag()
    for number in range(LEAST_BEFORE):
        lag.note(1, 100 + number / 10, 5000 + 100 * number)
    for number, late_s in enumerate((0.1, 0.2, 0.3)):
        lag.note(1, 110 + number + late_s, 15000 + 1000 * number)
    lag.note(1, 200, 0)
    assert lag.added(110, 120) == pytest.approx([0.1, 0.2, 0.3])


def test_a_connection_that_is_new_says_nothing() -> None:
    lag = Lag()
    for number in range(LEAST_BEFORE):
        lag.note(1, 100 + number / 10, 100 * number)
    lag.note(2, 111, 0)
    assert lag.added(110, 120) == []
