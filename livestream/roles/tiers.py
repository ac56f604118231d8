"""Origin and edge: one cache in two configurations. An origin announces what it has; an edge shows it to viewers."""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define
from twisted.internet.defer import Deferred

from livestream.bus.announcements import decode_states
from livestream.bus.catalogue import Catalogue
from livestream.bus.ledger import Ledger
from livestream.bus.memory import Tier
from livestream.cache.coalesce import Cache
from livestream.cache.upstreams import Upstreams
from livestream.cache.warm import Collector, Warmer
from livestream.delivery.feeds import Feeds
from livestream.delivery.watch import Watch
from livestream.packaging.window import StreamState
from livestream.roles.parts import Parts


@define(eq=False)
class TierAbove:
    """The tier above as a catalogue asks it."""

    upstreams: Upstreams

    def states(self) -> Deferred[Sequence[StreamState]]:
        return Deferred.fromCoroutine(self.upstreams.states())

    def state(self, stream: str) -> Deferred[StreamState | None]:
        return Deferred.fromCoroutine(self.upstreams.state(stream))


def build_origin(parts: Parts) -> None:
    """Put an origin together."""
    bus, upstreams = parts.bus(), parts.upstreams(decode_states)
    catalogue = Catalogue(bus, Tier.INGEST, TierAbove(upstreams), parts.config.hls.window, parts.reactor, parts.metrics)
    ledger = Ledger(bus, Tier.ORIGIN, parts.config.hls.window)
    store = parts.store(catalogue)
    cache = Cache(store, upstreams, catalogue.object_info, parts.reactor, parts.seconds)
    collector = Collector(cache, ledger.announce, ledger.forget, parts.reactor)
    catalogue.subscribe(collector.heard)
    parts.at_stop(collector.stop)
    feeds = parts.feeds(parts.relays())
    parts.http("origin.http", ledger, cache, states=ledger)
    parts.rtmp("origin.rtmp", None, feeds)
    _run(parts, catalogue, cache, feeds)


def build_edge(parts: Parts) -> None:
    """Put an edge together."""
    bus, upstreams = parts.bus(), parts.upstreams(decode_states)
    catalogue = Catalogue(bus, Tier.ORIGIN, TierAbove(upstreams), parts.config.hls.window, parts.reactor, parts.metrics)
    store = parts.store(catalogue)
    cache = Cache(store, upstreams, catalogue.object_info, parts.reactor, parts.seconds)
    feeds = parts.feeds(parts.relays())
    catalogue.subscribe(Warmer(cache).heard)
    watch = Watch(lambda: [window.stream for window in catalogue.windows() if not window.is_ended])
    parts.http("edge.http", catalogue, cache, feeds=feeds, rest=watch.resource())
    parts.rtmp("edge.rtmp", None, feeds)
    _run(parts, catalogue, cache, feeds)


def _run(parts: Parts, catalogue: Catalogue, cache: Cache, feeds: Feeds) -> None:
    parts.ops(catalogue, catalogue.uninformed)
    parts.reactor.callWhenRunning(catalogue.start)
    for stop in (catalogue.stop, cache.stop, feeds.stop):
        parts.at_stop(stop)
