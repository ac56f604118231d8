"""Origin and edge: one cache in two configurations. An origin announces what it has; an edge shows it to viewers."""

from __future__ import annotations

from livestream.bus.interface import Tier
from livestream.bus.known_streams import Catalogue
from livestream.bus.published import Ledger
from livestream.cache.cache import Cache
from livestream.cache.prefetch import Collector, Warmer
from livestream.lifecycle.drain_steps import leave_cache
from livestream.model.segments import Announcement, EpochBegan
from livestream.pages.watch import Watch
from livestream.push.feeds import Feeds
from livestream.push.relay import Relays
from livestream.roles.known import KnownStreams
from livestream.roles.parts import Parts
from livestream.roles.takes import OriginAnswers
from livestream.roles.upstream_tier import TierAbove


def build_origin(parts: Parts) -> None:
    """Put an origin together."""
    config, bus = parts.config, parts.bus()
    above = TierAbove.of(parts, "ingest")
    catalogue = Catalogue(bus, Tier.INGEST, above, config.hls.window, parts.reactor, parts.metrics)
    above.choice.holder = catalogue.holder
    ledger = Ledger(bus, Tier.ORIGIN, config.hls.window, parts.bus_node)
    store = parts.store(catalogue)
    cache = Cache(store, above.upstreams, catalogue.object_info, parts.reactor, parts.seconds)
    collector = Collector(cache, config.hls.window, ledger.announce, ledger.forget, parts.reactor)
    catalogue.subscribe(collector.heard)
    parts.at_stop(collector.stop)
    relays = above.relays(catalogue.epoch)
    feeds = _feeds(parts, catalogue, relays)

    def moved(stream: str, announcement: Announcement | None) -> None:
        if isinstance(announcement, EpochBegan):
            relays.moved(stream)

    catalogue.subscribe(moved)
    parts.http("origin.http", ledger, cache, states=ledger, answering=OriginAnswers(catalogue))
    parts.rtmp("origin.rtmp", None, feeds)
    _run(parts, catalogue, cache, feeds, above)


def build_edge(parts: Parts) -> None:
    """Put an edge together."""
    bus, above = parts.bus(), TierAbove.of(parts, "origin")
    catalogue = Catalogue(bus, Tier.ORIGIN, above, parts.config.hls.window, parts.reactor, parts.metrics)
    store = parts.store(catalogue)
    cache = Cache(store, above.upstreams, catalogue.object_info, parts.reactor, parts.seconds)
    feeds = _feeds(parts, catalogue, above.relays(catalogue.epoch))
    catalogue.subscribe(Warmer(cache).heard)
    watch = Watch(
        lambda: [window.stream for window in catalogue.windows() if window.is_live],
        is_steered=parts.guide() is not None,
    )
    parts.http("edge.http", catalogue, cache, feeds=feeds, rest=watch.resource())
    parts.rtmp("edge.rtmp", None, feeds)
    _run(parts, catalogue, cache, feeds, above)


def _feeds(parts: Parts, catalogue: Catalogue, relays: Relays) -> Feeds:
    """The push of what the tier above has; who waits for a stream is woken by whatever is announced of it."""
    feeds = parts.feeds(relays, KnownStreams(catalogue))
    catalogue.subscribe(lambda stream, _: feeds.waiting.announced(stream))
    return feeds


def _run(parts: Parts, catalogue: Catalogue, cache: Cache, feeds: Feeds, above: TierAbove) -> None:
    def missing() -> list[str]:
        """What keeps this node from being ready."""
        return [*catalogue.uninformed(), *above.missing()]

    parts.ops(catalogue, missing)
    leave_cache(parts.draining, cache)
    parts.reactor.callWhenRunning(catalogue.start)
    parts.reactor.callWhenRunning(parts.open_when, lambda: not missing() and catalogue.is_informed)
    for stop in (catalogue.stop, cache.stop, feeds.stop):
        parts.at_stop(stop)
