"""How a process becomes a node of its cluster."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from functools import partial

from livestream.bus.interface import Bus
from livestream.cluster.directory import NodeDirectory
from livestream.cluster.load import LoadMeter
from livestream.cluster.membership import PERIOD_S, Membership
from livestream.cluster.nodes import Nodes
from livestream.config import Config
from livestream.lifecycle.reload import Reloading
from livestream.metrics import Metrics
from livestream.steering.nodes import Location, Node, NodeState

CHANNEL = "nodes"
BOOTS = 1 << 53


def join(config: Config, name: str, bus: Bus, metrics: Metrics, seconds: Callable[[], float]) -> Membership:
    """The node ``name`` among the others; one without ``cluster.secret`` is alone, and says nothing."""
    secret = config.cluster.secret
    boot = secrets.randbelow(BOOTS)
    others = Nodes(name, boot, secret, lambda: bus.is_healthy, time.monotonic, seconds, metrics)
    meter = LoadMeter(PERIOD_S, metrics, time.monotonic)
    if not secret:
        return Membership(own_node(config, name), others, lambda _: None, meter)
    bus.subscribe(CHANNEL, others.on_message)
    directory = NodeDirectory(bus, CHANNEL, others)
    return Membership(own_node(config, name), others, partial(bus.send, CHANNEL), meter, directory)


def renew_presence(reloading: Reloading, membership: Membership) -> None:
    """Let a node stand elsewhere, and carry more or less, while it runs."""
    for key in ("http", "rtmp", "region", "latitude", "longitude", "capacity_rps", "capacity_mbps"):
        reloading.when(f"node.{key}", lambda config: membership.update(own_node(config, membership.own.id)))


def own_node(config: Config, name: str) -> Node:
    """The node ``name`` as the configuration has it, when its process begins."""
    node = config.node
    location = None if node.latitude is None or node.longitude is None else Location(node.latitude, node.longitude)
    return Node(
        name,
        config.role,
        node.http.rstrip("/"),
        node.rtmp,
        NodeState.STARTING,
        node.region,
        location,
        node.capacity_rps,
        node.capacity_mbps,
    )
