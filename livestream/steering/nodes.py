"""A node of the cluster as the others know it, from its last heartbeat and its answers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import field, frozen


class NodeState(Enum):
    """The state that a node reports, or that its heartbeats stopped."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    CUT_OFF = "cut_off"
    """Its heartbeats stopped without a goodbye: it may be dead, or only cut off from the bus."""


REPORTED_STATES = (NodeState.STARTING, NodeState.READY, NodeState.DRAINING)
"""The states that a node may report itself; others find out that it is cut off."""


@frozen
class Location:
    """A point on the earth, in degrees."""

    latitude: float
    longitude: float


@frozen
class Load:
    """A node's current load. ``delay_ms`` is how late its reactor is; ``viewers`` are by protocol."""

    connections: int = 0
    requests_per_s: float = 0.0
    bits_per_s: float = 0.0
    delay_ms: float = 0.0
    viewers: Mapping[str, int] = field(factory=dict)


@frozen
class Node:
    """
    One process of the cluster.

    ``http`` and ``rtmp`` are the URLs at which viewers and other tiers reach it, ``http://HOST:PORT`` and
    ``rtmp://HOST:PORT``; ``rtmp`` is empty if it serves none. ``location`` is ``None`` if only the region is known, and
    ``region`` may be empty. The load of a node that is cut off is unknown; ``is_answering`` is false if it did not
    answer the last request.
    """

    id: str
    role: str
    http: str
    rtmp: str = ""
    state: NodeState = NodeState.READY
    region: str = ""
    location: Location | None = None
    capacity_rps: float = 200_000.0
    capacity_mbps: float = 10_000.0
    load: Load = Load()
    is_answering: bool = True

    @property
    def is_ready(self) -> bool:
        """Whether it may be given new work."""
        return self.state is NodeState.READY
