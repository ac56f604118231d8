"""
Which edge serves which viewer: the nearest, unless it is busy.

Each edge costs a viewer kilometres, and the cheapest is the best::

    distance + LOAD_KM * u / (1.01 - u) + SPREAD_KM * (ln(draw) - ln(room))

- ``distance`` is as the crow flies. Where either place is unknown, an edge of the viewer's own region is near and any
  other far; of a viewer of whom nothing is known, load alone decides.
- ``u`` is the share of the edge's capacity that is in use: of its requests, its link, or of how late its reactor may
  be, whichever is the scarcest. The penalty is nothing to an idle edge, as much as 100 km at half its capacity, and as
  much as 1,600 km at 95 %, so that viewers spill over to the next region before an edge is full and not after. One that
  is full is chosen only when all are.
- What edges say of themselves is a second old, and in that second a stampede brings thousands of viewers who are all
  shown the same picture. Were all of them sent to whoever is best in it, that one would be overrun. So each viewer has
  a ``draw`` for each edge, exponentially distributed and always the same. Among edges that cost the same, that spreads
  viewers in proportion to the ``room`` that each has, which is the most even filling there is; the farther apart the
  costs are, compared with SPREAD_KM, the more viewers take the cheaper (this is a softmax, by the Gumbel-max trick).

A viewer who is at an edge stays there until another costs clearly less, and by the distance and the load of both, not
by the draw. An edge that is nearly full keeps those that it has: only whoever comes new is sent past it.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import log

from attrs import define, field, frozen

from livestream.steering.geo import Point, between_km, point
from livestream.steering.nodes import Node, NodeState, Place

LOAD_KM = 100.0
SPREAD_KM = 50.0
OTHER_REGION_KM = 5000.0

LATE_MS = 500.0
"""An edge whose reactor is so late is full."""

STAY_KM = 200.0
STAY_FACTOR = 1.5
"""Another edge is clearly better when it costs less by this factor and by so much."""
HELD_KM = 500.0
"""The load of an edge weighs no more than this for those who are there."""

OVERLOAD_KM = 2000.0
"""When all are full, twice the load that an edge can carry is as bad as so much distance."""

FULL_KM = 1e6
DRAINING_KM = 1e7
STARTING_KM = 1e8
"""Far beyond anything that edges in a better state can cost."""

WORST = 100.0
"""No edge is fuller than this; one whose numbers make no sense is."""
WORST_KM = OVERLOAD_KM * WORST

MOST_MBPS = 1e9

DRAWS = 1 << 14
"""How many draws there are; two edges whose ids hash to the same have the same draws."""

TIE_KM = 1e-3
"""Edges that are alike in everything cost less than this more or less, by their ids."""

FORGOTTEN = 64
"""So many edges that are gone, beside as many as there are, may be remembered."""


@frozen
class Viewer:
    """
    Who asks for an edge.

    ``region`` counts where a place is unknown. ``current`` is the id of the edge that the viewer is at, and ``key``
    tells it from others who ask in the same second; it should stay the same while the viewer watches.
    """

    place: Place | None = None
    region: str = ""
    current: str = ""
    key: str = ""


def used(edge: Node) -> float:
    """The share of its capacity that is in use; it is full at 1, and may be over. What makes no sense is full."""
    load = edge.load
    if not (edge.capacity_rps > 0 and edge.capacity_mbps > 0):
        return WORST
    shares = (
        load.requests_per_s / edge.capacity_rps,
        load.bits_per_s / edge.capacity_mbps / 1e6,
        load.delay_ms / LATE_MS,
    )
    return max(0.0, *shares) if all(share < WORST for share in shares) else WORST


def is_full(edge: Node) -> bool:
    """Whether nobody is to be sent there while any other has room."""
    return used(edge) >= 1.0


@frozen
class _Standing:
    """What an edge costs, wherever the viewer is: its load, and with that its state and how little room it has."""

    node: Node
    point: Point | None
    draw: int
    load_km: float
    own_km: float


@define(eq=False)
class Balance:
    """Orders edges for viewers. What it works out about an edge it keeps until that says something new."""

    _standings: dict[str, _Standing] = field(factory=dict, init=False)

    def order(self, viewer: Viewer, edges: Sequence[Node]) -> list[Node]:
        """All edges, best first: full ones after all that have room, then those that drain, then those that start."""
        here = None if viewer.place is None else point(viewer.place)
        draw, draws, known = _hashed(viewer.key) % DRAWS, _DRAWS_KM, self._standings
        costs_km: list[float] = []
        for edge in edges:
            standing = known.get(edge.id)
            if standing is None or standing.node is not edge:
                standing = known[edge.id] = _standing(edge)
            there = standing.point
            far_km = between_km(here, there) if here and there else _unmeasured_km(viewer, edge)
            costs_km.append(far_km + standing.own_km + draws[draw ^ standing.draw])
        ordered = [edges[index] for index in sorted(range(len(edges)), key=costs_km.__getitem__)]
        self._forget(edges)
        return self._staying(viewer, ordered) if viewer.current else ordered

    def _staying(self, viewer: Viewer, ordered: list[Node]) -> list[Node]:
        """The same, but first of all where the viewer is, if no other is clearly better."""
        current = next((edge for edge in ordered if edge.id == viewer.current), None)
        if current is None or current is ordered[0] or _tier_km(current) > _tier_km(ordered[0]):
            return ordered
        best_km = self._fixed_km(viewer, ordered[0], WORST_KM)
        if best_km * STAY_FACTOR + STAY_KM < self._fixed_km(viewer, current, HELD_KM):
            return ordered
        return [current, *(edge for edge in ordered if edge is not current)]

    def _fixed_km(self, viewer: Viewer, edge: Node, most_km: float) -> float:
        """Distance and load, without the draw."""
        here, standing = None if viewer.place is None else point(viewer.place), self._standings[edge.id]
        if here is None or standing.point is None:
            return _unmeasured_km(viewer, edge) + min(most_km, standing.load_km)
        return between_km(here, standing.point) + min(most_km, standing.load_km)

    def _forget(self, edges: Sequence[Node]) -> None:
        if len(self._standings) > 2 * len(edges) + FORGOTTEN:
            present = {edge.id for edge in edges}
            self._standings = {name: held for name, held in self._standings.items() if name in present}


def _standing(edge: Node) -> _Standing:
    share = used(edge)
    load_km = LOAD_KM * share / (1.01 - share) if share < 1 else OVERLOAD_KM * share
    room = min(MOST_MBPS, max(1.0, edge.capacity_mbps)) * (1.01 - min(share, 1.0))
    hashed = _hashed(edge.id)
    own_km = load_km + _tier_km(edge) - SPREAD_KM * log(room) + TIE_KM * hashed / 2**64
    return _Standing(edge, None if edge.place is None else point(edge.place), hashed % DRAWS, load_km, own_km)


def _tier_km(edge: Node) -> float:
    if edge.state is not NodeState.READY:
        return DRAINING_KM if edge.state is NodeState.DRAINING else STARTING_KM
    return FULL_KM if is_full(edge) else 0.0


def _unmeasured_km(viewer: Viewer, edge: Node) -> float:
    is_unknown = viewer.place is None and not viewer.region
    return 0.0 if is_unknown or (viewer.region and viewer.region == edge.region) else OTHER_REGION_KM


def _hashed(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _draws_km() -> tuple[float, ...]:
    """The logarithms of exponentially distributed draws, evenly, in an order that looks like none."""
    shuffled = sorted(range(DRAWS), key=lambda number: blake2b(b"%d" % number, digest_size=8).digest())
    return tuple(SPREAD_KM * log(-log((number + 0.5) / DRAWS)) for number in shuffled)


_DRAWS_KM = _draws_km()
