"""Edges for tests: some at places, some loaded."""

from __future__ import annotations

from livestream.steering.nodes import Load, Location, Node, NodeState

PARIS = Location(48.8566, 2.3522)
LONDON = Location(51.5074, -0.1278)
BERLIN = Location(52.52, 13.405)
NEW_YORK = Location(40.7128, -74.006)
TOKYO = Location(35.6762, 139.6503)


def edge(name: str, location: Location | None = None, used: float = 0.0, **more: object) -> Node:
    """An edge that uses so much of its capacity, by requests."""
    more.setdefault("load", Load(requests_per_s=used * 200_000))
    return Node(name, "edge", f"http://{name}.example:8080", location=location, **more)  # type: ignore[arg-type]


def ids(nodes: list[Node]) -> list[str]:
    return [node.id for node in nodes]


DRAINING = NodeState.DRAINING
STARTING = NodeState.STARTING
CUT_OFF = NodeState.CUT_OFF
