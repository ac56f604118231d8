"""Which edge serves a viewer: the edges of the cluster, ordered by load and distance."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field

from livestream.cluster.geography import Geography
from livestream.model.names import APP, multivariant_path
from livestream.net.rtmp.requests import RtmpRequest
from livestream.steering.balance import Balance, Viewer, is_full, used
from livestream.steering.geo import distance_km
from livestream.steering.nodes import Location, Node, NodeState


@define(eq=False)
class EdgeSelection:
    """
    Orders the edges for viewers. ``node`` is this node's id; ``nodes`` returns all nodes that are alive, this included.

    Without a ``geography`` no location is known, and viewers are distributed by load alone.
    """

    node: str
    nodes: Callable[[], Sequence[Node]]
    geography: Geography | None
    _balance: Balance = field(factory=Balance, init=False)

    def order(self, stream: str, address: str, current: str) -> Sequence[Node]:
        """The edges for a viewer, best first. Every edge has every stream."""
        edges = [node for node in self.nodes() if node.role == "edge"]
        return self._balance.order(Viewer(self._location(address), current=current, key=address), edges)

    def redirect_url(self, request: RtmpRequest) -> str | None:
        """Where to redirect an RTMP player, if this edge is draining or full and another has room."""
        here = next((node for node in self.nodes() if node.id == self.node), None)
        if here is None or here.role != "edge" or not (_is_draining(here) or is_full(here)):
            return None
        for node in self.order(request.name, request.address, ""):
            if node.id != here.id and node.rtmp and node.is_ready and not is_full(node):
                return f"{node.rtmp}/{APP}"
        return None

    def route(self, stream: str, address: str) -> list[Mapping[str, Any]]:
        """The same order as JSON values, for services that direct viewers by other means."""
        location = self._location(address)
        return [_described(node, stream, location) for node in self.order(stream, address, "")]

    def _location(self, address: str) -> Location | None:
        return None if self.geography is None else self.geography.locate(address)


def _is_draining(node: Node) -> bool:
    return node.state is NodeState.DRAINING


def _described(node: Node, stream: str, location: Location | None) -> Mapping[str, Any]:
    distance = distance_km(location, node.location) if location is not None and node.location is not None else None
    return {
        "node": node.id,
        "http": f"{node.http}{multivariant_path(stream)}",
        "rtmp": f"{node.rtmp}/{APP}/{stream}" if node.rtmp else None,
        "state": node.state.value,
        "distance_km": None if distance is None else round(distance, 1),
        "utilisation": None if node.state is NodeState.CUT_OFF else round(used(node), 4),
    }
