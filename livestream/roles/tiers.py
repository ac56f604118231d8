"""Origin and edge: one cache in two configurations. An origin announces what it has; an edge shows it to viewers."""

from __future__ import annotations

from livestream.bus.interface import Tier
from livestream.bus.known_streams import KnownStreams
from livestream.bus.published import PublishedStreams
from livestream.cache.cache import Cache
from livestream.cache.prefetch import Collector, Warmer
from livestream.lifecycle.drain_steps import leave_cache
from livestream.model.segments import Announcement, EpochBegan
from livestream.pages.watch import Watch
from livestream.push.feeds import Feeds
from livestream.push.relay import Relays
from livestream.roles.known import StreamAvailability
from livestream.roles.parts import Parts
from livestream.roles.takes import OriginAnswers
from livestream.roles.upstream_tier import TierAbove


def build_origin(parts: Parts) -> None:
    """Put an origin together."""
    config, bus = parts.config, parts.bus()
    above = TierAbove.of(parts, "ingest")
    known_streams = KnownStreams(bus, Tier.INGEST, above, config.hls.window, parts.reactor, parts.metrics)
    above.choice.holder = known_streams.holder
    published = PublishedStreams(bus, Tier.ORIGIN, config.hls.window, parts.bus_node)
    store = parts.store(known_streams)
    cache = Cache(store, above.upstreams, known_streams.object_info, parts.reactor, parts.seconds)
    collector = Collector(cache, config.hls.window, published.announce, published.remove, parts.reactor)
    known_streams.subscribe(collector.heard)
    parts.at_stop(collector.stop)
    relays = above.relays(known_streams.epoch)
    feeds = _feeds(parts, known_streams, relays)

    def moved(stream: str, announcement: Announcement | None) -> None:
        if isinstance(announcement, EpochBegan):
            relays.moved(stream)

    known_streams.subscribe(moved)
    parts.http("origin.http", published, cache, states=published, answering=OriginAnswers(known_streams))
    parts.rtmp("origin.rtmp", None, feeds)
    _run(parts, known_streams, cache, feeds, above)


def build_edge(parts: Parts) -> None:
    """Put an edge together."""
    bus, above = parts.bus(), TierAbove.of(parts, "origin")
    known_streams = KnownStreams(bus, Tier.ORIGIN, above, parts.config.hls.window, parts.reactor, parts.metrics)
    store = parts.store(known_streams)
    cache = Cache(store, above.upstreams, known_streams.object_info, parts.reactor, parts.seconds)
    feeds = _feeds(parts, known_streams, above.relays(known_streams.epoch))
    known_streams.subscribe(Warmer(cache).heard)
    watch = Watch(
        lambda: [window.stream for window in known_streams.windows() if window.is_live],
        is_steered=parts.guide() is not None,
    )
    parts.http("edge.http", known_streams, cache, feeds=feeds, rest=watch.resource())
    parts.rtmp("edge.rtmp", None, feeds)
    _run(parts, known_streams, cache, feeds, above)


def _feeds(parts: Parts, known_streams: KnownStreams, relays: Relays) -> Feeds:
    """The push of what the tier above has; who waits for a stream is woken by whatever is announced of it."""
    feeds = parts.feeds(relays, StreamAvailability(known_streams))
    known_streams.subscribe(lambda stream, _: feeds.waiting.announced(stream))
    return feeds


def _run(parts: Parts, known_streams: KnownStreams, cache: Cache, feeds: Feeds, above: TierAbove) -> None:
    def missing() -> list[str]:
        """What keeps this node from being ready."""
        return [*known_streams.not_ready_reasons(), *above.missing()]

    parts.ops(known_streams, missing)
    leave_cache(parts.draining, cache)
    parts.reactor.callWhenRunning(known_streams.start)
    parts.reactor.callWhenRunning(parts.open_when, lambda: not missing() and known_streams.is_informed)
    for stop in (known_streams.stop, cache.stop, feeds.stop):
        parts.at_stop(stop)
