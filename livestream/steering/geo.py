"""Distances on the earth."""

from __future__ import annotations

from math import asin, cos, dist, isfinite, pi, radians, sin

from livestream.steering.nodes import Place

EARTH_KM = 6371.0088
"""The mean radius (IUGG)."""

FARTHEST_KM = pi * EARTH_KM
"""Half way round."""

Point = tuple[float, float, float]
"""A place on a globe that is one wide, less what rounding might add to the straight line between two such places."""

_RADIUS = 0.5 - 1e-15


def point(place: Place) -> Point | None:
    """Where a place is in space, worked out once for many distances; ``None`` where a coordinate is no number."""
    if not (isfinite(place.latitude) and isfinite(place.longitude)):
        return None
    north, east = radians(place.latitude), radians(place.longitude)
    ring = _RADIUS * cos(north)
    return ring * cos(east), ring * sin(east), _RADIUS * sin(north)


def between_km(a: Point, b: Point) -> float:
    """The great-circle distance: from the chord, since a cosine tells near places apart badly."""
    return 2 * EARTH_KM * asin(dist(a, b))


def distance_km(a: Place, b: Place) -> float:
    """The great-circle distance; a place that is none is as far away as can be."""
    from_here, to_there = point(a), point(b)
    return FARTHEST_KM if from_here is None or to_there is None else between_km(from_here, to_there)
