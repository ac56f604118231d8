"""How a process becomes a node, with the bus of the tests, in which all is heard at once."""

from __future__ import annotations

from collections.abc import Sequence

from livestream.bus.memory import MemoryBus
from livestream.cluster.heartbeat import HeartbeatSender
from livestream.cluster.messages import decode
from livestream.config import Config, load
from livestream.lifecycle.reload import Reloader
from livestream.metrics import Metrics
from livestream.roles.node import CHANNEL, heartbeat_of, membership_of, own_node, reload_own_node
from livestream.steering.nodes import Location, NodeState

SECRET = "0123456789abcdef"


def configured(name: str, *more: str) -> Config:
    sets = (
        f"cluster.secret={SECRET}",
        f"node.id={name}",
        f"node.http=http://{name[:63]}:80",
        "bus.redis=unix:x",
        *more,
    )
    return load("edge", None, {}, sets, lambda path: "")


def joined(bus: MemoryBus, name: str, *more: str, not_ready: Sequence[str] = ("it is early",)) -> HeartbeatSender:
    return speaking(configured(name, *more), name, bus, not_ready)


def speaking(config: Config, name: str, bus: MemoryBus, not_ready: Sequence[str] = ()) -> HeartbeatSender:
    metrics = Metrics()
    members = membership_of(config, name, bus, metrics, lambda: 1e9)
    return heartbeat_of(members, bus, metrics, lambda: not_ready, dict)


def test_nodes_of_one_cluster_know_each_other() -> None:
    bus = MemoryBus()
    one, other = joined(bus, "edge-1"), joined(bus, "edge-2", "node.region=eu")
    for each in (one, other, one, other):
        each.tick()
    assert one.members.nodes() == [one.members.own, other.members.own]
    assert other.members.nodes() == [other.members.own, one.members.own]
    one.leave()
    assert other.members.nodes() == [other.members.own]


def test_a_cluster_with_another_secret_is_another_cluster() -> None:
    bus = MemoryBus()
    one, stranger = joined(bus, "edge-1"), joined(bus, "edge-2", "cluster.secret=fedcba9876543210")
    one.tick()
    stranger.tick()
    assert one.members.nodes() == [one.members.own] and stranger.members.nodes() == [stranger.members.own]


def test_without_a_secret_a_node_is_alone_and_says_nothing() -> None:
    bus, told = MemoryBus(), list[bytes]()
    bus.subscribe(CHANNEL, told.append)
    alone = speaking(load("all", None, {}, (), lambda path: ""), "all", bus)
    alone.tick()
    alone.drain()
    alone.leave()
    assert told == [] and alone.members.nodes() == [alone.members.own]
    assert (alone.members.own.id, alone.members.own.role, alone.members.own.http) == ("all", "all", "")


def test_whatever_the_configuration_lets_through_the_others_can_read() -> None:
    name = "n" * 64
    more = (
        "node.http=https://[2001:db8::1]:65535",
        f"node.rtmp=rtmp://{'.'.join(['h' * 63] * 3 + ['h' * 61])}:65535",
        f"node.region={'r' * 64}",
        "node.latitude=-90",
        "node.longitude=180.0",
        "node.capacity_rps=0.001",
        "node.capacity_mbps=1000000000000000",
    )
    bus, told = MemoryBus(), list[bytes]()
    bus.subscribe(CHANNEL, told.append)
    heartbeats = joined(bus, name, *more, not_ready=())
    heartbeats.tick()
    assert decode(told[0], SECRET).node == heartbeats.members.own
    assert heartbeats.members.own.location == Location(-90.0, 180.0)


def test_a_node_is_starting_at_first() -> None:
    assert own_node(configured("edge-1"), "edge-1").state is NodeState.STARTING


def test_what_a_node_can_carry_may_change_while_it_runs() -> None:
    heartbeats = joined(MemoryBus(), "edge-1")
    heartbeats.drain()
    reloader = Reloader(configured("edge-1"))
    reload_own_node(reloader, heartbeats.members)
    reloader.reload(lambda: configured("edge-1", "node.capacity_rps=7", "node.region=eu"))
    assert (heartbeats.members.own.capacity_rps, heartbeats.members.own.region) == (7.0, "eu")
    assert heartbeats.members.own.state is NodeState.DRAINING


def test_a_node_that_has_just_started_knows_of_those_that_are_not_heard_until_they_leave() -> None:
    bus = MemoryBus()
    silent = joined(bus, "edge-1")
    silent.tick()
    late = joined(bus, "edge-2")
    assert late.members.nodes() == [late.members.own]
    late.tick()
    assert [(node.id, node.http, node.state.value) for node in late.members.nodes()[1:]] == [
        ("edge-1", "http://edge-1:80", "cut_off")
    ]
    for each in (silent, late, silent):
        each.tick()
    assert late.members.nodes() == [late.members.own, silent.members.own]
    silent.leave()
    later = joined(bus, "edge-3")
    later.tick()
    assert [node.id for node in later.members.nodes()] == ["edge-3", "edge-2"]


def test_a_node_that_stands_elsewhere_is_known_there_to_those_that_start() -> None:
    bus = MemoryBus()
    one = joined(bus, "edge-1")
    one.tick()
    one.members.update(own_node(configured("edge-1", "node.http=http://elsewhere:80"), "edge-1"))
    one.tick()
    late = joined(bus, "edge-2")
    late.tick()
    assert [node.http for node in late.members.nodes()] == ["http://edge-2:80", "http://elsewhere:80"]
