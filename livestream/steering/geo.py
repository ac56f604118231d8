"""Distances on the earth."""

from __future__ import annotations

from math import asin, cos, dist, isfinite, pi, radians, sin

from livestream.steering.nodes import Location

EARTH_KM = 6371.0088
"""The mean radius (IUGG)."""

FARTHEST_KM = pi * EARTH_KM
"""Half the circumference."""

Point = tuple[float, float, float]
"""A point on a sphere of diameter 1, or slightly less, so that rounding never makes a chord exceed 1."""

_RADIUS = 0.5 - 1e-15


def point(location: Location) -> Point | None:
    """The point of a location, computed once for many distances; ``None`` if a coordinate is not finite."""
    if not (isfinite(location.latitude) and isfinite(location.longitude)):
        return None
    north, east = radians(location.latitude), radians(location.longitude)
    ring = _RADIUS * cos(north)
    return ring * cos(east), ring * sin(east), _RADIUS * sin(north)


def between_km(a: Point, b: Point) -> float:
    """The great-circle distance, from the chord, since a cosine is imprecise for nearby points."""
    return 2 * EARTH_KM * asin(dist(a, b))


def distance_km(a: Location, b: Location) -> float:
    """The great-circle distance; an invalid location is as far away as possible."""
    from_here, to_there = point(a), point(b)
    return FARTHEST_KM if from_here is None or to_there is None else between_km(from_here, to_there)
