"""
Which edge serves which viewer: the nearest, unless it is busy.

Each edge costs a viewer so many kilometres, and the cheapest is the best::

    cost = distance + load + caution + spread
    load = LOAD_KM * used / (1.01 - used)
    caution = CAUTION * load, if (NEARLY_FULL - used) / HERD is below the viewer's lot for this edge, otherwise 0
    spread = (SPREAD_KM + SPREAD * cheapest) * (ln(-ln(another lot)) - ln(room))

- ``distance`` is as the crow flies. Where either place is unknown, an edge of the viewer's own region is near and any
  other far; of a viewer of whom nothing is known, load alone decides.
- ``used`` is the share of the edge's capacity that is in use: of its requests, of its link, or of how late its reactor
  may be, whichever is scarcest. To an idle edge ``load`` adds nothing, at half its capacity 100 km, at 95 % 1,600 km:
  viewers spill over to the next region before theirs is full, and not after.

What edges say of themselves is a second old, and in that second a stampede brings thousands who are all shown the same
picture. Were they all sent to whoever is best in it, that one would be overrun. So each viewer has lots, from 0 to 1 by
hashes of its key and the edge's id, which never change:

- ``spread`` spreads them over edges that cost much the same, in proportion to the room that each has: the most even
  filling there is. This is a softmax, by the Gumbel-max trick. Edges cost "much the same" the more easily the dearer
  the cheapest of them is: ten kilometres matter to one who is near, and not to one who has to go far.
- ``caution`` lets an edge in at once only so large a share of a herd as fits into it, when the herd is as large as HERD
  of its capacity; that is what the loss of one of its neighbours brings.

An edge that is nearly full takes new viewers only when all are, and one that is full only when all are full. An edge
that is cut off from the bus takes new viewers only when all are: it may be dead, and what it carries is not known.

A viewer who is somewhere stays until another edge costs clearly less than the mere distance to the one where it is: an
edge keeps whom it has. Of one that is full only a part moves, the more the fuller it is, since whoever asks in the next
second does not know yet that others have gone.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import log
from typing import NamedTuple

from attrs import define, field, frozen

from livestream.steering.geo import Point, between_km, point
from livestream.steering.nodes import Node, NodeState, Place

LOAD_KM = 100.0
OTHER_REGION_KM = 5000.0

LATE_MS = 500.0
"""An edge whose reactor is so late is full."""

CAUTION = 10.0
HERD = 0.6
SPREAD_KM = 20.0
SPREAD = 0.2

STAY_FACTOR = 1.5
STAY_KM = 200.0
"""Another edge is clearly better when it costs less by this factor and by so much."""
SHED = 4.0
"""Of a full edge such a multiple moves away of what it has too much, whenever all its viewers have asked again."""

NEARLY_FULL = 0.97
NEARLY_FULL_KM = 1e5
FULL_KM = 1e6
OVERLOAD_KM = 2000.0
"""When all are full, twice the load that an edge can carry is as bad as so much distance."""
DRAINING_KM = 1e7
STARTING_KM = 1e8
CUT_OFF_KM = 1e9
"""Each is beyond anything that edges in a better state can cost."""
STATE_KM = {NodeState.DRAINING: DRAINING_KM, NodeState.STARTING: STARTING_KM, NodeState.CUT_OFF: CUT_OFF_KM}

WORST = 100.0
"""No edge uses a larger share of its capacity; one whose numbers make no sense uses this."""
MOST_MBPS = 1e9

LOTS = 1 << 14
ENTERS, LEAVES = 0x2A51, 0x1594
"""They make the lots for getting in and for having to go others than those for the spread."""
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


class _Standing(NamedTuple):
    """What an edge is to all viewers. ``own_km`` is what it costs beside the distance and what is drawn for by lot."""

    node: Node
    point: Point | None
    lot: int
    log_room: float
    admits: float
    caution_km: float
    own_km: float
    load_km: float
    used: float


@define(eq=False)
class Balance:
    """Orders edges for viewers. What it works out about an edge it keeps until that says something new."""

    _standings: dict[str, _Standing] = field(factory=dict, init=False)

    def order(self, viewer: Viewer, edges: Sequence[Node]) -> list[Node]:
        """
        All edges, best first: full ones after all that have room, then those that drain, those that start, and those
        that are cut off from the bus.
        """
        here = None if viewer.place is None else point(viewer.place)
        known, lots, draws, own_lot = self._standings, _LOTS, _DRAWS, _hashed(viewer.key) % LOTS
        standings: list[_Standing] = []
        costs_km: list[float] = []
        luck: list[float] = []
        for edge in edges:
            standing = known.get(edge.id)
            if standing is None or standing.node is not edge:
                standing = known[edge.id] = _standing(edge)
            _, there, lot, log_room, admits, caution_km, cost_km, _, _ = standing
            lot ^= own_lot
            cost_km += between_km(here, there) if here and there else _unmeasured_km(viewer, edge)
            costs_km.append(cost_km if lots[lot ^ ENTERS] < admits else cost_km + caution_km)
            luck.append(draws[lot] - log_room)
            standings.append(standing)
        spread_km = SPREAD_KM + SPREAD * (min(costs_km, default=0.0) % NEARLY_FULL_KM)
        costs_km = [cost_km + spread_km * each for cost_km, each in zip(costs_km, luck, strict=True)]
        ordered = [standings[index] for index in sorted(range(len(edges)), key=costs_km.__getitem__)]
        self._forget(edges)
        return [standing.node for standing in (_staying(viewer, here, ordered) if viewer.current else ordered)]

    def _forget(self, edges: Sequence[Node]) -> None:
        if len(self._standings) > 2 * len(edges) + FORGOTTEN:
            present = {edge.id for edge in edges}
            self._standings = {name: held for name, held in self._standings.items() if name in present}


def _standing(edge: Node) -> _Standing:
    share, hashed = used(edge), _hashed(edge.id)
    load_km = LOAD_KM * share / (1.01 - share) if share < 1 else OVERLOAD_KM * share
    return _Standing(
        node=edge,
        point=None if edge.place is None else point(edge.place),
        lot=hashed % LOTS,
        used=share,
        log_room=log(min(MOST_MBPS, max(1.0, edge.capacity_mbps)) * (1.01 - min(share, 1.0))),
        admits=(NEARLY_FULL - share) / HERD,
        caution_km=CAUTION * load_km if share < NEARLY_FULL else 0.0,
        load_km=load_km,
        own_km=load_km + _state_km(edge, share) + TIE_KM * hashed / 2**64,
    )


def _state_km(edge: Node, share: float) -> float:
    if edge.state is not NodeState.READY:
        return STATE_KM[edge.state]
    if share < 1:
        return NEARLY_FULL_KM if share >= NEARLY_FULL else 0.0
    return FULL_KM


def _staying(viewer: Viewer, here: Point | None, ordered: list[_Standing]) -> list[_Standing]:
    """The same, but first of all where the viewer is, unless it should go."""
    current = next((standing for standing in ordered if standing.node.id == viewer.current), None)
    if current is None or current is ordered[0] or _goes(viewer, here, current, ordered[0]):
        return ordered
    return [current, *(standing for standing in ordered if standing is not current)]


def _goes(viewer: Viewer, here: Point | None, current: _Standing, best: _Standing) -> bool:
    if current.node.state is NodeState.CUT_OFF:  # who watches there knows that it answers
        return best.node.is_ready and best.used < 1
    if not current.node.is_ready or not best.node.is_ready:
        return not current.node.is_ready
    if current.used >= 1:
        lot = _LOTS[_hashed(viewer.key) % LOTS ^ current.lot ^ LEAVES]
        return best.used < 1 and lot < SHED * (current.used - NEARLY_FULL)
    best_km = _far_km(viewer, here, best) + best.load_km
    return best.used < 1 and best_km * STAY_FACTOR + STAY_KM < _far_km(viewer, here, current)


def _far_km(viewer: Viewer, here: Point | None, standing: _Standing) -> float:
    return between_km(here, standing.point) if here and standing.point else _unmeasured_km(viewer, standing.node)


def _unmeasured_km(viewer: Viewer, edge: Node) -> float:
    is_unknown = viewer.place is None and not viewer.region
    return 0.0 if is_unknown or (viewer.region and viewer.region == edge.region) else OTHER_REGION_KM


def _hashed(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _lots() -> tuple[float, ...]:
    """Numbers in (0, 1), evenly, in an order that looks like none: what is drawn at the place of two hashes."""
    shuffled = sorted(range(LOTS), key=lambda number: blake2b(b"%d" % number, digest_size=8).digest())
    return tuple((number + 0.5) / LOTS for number in shuffled)


_LOTS = _lots()
_DRAWS = tuple(log(-log(lot)) for lot in _LOTS)
