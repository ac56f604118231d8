"""Which edge a viewer is to use: the cluster as it is now, ordered for where the viewer is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field

from livestream.cluster.geography import Geography
from livestream.model.names import APP, multivariant_path
from livestream.net.rtmp.requests import PlayRequest
from livestream.steering.balance import Balance, Viewer, is_full, used
from livestream.steering.geo import distance_km
from livestream.steering.nodes import Node, NodeState, Place


@define(eq=False)
class EdgeGuide:
    """
    Knows the edges. ``node`` is the id of this node, and ``nodes`` has all that live, with this one.

    Without a geography nobody's place is known, and viewers are spread by load alone.
    """

    node: str
    nodes: Callable[[], Sequence[Node]]
    geography: Geography | None
    _balance: Balance = field(factory=Balance, init=False)

    def order(self, stream: str, address: str, current: str) -> Sequence[Node]:
        """The edges for a viewer, best first; every edge has every stream."""
        edges = [node for node in self.nodes() if node.role == "edge"]
        return self._balance.order(Viewer(self._place(address), current=current, key=address), edges)

    def elsewhere(self, request: PlayRequest) -> str | None:
        """Where an RTMP player is to go, if this is an edge that is going or full, and another has room."""
        here = next((node for node in self.nodes() if node.id == self.node), None)
        if here is None or here.role != "edge" or not (_is_going(here) or is_full(here)):
            return None
        for node in self.order(request.name, request.address, ""):
            if node.id != here.id and node.rtmp and node.is_ready and not is_full(node):
                return f"{node.rtmp}/{APP}"
        return None

    def route(self, stream: str, address: str) -> list[Mapping[str, Any]]:
        """The same order as what becomes JSON, for those who send viewers here by other means."""
        place = self._place(address)
        return [_described(node, stream, place) for node in self.order(stream, address, "")]

    def _place(self, address: str) -> Place | None:
        return None if self.geography is None else self.geography.place(address)


def _is_going(node: Node) -> bool:
    return node.state is NodeState.DRAINING


def _described(node: Node, stream: str, place: Place | None) -> Mapping[str, Any]:
    distance = distance_km(place, node.place) if place is not None and node.place is not None else None
    return {
        "node": node.id,
        "http": f"{node.http}{multivariant_path(stream)}",
        "rtmp": f"{node.rtmp}/{APP}/{stream}" if node.rtmp else None,
        "state": node.state.value,
        "distance_km": None if distance is None else round(distance, 1),
        "utilisation": None if node.state is NodeState.CUT_OFF else round(used(node), 4),
    }
