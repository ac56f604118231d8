"""Which listeners limit what one address may have, and how they take other limits."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from livestream.config import Config, load
from livestream.ingest.publish_admission import PublishAdmission
from livestream.ingest.rtmp import RtmpPublishing
from livestream.lifecycle.process import Process
from livestream.net.address_limits import AddressConnections, OverLimit
from livestream.net.listeners import Listener
from livestream.net.rtmp.server import RtmpServerFactory
from livestream.push.feed import PushLimits
from livestream.roles import build

UPSTREAMS = '[{http="http://127.0.0.1:9", rtmp="rtmp://127.0.0.1:9"}]'
OF_ALL = ("bus.redis=unix:/nowhere", f"origin.upstreams={UPSTREAMS}", f"edge.upstreams={UPSTREAMS}")
VIEWER, PRIVATE, PROXY = "198.51.100.7", "10.0.0.7", "192.0.2.1"
MANY = 5000


class Reactor(Clock):
    """As much of a reactor as a process needs that is put together and never run."""

    def callWhenRunning(self, *_: object) -> None: ...
    def addSystemEventTrigger(self, *_: object) -> None: ...
    def stop(self) -> None: ...


@define(eq=False)
class Node:
    role: str
    sets: tuple[str, ...] = ()
    process: Process = field(init=False)
    factories: dict[str, Any] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.process = build(self.config(*self.sets), Reactor())
        listeners = [each for each in self.process.services if isinstance(each, Listener)]
        self.factories = {each.setting: each.factory for each in listeners}

    def config(self, *sets: str) -> Config:
        bus = OF_ALL if self.role != "all" else ()
        return load(self.role, None, {}, (*bus, *sets), lambda path: "")

    def reload(self, *sets: str) -> None:
        self.process.reloader.reload(lambda: self.config(*sets))

    def counts(self, setting: str) -> AddressConnections:
        counts: AddressConnections = self.factories[setting].addresses.connections
        return counts

    def let_in(self, setting: str, address: str) -> int:
        """How many connections at once the address gets."""
        for number in range(MANY):
            try:
                self.counts(setting).connect(address, 0.0)
            except OverLimit:
                return number
        return MANY

    @property
    def admission(self) -> PublishAdmission:
        factory = self.factories["ingest.rtmp"]
        assert isinstance(factory, RtmpServerFactory) and isinstance(factory.publishing, RtmpPublishing)
        return factory.publishing.admission


@pytest.mark.parametrize(
    ("role", "setting", "viewer", "private"),
    [
        ("all", "edge.http", 1000, 1000),
        ("all", "ingest.rtmp", 40, 40),
        ("edge", "edge.http", 1000, 1000),
        ("edge", "edge.rtmp", 40, 40),
        ("ingest", "ingest.rtmp", 40, MANY),
        ("ingest", "ingest.http", MANY, MANY),
        ("origin", "origin.http", MANY, MANY),
        ("origin", "origin.rtmp", MANY, MANY),
    ],
)
def test_viewers_and_publishers_are_limited_and_nodes_are_not(
    role: str, setting: str, viewer: int, private: int
) -> None:
    process = Node(role)
    assert process.let_in(setting, VIEWER) == viewer
    assert process.let_in(setting, PRIVATE) == private
    assert process.let_in(setting, "127.0.0.1") == process.let_in(setting, "::1") == MANY


def test_limits_and_exemptions_change_while_the_node_runs() -> None:
    process = Node("all")
    process.reload(
        "limits.connections_per_address=3",
        "limits.rtmp_connections_per_address=4",
        "limits.refused_publishes_per_address=5",
        f"limits.exempt=['{PROXY}']",
    )
    assert process.let_in("edge.http", VIEWER) == process.let_in("edge.http", "127.0.0.1") == 3
    assert process.let_in("ingest.rtmp", VIEWER) == process.let_in("ingest.rtmp", "127.0.0.1") == 4
    assert process.let_in("edge.http", PROXY) == MANY
    assert process.admission.wrong_keys.limit == 5 and PROXY in process.admission.wrong_keys.exempt


def test_trusted_proxies_are_exempt_and_speak_the_proxy_protocol_when_they_shall() -> None:
    trusted = f"cluster.trusted_proxies=['{PROXY}']"
    process = Node("all", (trusted,))
    assert process.let_in("edge.http", PROXY) == process.let_in("ingest.rtmp", PROXY) == MANY
    assert not process.factories["edge.http"].addresses.proxies
    process.reload(trusted, "edge.proxy_protocol=true")
    assert PROXY in process.factories["edge.http"].addresses.proxies
    assert not process.factories["ingest.rtmp"].addresses.proxies
    process.reload(trusted, "ingest.proxy_protocol=true")
    assert not process.factories["edge.http"].addresses.proxies
    assert PROXY in process.factories["ingest.rtmp"].addresses.proxies


def test_a_reader_may_stall_for_as_long_as_the_limit_says_whatever_it_is_sent() -> None:
    process = Node("all", ("limits.stall_s=7",))
    feeds = process.factories["ingest.rtmp"].playing.admission.feeds
    assert feeds.limits.stall_s == 7
    process.reload("limits.stall_s=9")
    assert feeds.limits.stall_s == 9


def test_the_send_buffer_is_that_of_the_setting_and_the_pushs_is_twice_as_much() -> None:
    process = Node("all")
    site, feeds = process.factories["edge.http"], process.factories["ingest.rtmp"].playing.admission.feeds
    assert (site.limits.per_connection.send_buffer_bytes, feeds.limits.send_buffer_bytes) == (131_072, 262_144)
    assert feeds.limits == PushLimits()
    process.reload("limits.send_buffer_kb=64")
    assert (site.limits.per_connection.send_buffer_bytes, feeds.limits.send_buffer_bytes) == (65_536, 131_072)
