"""Distances against known ones, and what any two places have in common."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from livestream.steering.geo import FARTHEST_KM, distance_km
from livestream.steering.nodes import Location
from tests.steering.nodes import LONDON, NEW_YORK, PARIS, TOKYO

PLACES = st.builds(Location, st.floats(-90, 90), st.floats(-180, 180))
ANYTHING = st.builds(Location, st.floats(), st.floats())


@pytest.mark.parametrize(
    ("a", "b", "km"),
    [
        (PARIS, LONDON, 343.6),
        (PARIS, NEW_YORK, 5837.2),
        (LONDON, TOKYO, 9558.7),
        (Location(0, 179.5), Location(0, -179.5), 111.2),
        (Location(90, 0), Location(90, 120), 0.0),
        (Location(0, 0), Location(0, 180), 20015.1),
        (Location(12.5, 77.25), Location(-12.5, -102.75), 20015.1),
    ],
)
def test_known_distances_are_met(a: Location, b: Location, km: float) -> None:
    assert distance_km(a, b) == pytest.approx(km, rel=2e-4, abs=0.05)


@given(PLACES, PLACES)
def test_a_distance_is_the_same_both_ways_and_never_more_than_half_way_round(a: Location, b: Location) -> None:
    assert 0 <= distance_km(a, b) <= FARTHEST_KM
    assert distance_km(a, b) == pytest.approx(distance_km(b, a), abs=1e-6)
    assert distance_km(a, a) == 0


@given(PLACES, PLACES, PLACES)
def test_no_detour_is_shorter(a: Location, b: Location, c: Location) -> None:
    assert distance_km(a, c) <= distance_km(a, b) + distance_km(b, c) + 1e-3


@given(ANYTHING, ANYTHING)
def test_what_is_no_place_is_at_a_distance_all_the_same(a: Location, b: Location) -> None:
    assert 0 <= distance_km(a, b) <= FARTHEST_KM


def test_a_place_that_is_none_is_as_far_as_can_be() -> None:
    for bad in (Location(float("nan"), 0), Location(0, float("inf")), Location(float("-inf"), float("nan"))):
        assert distance_km(PARIS, bad) == FARTHEST_KM
