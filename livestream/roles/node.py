"""A process as a node: its names, its bus, and its place in the cluster."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from attrs import frozen
from twisted.logger import Logger

from livestream.bus.interface import Bus
from livestream.bus.memory import MemoryBus
from livestream.bus.redis_connection import is_local
from livestream.cluster.directory import NodeDirectory
from livestream.cluster.heartbeat import PERIOD_S, HeartbeatSender
from livestream.cluster.load import LoadMeter
from livestream.cluster.membership import Membership
from livestream.cluster.nodes import Nodes
from livestream.config import Config
from livestream.lifecycle.drain import DrainPhase
from livestream.lifecycle.process import Process
from livestream.lifecycle.reload import Reloader
from livestream.metrics import Metrics
from livestream.signing import Credentials
from livestream.steering.nodes import Location, Node, NodeState
from livestream.urls import without_password

CHANNEL = "nodes"
BOOTS = 1 << 53
LOG_WINDOWS = 2 * 8
"""Of each stream the bus keeps what may still be fetched, of eight renditions."""

_log = Logger()


@frozen
class LocalNode:
    """
    This process as other nodes see it; without ``cluster.secret`` it is alone.

    ``name`` stands in heartbeats and in the Cache-Status field. ``bus_name`` is its name on the bus, unique among the
    processes that announce streams. ``credentials`` sign its requests to other nodes.
    """

    name: str
    bus_name: str
    bus: Bus
    members: Membership
    credentials: Credentials
    metrics: Metrics

    @classmethod
    def join(cls, config: Config, process: Process, metrics: Metrics) -> LocalNode:
        """Make this process a node; it is silent until :meth:`start_heartbeat`."""
        name = config.node.id or config.role
        bus_name = config.node.id or f"{config.role}-{secrets.token_hex(4)}"
        bus = open_bus(config, bus_name, process, metrics)
        members = membership_of(config, name, bus, metrics, process.reactor.seconds)
        reload_own_node(process.reloader, members)
        credentials = Credentials(name, config.cluster.secret, process.reactor.seconds, members.others.clock_of)
        return cls(name, bus_name, bus, members, credentials, metrics)

    def start_heartbeat(
        self,
        process: Process,
        not_ready: Callable[[], Sequence[str]],
        streams: Callable[[], Mapping[str, int]],
    ) -> HeartbeatSender:
        """Tell the others every second what this node is, what it carries, and whether it is ready."""
        heartbeat = heartbeat_of(self.members, self.bus, self.metrics, not_ready, streams)
        process.every(PERIOD_S, heartbeat.tick)
        process.drain.at(DrainPhase.ANNOUNCED, heartbeat.drain)
        process.at_stop(heartbeat.leave)
        return heartbeat


def open_bus(config: Config, bus_name: str, process: Process, metrics: Metrics) -> Bus:
    """The bus that the configuration names; one between processes is a service."""
    url, secret = config.bus.redis, config.cluster.secret
    if not url:
        return MemoryBus(bus_name)
    from livestream.bus.redis import RedisBus

    bus = RedisBus(url, process.reactor, metrics, bus_name, LOG_WINDOWS * config.hls.window, secret)
    if not secret and not is_local(url):
        warning = "every client of Redis at {url} can stop any stream: set cluster.secret"
        _log.warn(warning, url=without_password(url))
    process.run(bus)
    return bus


def membership_of(config: Config, name: str, bus: Bus, metrics: Metrics, seconds: Callable[[], float]) -> Membership:
    """The node ``name`` and the others; without ``cluster.secret`` there are none."""
    secret = config.cluster.secret
    boot = secrets.randbelow(BOOTS)
    others = Nodes(name, boot, secret, lambda: bus.is_healthy, time.monotonic, seconds, metrics)
    if not secret:
        return Membership(own_node(config, name), others)
    bus.subscribe(CHANNEL, others.on_message)
    return Membership(own_node(config, name), others, NodeDirectory(bus, CHANNEL, others))


def heartbeat_of(
    members: Membership,
    bus: Bus,
    metrics: Metrics,
    not_ready: Callable[[], Sequence[str]],
    streams: Callable[[], Mapping[str, int]],
) -> HeartbeatSender:
    """The heartbeat of a member; one that is alone sends none."""
    meter = LoadMeter(PERIOD_S, metrics, time.monotonic)
    send = partial(bus.send, CHANNEL) if members.others.secret else lambda _: None
    return HeartbeatSender(members, send, meter, not_ready, streams)


def reload_own_node(reloader: Reloader, members: Membership) -> None:
    """Apply a new address, place or capacity of this node."""
    reloader.follow(lambda config: own_node(config, members.own.id), members.update)


def own_node(config: Config, name: str) -> Node:
    """The node ``name`` as configured, in the state of a process that starts."""
    node = config.node
    place = None if node.latitude is None or node.longitude is None else Location(node.latitude, node.longitude)
    return Node(
        name,
        config.role,
        node.http.rstrip("/"),
        node.rtmp,
        NodeState.STARTING,
        node.region,
        place,
        node.capacity_rps,
        node.capacity_mbps,
    )
