"""Distances on the earth."""

from __future__ import annotations

from math import asin, cos, pi, radians, sin, sqrt

from livestream.steering.nodes import Place

EARTH_KM = 6371.0088
"""The mean radius (IUGG)."""

FARTHEST_KM = pi * EARTH_KM
"""Half way round."""


def distance_km(a: Place, b: Place) -> float:
    """
    The great-circle distance, by the haversine formula, which is exact enough for near places.

    A place that is none (a coordinate that is no number, or infinite) is as far away as can be.
    """
    try:
        north, south = radians(a.latitude), radians(b.latitude)
        rise = sin((north - south) / 2)
        turn = sin(radians(a.longitude - b.longitude) / 2)
        return 2 * EARTH_KM * asin(sqrt(min(1.0, rise * rise + cos(north) * cos(south) * turn * turn)))
    except ValueError:  # of an infinity
        return FARTHEST_KM
