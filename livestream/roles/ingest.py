"""
The ingest: publishers come in, segments go on the shelf, frames go to the relays of the tier below.

With ``is_alone`` it is the whole system in one process: viewers are served from the same shelf and the same feeds.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, fail, succeed

from livestream.bus.acknowledgements import Acknowledgements
from livestream.bus.interface import Tier
from livestream.bus.known_streams import KnownStreams
from livestream.bus.memory import MemoryBus
from livestream.bus.published import PublishedStreams
from livestream.cache.cache import NotKnown
from livestream.cache.store import Found
from livestream.cache.upstream.node import Upstream
from livestream.ingest.broadcasts import Broadcasts, WriterServices
from livestream.ingest.claims import WRITERS, Claims, NoPeerNodes
from livestream.ingest.keys import PublishKeys
from livestream.ingest.publish_admission import PublishDoor
from livestream.ingest.services import BroadcastSettings, RungSink, Transcode
from livestream.ingest.takeovers import Takeovers
from livestream.lifecycle.drain_steps import leave_ingest
from livestream.lifecycle.reload_hooks import renew_door
from livestream.pages.watch import Watch
from livestream.push.feed import Feed
from livestream.push.feeds import Feeds
from livestream.push.timeline_splice import Lineage
from livestream.roles.parts import Parts, SegmentStore, Transcoders
from livestream.roles.peers import Peers
from livestream.roles.takes import IngestAnswers, OtherNodes
from livestream.steering.nodes import Node, NodeState
from livestream.transcode.ladder import ladder_for


@define(eq=False)
class LocalLibrary:
    """The shelf as a library: what is not there is nowhere."""

    segment_store: SegmentStore

    def peek(self, stream: str, rendition: str, name: str) -> Found | None:
        return self.segment_store.peek(stream, rendition, name)

    def is_known(self, stream: str, rendition: str, name: str) -> bool:
        return self.segment_store.peek(stream, rendition, name) is not None

    def get(self, stream: str, rendition: str, name: str) -> Deferred[Found]:
        found = self.segment_store.peek(stream, rendition, name)
        return fail(NotKnown(name)) if found is None else succeed(found)


@define(eq=False)
class IngestServices:
    """What broadcasts find around them."""

    store: SegmentStore
    feeds: Feeds
    transcoders: Transcoders
    heights: Sequence[int]

    def open_feed(self, stream: str, rendition: str, number: int) -> Feed:
        return self.feeds.begin(stream, rendition, Lineage(number))

    def end_feed(self, feed: Any) -> None:
        self.feeds.end(feed)

    def cut_feed(self, feed: Any) -> None:
        self.feeds.cut(feed)

    def rungs(self, height: int) -> Sequence[str]:
        return [rung.name for rung in ladder_for(height, self.heights)]

    def transcoder(self, stream: str, rungs: Sequence[str], sink: RungSink) -> Transcode:
        ladder = [rung for rung in ladder_for(1 << 16, self.heights) if rung.name in rungs]
        return self.transcoders.open(stream, ladder, sink)


def build_ingest(parts: Parts, *, is_alone: bool) -> None:
    """Put an ingest together, or the whole system in one process, whose broadcasts no other node of a cluster has."""
    config = parts.config
    bus = MemoryBus(parts.bus_node) if is_alone and config.cluster.secret else parts.bus()
    published = PublishedStreams(bus, Tier.INGEST, config.hls.window, parts.bus_node)
    segment_store = SegmentStore(parts.store(published))
    feeds = parts.feeds(None)
    site = IngestServices(segment_store, feeds, parts.transcoders, config.transcode.ladder)
    known_streams = KnownStreams(bus, Tier.INGEST, None, config.hls.window, parts.reactor, parts.metrics)
    peers = Peers(known_streams, published, parts.cluster().nodes, config.cluster.secret)
    settings = BroadcastSettings(config.hls.segment_s, config.ingest.grace_s, config.transcode.ladder)
    membership = parts.cluster()
    connect = partial(Upstream.at, reactor=parts.reactor, observer=membership.others, credentials=parts.credentials)
    has_addresses = bool(config.cluster.secret)
    others = (
        NoPeerNodes()
        if is_alone
        else OtherNodes(has_addresses, membership.reachable, lambda: membership.knows_nodes, connect, parts.reactor)
    )
    claims = Claims(
        parts.bus_node, bus.claim, others, peers.position, secrets.randbelow(WRITERS), parts.reactor, parts.seconds
    )
    takeovers = Takeovers(parts.reactor)
    writer_services = WriterServices(
        parts.bus_node,
        claims,
        bus.accept,
        bus.release,
        published.record,
        lambda: bus.is_healthy,
        peers.publisher_changed,
    )
    broadcasts = Broadcasts(
        settings,
        site,
        writer_services,
        published.remove,
        takeovers.count,
        parts.reactor,
        parts.seconds,
        parts.metrics,
    )
    keys = PublishKeys(config.ingest.keys)
    door = PublishDoor(keys, broadcasts, parts.reactor, parts.metrics, config.ingest.max_publishers, takeovers)
    renew_door(parts.reloading, door)
    parts.rtmp("ingest.rtmp", door, feeds, takes_viewers=is_alone)
    library = LocalLibrary(segment_store)
    if is_alone:
        watch = Watch(lambda: [window.stream for window in published.windows() if window.is_live])
        parts.http("edge.http", published, library, feeds=feeds, rest=watch.resource())
    else:
        answering = IngestAnswers(broadcasts, door, peers)
        parts.http("ingest.http", published, library, states=published, answering=answering)
        peers.join(broadcasts, door)
        parts.reactor.callWhenRunning(known_streams.start)
        parts.at_stop(known_streams.stop)
    parts.ops(published, list)
    acknowledgements = (
        None if is_alone else Acknowledgements(bus, published, lambda: heard_origins(parts.cluster().nodes()))
    )
    leave_ingest(parts.draining, door, broadcasts, acknowledgements)
    parts.at_stop(broadcasts.stop)
    parts.at_stop(feeds.stop)


def heard_origins(nodes: Sequence[Node]) -> list[str]:
    """The origins that can say on the bus what they have; one that is cut off from it cannot."""
    return [node.id for node in nodes if node.role == "origin" and node.state is not NodeState.CUT_OFF]
