"""
The ingest: publishers come in, segments go on the shelf, frames go to the relays of the tier below.

With ``is_alone`` it is the whole system in one process: viewers are served from the same shelf and the same feeds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, fail, succeed

from livestream.bus.catalogue import Catalogue
from livestream.bus.ledger import Ledger
from livestream.bus.memory import MemoryBus, Tier
from livestream.bus.receipts import Receipts
from livestream.cache.coalesce import NotKnown
from livestream.cache.store import Found
from livestream.delivery.feed import Feed
from livestream.delivery.feeds import Feeds
from livestream.delivery.splice import Lineage
from livestream.delivery.watch import Watch
from livestream.ingest.broadcast import Broadcast, BroadcastSettings, Transcode
from livestream.ingest.broadcasts import Broadcasts
from livestream.ingest.keys import PublishKeys
from livestream.ingest.publisher import PublishDoor
from livestream.model import Announcement
from livestream.roles.leaving import leave_ingest
from livestream.roles.parts import Parts, Shelf
from livestream.roles.peers import Peers
from livestream.roles.renewing import renew_door
from livestream.steering.nodes import Node, NodeState
from livestream.transcode.ladder import ladder_for
from livestream.transcode.pool import TranscoderPool


@define(eq=False)
class LocalLibrary:
    """The shelf as a library: what is not there is nowhere."""

    shelf: Shelf

    def peek(self, stream: str, rendition: str, name: str) -> Found | None:
        return self.shelf.peek(stream, rendition, name)

    def get(self, stream: str, rendition: str, name: str) -> Deferred[Found]:
        found = self.shelf.peek(stream, rendition, name)
        return fail(NotKnown(name)) if found is None else succeed(found)


@define(eq=False)
class IngestSite:
    """What broadcasts find around them."""

    shelf: Shelf
    ledger: Ledger
    feeds: Feeds
    pool: TranscoderPool
    heights: Sequence[int]

    def open_feed(self, stream: str, rendition: str, epoch: int) -> Feed:
        return self.feeds.begin(stream, rendition, Lineage(epoch))

    def end_feed(self, feed: Any) -> None:
        self.feeds.end(feed)

    def cut_feed(self, feed: Any) -> None:
        self.feeds.cut(feed)

    def announce(self, announcement: Announcement) -> None:
        self.ledger.announce(announcement)

    def rungs(self, height: int) -> Sequence[str]:
        return [rung.name for rung in ladder_for(height, self.heights)]

    def transcoder(self, stream: str, rungs: Sequence[str], sink: Broadcast) -> Transcode:
        ladder = [rung for rung in ladder_for(1 << 16, self.heights) if rung.name in rungs]
        return self.pool.open(stream, ladder, sink)


def build_ingest(parts: Parts, *, is_alone: bool) -> None:
    """Put an ingest together, or the whole system in one process, whose broadcasts no other node of a cluster has."""
    config = parts.config
    bus = MemoryBus() if is_alone and config.cluster.secret else parts.bus()
    ledger = Ledger(bus, Tier.INGEST, config.hls.window, config.node.id)
    shelf = Shelf(parts.store(ledger))
    feeds = parts.feeds(None)
    pool = TranscoderPool(parts.reactor, parts.metrics, config.transcode.preset)
    site = IngestSite(shelf, ledger, feeds, pool, config.transcode.ladder)
    catalogue = Catalogue(bus, Tier.INGEST, None, config.hls.window, parts.reactor, parts.metrics)
    peers = Peers(catalogue, ledger, parts.cluster().nodes)
    settings = BroadcastSettings(config.hls.segment_s, config.ingest.grace_s, config.transcode.ladder)
    broadcasts = Broadcasts(
        settings,
        site,
        peers.recall,
        ledger.forget,
        parts.reactor,
        parts.seconds,
        parts.metrics,
    )
    keys = PublishKeys(config.ingest.keys)
    door = PublishDoor(keys, broadcasts, parts.reactor, parts.metrics, config.ingest.max_publishers)
    renew_door(parts.reloading, door)
    parts.rtmp("ingest.rtmp", door, feeds)
    library = LocalLibrary(shelf)
    if is_alone:
        watch = Watch(lambda: [window.stream for window in ledger.windows() if not window.is_ended])
        parts.http("edge.http", ledger, library, feeds=feeds, rest=watch.resource())
    else:
        parts.http("ingest.http", ledger, library, states=ledger)
        peers.join(broadcasts, door)
        parts.reactor.callWhenRunning(catalogue.start)
        parts.at_stop(catalogue.stop)
    parts.ops(ledger, list)
    receipts = None if is_alone else Receipts(bus, ledger, lambda: heard_origins(parts.cluster().nodes()))
    leave_ingest(parts.draining, door, broadcasts, receipts)
    parts.at_stop(broadcasts.stop)
    parts.at_stop(feeds.stop)


def heard_origins(nodes: Sequence[Node]) -> list[str]:
    """The origins that can say on the bus what they have; one that is cut off from it cannot."""
    return [node.id for node in nodes if node.role == "origin" and node.state is not NodeState.CUT_OFF]
