"""Origin and edge: one cache in two configurations. An origin announces what it has; an edge shows it to viewers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from livestream.bus.announcements import decode_states
from livestream.bus.catalogue import Catalogue
from livestream.bus.ledger import Ledger
from livestream.bus.memory import Tier
from livestream.cache.coalesce import Cache
from livestream.cache.upstreams import Upstreams
from livestream.delivery.feeds import Feeds
from livestream.delivery.watch import Watch
from livestream.model import Announcement, Segment, SegmentAnnounced
from livestream.net.body import Body, BodyState
from livestream.packaging.window import StreamState
from livestream.roles.parts import Parts

TRIES = 4
RETRY_S = 0.3


@define(eq=False)
class TierAbove:
    """The tier above as a catalogue asks it."""

    upstreams: Upstreams

    def states(self) -> Deferred[Sequence[StreamState]]:
        return Deferred.fromCoroutine(self.upstreams.states())

    def state(self, stream: str) -> Deferred[StreamState | None]:
        return Deferred.fromCoroutine(self.upstreams.state(stream))


@define(eq=False)
class Collector:
    """
    Fetches at an origin what an ingest announces, before anyone asks, and announces it in turn.

    Of each rendition in the order of its numbers: what an origin announces, it has. What cannot be had is a gap.
    """

    cache: Cache
    ledger: Ledger
    clock: IReactorTime
    _last: dict[tuple[str, str], Deferred[None]] = field(factory=dict, init=False)

    log: ClassVar[Logger] = Logger()

    def heard(self, stream: str, announcement: Announcement | None) -> None:
        if announcement is None:
            self._last = {key: work for key, work in self._last.items() if key[0] != stream}
            self.ledger.forget(stream)
            return
        if isinstance(announcement, SegmentAnnounced):
            name = announcement.info.name
            before = [self._last.get((stream, name))]
            work = Deferred.fromCoroutine(self._collect(announcement, before))
            self._last[stream, name] = work
        else:
            before = [work for (owner, _), work in self._last.items() if owner == stream]
            work = Deferred.fromCoroutine(self._after(announcement, before))
            self._last[stream, ""] = work
        work.addErrback(lambda failure: self.log.failure("an announcement is lost", failure))

    async def _collect(self, announcement: SegmentAnnounced, before: Sequence[Deferred[None] | None]) -> None:
        fetches = [
            Deferred.fromCoroutine(self._fetch(announcement, info.name))
            for info in (announcement.segment.init, announcement.segment.media)
            if info is not None
        ]
        have = [await fetch for fetch in fetches]
        if not all(have):
            announcement = _as_gap(announcement)
        await self._after(announcement, before)

    async def _after(self, announcement: Announcement, before: Sequence[Deferred[None] | None]) -> None:
        for work in before:
            if work is not None:
                await _settled(work)
        self.ledger.announce(announcement)

    async def _fetch(self, announcement: SegmentAnnounced, name: str) -> bool:
        for attempt in range(TRIES):
            if attempt:
                await _pause(self.clock, RETRY_S * attempt)
            try:
                found = await self.cache.get(announcement.stream, announcement.info.name, name)
            except Exception as error:
                self.log.debug("{name}: {error}", name=name, error=error)
                continue
            if await _whole(found.body):
                return True
        return False


def build_origin(parts: Parts) -> None:
    """Put an origin together."""
    bus, upstreams = parts.bus(), parts.upstreams(decode_states)
    catalogue = Catalogue(bus, Tier.INGEST, TierAbove(upstreams), parts.config.hls.window, parts.reactor, parts.metrics)
    ledger = Ledger(bus, Tier.ORIGIN, parts.config.hls.window)
    store = parts.store(catalogue)
    cache = Cache(store, upstreams, catalogue.object_info, parts.reactor, parts.seconds)
    catalogue.subscribe(Collector(cache, ledger, parts.reactor).heard)
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
    watch = Watch(lambda: [window.stream for window in catalogue.windows() if not window.is_ended])
    parts.http("edge.http", catalogue, cache, feeds=feeds, rest=watch.resource())
    parts.rtmp("edge.rtmp", None, feeds)
    _run(parts, catalogue, cache, feeds)


def _run(parts: Parts, catalogue: Catalogue, cache: Cache, feeds: Feeds) -> None:
    parts.ops(catalogue, list)
    parts.reactor.callWhenRunning(catalogue.start)
    for stop in (catalogue.stop, cache.stop, feeds.stop):
        parts.at_stop(stop)


def _as_gap(announcement: SegmentAnnounced) -> SegmentAnnounced:
    segment = announcement.segment
    gap = Segment(segment.msn, segment.discontinuity, segment.starts_at_ms, segment.duration_ms, None, segment.init)
    return SegmentAnnounced(announcement.stream, announcement.epoch, announcement.target_s, announcement.info, gap)


def _settled(work: Deferred[None]) -> Deferred[None]:
    """Fire when ``work`` is over; its result stays with it."""
    over: Deferred[None] = Deferred()

    def tell(result: object) -> object:
        over.callback(None)
        return result

    work.addBoth(tell)
    return over


def _pause(clock: IReactorTime, seconds: float) -> Deferred[None]:
    over: Deferred[None] = Deferred()
    clock.callLater(seconds, over.callback, None)
    return over


def _whole(body: Body) -> Deferred[bool]:
    """Fire when a body is over, with whether it is whole."""
    over: Deferred[bool] = Deferred()

    def look() -> None:
        if body.state is not BodyState.ARRIVING and not over.called:
            over.callback(body.state is BodyState.WHOLE)

    body.watch(look)
    look()
    return over
