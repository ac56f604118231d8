"""Waits are counted while something is expected, and only then."""

from __future__ import annotations

from tests.lab.waits import LongestWait


def test_nothing_is_expected_before_the_first_event() -> None:
    wait = LongestWait()
    wait.note(100)
    wait.happened(200)
    assert wait.longest_s == 0


def test_the_longest_wait_is_between_events_or_after_the_last() -> None:
    wait = LongestWait()
    for at in (0, 3, 4):
        wait.happened(at)
    assert wait.longest_s == 3
    wait.note(9)
    assert wait.longest_s == 5


def test_the_time_in_which_nothing_is_expected_is_left_out() -> None:
    wait = LongestWait()
    wait.happened(0)
    wait.expect(False, 1)
    wait.happened(50)
    wait.expect(True, 100)
    wait.happened(102)
    assert wait.longest_s == 2
