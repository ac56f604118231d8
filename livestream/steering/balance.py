"""
Which edge serves which viewer: the nearest, unless it is busy.

Each edge costs a viewer so many kilometres, and the cheapest is the best::

    cost = distance + load + caution + spread
    load = LOAD_KM * used / (1.01 - used)
    caution = CAUTION * load, if (NEARLY_FULL - used) / HERD is below the viewer's draw for this edge, otherwise 0
    spread = (SPREAD_KM + SPREAD * cheapest) * (ln(-ln(another draw)) - ln(room))

- ``distance`` is the great-circle distance. Where either location is unknown, an edge in the viewer's own region is
  near and any other far; for a viewer of whom nothing is known, load alone decides.
- ``used`` is the edge's utilisation: of its requests, of its link, or of how late its reactor may be, whichever is
  scarcest. ``load`` adds nothing to an idle edge, 100 km at half its capacity and 1,600 km at 95 %: viewers spill over
  to the next region before theirs is full, and not after.

The load that edges report is a second old, and in that second a stampede brings thousands of viewers who are all
decided on the same figures. Sent to the one best edge, they would overrun it. So each viewer has pseudo-random draws
from 0 to 1 for each edge, hashes of its key and the edge's id, which never change:

- ``spread`` spreads viewers over edges of similar cost, in proportion to the room that each has, which fills them most
  evenly. This is a softmax, by the Gumbel-max trick. The higher the cost of the cheapest edge, the larger a difference
  counts as similar: ten kilometres matter to a viewer who is near, and not to one who is far from every edge.
- ``caution`` admits only such a share of a herd at once as fits into the edge, if the herd is as large as HERD of its
  capacity, which is what the loss of a neighbouring edge brings.

An edge that is nearly full takes new viewers only when all are, and one that is full only when all are full. An edge
that is cut off from the bus takes new viewers only when all are: it may be dead, and its load is unknown.

A viewer stays at its current edge until another one's distance and load together are clearly less than the mere
distance to the current one: edges keep their viewers. From a full edge only some viewers move, the more the fuller it
is, since those who ask in the next second do not know yet that others have left.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from math import log
from typing import NamedTuple

from attrs import define, field, frozen

from livestream.steering.geo import Point, between_km, point
from livestream.steering.nodes import Location, Node, NodeState

LOAD_KM = 100.0
OTHER_REGION_KM = 5000.0

LATE_MS = 500.0
"""An edge whose reactor is this late is full."""

CAUTION = 10.0
HERD = 0.6
SPREAD_KM = 20.0
SPREAD = 0.2

STAY_FACTOR = 1.5
STAY_KM = 200.0
"""Another edge is clearly better if it costs less by this factor and by this distance on top."""
SHED_FACTOR = 4.0
"""Once all viewers of a full edge have asked again, this multiple of its excess load has moved away."""

NEARLY_FULL = 0.97
NEARLY_FULL_KM = 1e5
FULL_KM = 1e6
OVERLOAD_KM = 2000.0
"""When all edges are full, an edge's load is multiplied by this."""
DRAINING_KM = 1e7
STARTING_KM = 1e8
CUT_OFF_KM = 1e9
"""Each exceeds any cost of an edge in a better state."""
STATE_KM = {NodeState.DRAINING: DRAINING_KM, NodeState.STARTING: STARTING_KM, NodeState.CUT_OFF: CUT_OFF_KM}

MAX_UTILISATION = 100.0
"""The highest utilisation; also that of an edge whose figures are invalid."""
MAX_MBPS = 1e9

DRAWS = 1 << 14
ENTER_SALT, LEAVE_SALT = 0x2A51, 0x1594
"""They make the draws for being admitted and for having to move independent of those for the spread."""
TIE_KM = 1e-3
"""Identical edges differ in cost by less than this, by their ids."""

MAX_STALE = 64
"""How many costs of edges that have left may be kept, beside as many as there are edges."""


@frozen
class Viewer:
    """
    A viewer who needs an edge.

    ``region`` is used where a location is unknown. ``current`` is the id of the viewer's current edge, if any, and
    ``key`` distinguishes it from other viewers; it should stay the same while the viewer watches.
    """

    location: Location | None = None
    region: str = ""
    current: str = ""
    key: str = ""


def used(edge: Node) -> float:
    """The share of its capacity that is in use: full at 1, and possibly more. Invalid figures count as full."""
    load = edge.load
    if not (edge.capacity_rps > 0 and edge.capacity_mbps > 0):
        return MAX_UTILISATION
    shares = (
        load.requests_per_s / edge.capacity_rps,
        load.bits_per_s / edge.capacity_mbps / 1e6,
        load.delay_ms / LATE_MS,
    )
    return max(0.0, *shares) if all(share < MAX_UTILISATION for share in shares) else MAX_UTILISATION


def is_full(edge: Node) -> bool:
    """Whether the edge has no room for new viewers."""
    return used(edge) >= 1.0


