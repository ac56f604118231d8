"""A node of the cluster, as the others know it from what it said last, and from whether it is heard and answers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

from attrs import field, frozen


class NodeState(Enum):
    """What a node says of itself, or that it is not heard."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    CUT_OFF = "cut_off"
    """It is not heard on the bus and has not said goodbye: it may be dead, or well and cut off from the bus alone."""


SAID = (NodeState.STARTING, NodeState.READY, NodeState.DRAINING)
"""What a node may say of itself; that it is cut off is for the others to find out."""


@frozen
class Place:
    """A point on the earth, in degrees."""

    latitude: float
    longitude: float


@frozen
class Load:
    """What a node carries at present. ``delay_ms`` is how late its reactor is; ``viewers`` are by protocol."""

    connections: int = 0
    requests_per_s: float = 0.0
    bits_per_s: float = 0.0
    delay_ms: float = 0.0
    viewers: Mapping[str, int] = field(factory=dict)


@frozen
class Node:
    """
    One process of the cluster.

    ``http`` and ``rtmp`` are where viewers and other tiers reach it: ``http://HOST:PORT`` and ``rtmp://HOST:PORT``, the
    latter empty when it serves none. ``place`` is ``None`` where only the region is known, and ``region`` may be empty.
    Of a node that is cut off no load is known, and ``is_answering`` is false when it did not answer the last request.
    """

    id: str
    role: str
    http: str
    rtmp: str = ""
    state: NodeState = NodeState.READY
    region: str = ""
    place: Place | None = None
    capacity_rps: float = 200_000.0
    capacity_mbps: float = 10_000.0
    load: Load = Load()
    is_answering: bool = True

    @property
    def is_ready(self) -> bool:
        """Whether new work may be given to it."""
        return self.state is NodeState.READY