class _EdgeCost(NamedTuple):
    """The part of an edge's cost that is the same for all viewers; ``own_km`` is what it adds to the distance."""

    node: Node
    point: Point | None
    slot: int
    log_room: float
    admits: float
    caution_km: float
    own_km: float
    load_km: float
    used: float


@define(eq=False)
class Balance:
    """Orders edges for viewers. Caches what it computes for an edge until the edge's next heartbeat."""

    _costs: dict[str, _EdgeCost] = field(factory=dict, init=False)

    def order(self, viewer: Viewer, edges: Sequence[Node]) -> list[Node]:
        """
        All edges, best first: full ones after those with room, then the draining, the starting, and those that are cut
        off from the bus.
        """
        here = None if viewer.location is None else point(viewer.location)
        known, uniform, gumbel, own_slot = self._costs, _UNIFORM, _GUMBEL, _hashed(viewer.key) % DRAWS
        costs: list[_EdgeCost] = []
        costs_km: list[float] = []
        noise: list[float] = []
        for edge in edges:
            cost = known.get(edge.id)
            if cost is None or cost.node is not edge:
                cost = known[edge.id] = _edge_cost(edge)
            _, there, slot, log_room, admits, caution_km, cost_km, _, _ = cost
            slot ^= own_slot
            cost_km += between_km(here, there) if here and there else _estimated_km(viewer, edge)
            costs_km.append(cost_km if uniform[slot ^ ENTER_SALT] < admits else cost_km + caution_km)
            noise.append(gumbel[slot] - log_room)
            costs.append(cost)
        spread_km = SPREAD_KM + SPREAD * (min(costs_km, default=0.0) % NEARLY_FULL_KM)
        costs_km = [cost_km + spread_km * each for cost_km, each in zip(costs_km, noise, strict=True)]
        ordered = [costs[index] for index in sorted(range(len(edges)), key=costs_km.__getitem__)]
        self._drop_stale(edges)
        return [cost.node for cost in (_prefer_current(viewer, here, ordered) if viewer.current else ordered)]

    def _drop_stale(self, edges: Sequence[Node]) -> None:
        if len(self._costs) > 2 * len(edges) + MAX_STALE:
            present = {edge.id for edge in edges}
            self._costs = {name: cost for name, cost in self._costs.items() if name in present}


def _edge_cost(edge: Node) -> _EdgeCost:
    share, hashed = used(edge), _hashed(edge.id)
    load_km = LOAD_KM * share / (1.01 - share) if share < 1 else OVERLOAD_KM * share
    return _EdgeCost(
        node=edge,
        point=None if edge.location is None else point(edge.location),
        slot=hashed % DRAWS,
        used=share,
        log_room=log(min(MAX_MBPS, max(1.0, edge.capacity_mbps)) * (1.01 - min(share, 1.0))),
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


def _prefer_current(viewer: Viewer, here: Point | None, ordered: list[_EdgeCost]) -> list[_EdgeCost]:
    """The same edges, with the viewer's current one first unless the viewer should move."""
    current = next((cost for cost in ordered if cost.node.id == viewer.current), None)
    if current is None or current is ordered[0] or _should_move(viewer, here, current, ordered[0]):
        return ordered
    return [current, *(cost for cost in ordered if cost is not current)]


def _should_move(viewer: Viewer, here: Point | None, current: _EdgeCost, best: _EdgeCost) -> bool:
    if current.node.state is NodeState.CUT_OFF:  # a viewer who watches there knows that it answers
        return best.node.is_ready and best.used < 1
    if not current.node.is_ready or not best.node.is_ready:
        return not current.node.is_ready
    if current.used >= 1:
        draw = _UNIFORM[_hashed(viewer.key) % DRAWS ^ current.slot ^ LEAVE_SALT]
        return best.used < 1 and draw < SHED_FACTOR * (current.used - NEARLY_FULL)
    best_km = _distance_km(viewer, here, best) + best.load_km
    return best.used < 1 and best_km * STAY_FACTOR + STAY_KM < _distance_km(viewer, here, current)


def _distance_km(viewer: Viewer, here: Point | None, cost: _EdgeCost) -> float:
    return between_km(here, cost.point) if here and cost.point else _estimated_km(viewer, cost.node)


def _estimated_km(viewer: Viewer, edge: Node) -> float:
    is_unknown = viewer.location is None and not viewer.region
    return 0.0 if is_unknown or (viewer.region and viewer.region == edge.region) else OTHER_REGION_KM


def _hashed(text: str) -> int:
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest())


def _uniform_draws() -> tuple[float, ...]:
    """Evenly spaced numbers in (0, 1), in a pseudo-random order, to be indexed by a hash."""
    shuffled = sorted(range(DRAWS), key=lambda number: blake2b(b"%d" % number, digest_size=8).digest())
    return tuple((number + 0.5) / DRAWS for number in shuffled)


_UNIFORM = _uniform_draws()
_GUMBEL = tuple(log(-log(draw)) for draw in _UNIFORM)
