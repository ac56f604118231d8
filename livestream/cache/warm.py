"""What is announced, fetched before anyone asks: all of it at an origin, at an edge what its viewers will ask for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import ClassVar

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.cache.coalesce import Cache
from livestream.cache.fill import Unavailable
from livestream.cache.lanes import Lanes
from livestream.model import Announcement, ObjectInfo, Segment, SegmentAnnounced, StreamEnded

AT_ONCE = 32
"""So many objects are fetched at once with nobody waiting for them: viewers' fetches find the way free."""

RETRY_S = 0.3

WATCHED_TARGETS = 3
"""A rendition has viewers if any of it was asked for in so many target durations."""

Rendition = tuple[str, str]


@define(eq=False)
class _Coming:
    """An announcement, and its objects on their way here."""

    announcement: SegmentAnnounced
    is_settled: bool = False


@define(eq=False)
class Collector:
    """
    Fetches what is announced, and announces it in turn once it is here, of each rendition in the order it was heard.

    It tries for one target duration; what could not be had by then is announced as a gap.
    """

    cache: Cache
    announce: Callable[[Announcement], object]
    forget: Callable[[str], None]
    clock: IReactorTime
    _coming: dict[Rendition, deque[_Coming]] = field(factory=dict, init=False)
    _ended: dict[str, StreamEnded] = field(factory=dict, init=False)
    _running: set[Deferred[None]] = field(factory=set, init=False)
    _lanes: Lanes = field(factory=lambda: Lanes(AT_ONCE), init=False)

    log: ClassVar[Logger] = Logger()

    def heard(self, stream: str, announcement: Announcement | None) -> None:
        """Take an announcement of the tier above; ``None`` says that the stream is no longer known there."""
        if announcement is None:
            self._forget(stream)
        elif isinstance(announcement, StreamEnded):
            self._ended[stream] = announcement
            self._pass_end_on(stream)
        else:
            self._collect(announcement)

    def stop(self) -> None:
        """Announce nothing more."""
        for running in list(self._running):
            running.cancel()

    def _forget(self, stream: str) -> None:
        self._ended.pop(stream, None)
        self._coming = {owner: coming for owner, coming in self._coming.items() if owner[0] != stream}
        self.forget(stream)

    def _collect(self, announcement: SegmentAnnounced) -> None:
        coming = _Coming(announcement)
        self._coming.setdefault((announcement.stream, announcement.info.name), deque()).append(coming)
        running = Deferred.fromCoroutine(self._settle(coming))
        if not running.called:
            self._running.add(running)
            running.addBoth(self._settled, running)

    def _settled(self, result: object, running: Deferred[None]) -> None:
        self._running.discard(running)
        if isinstance(result, Failure) and not result.check(CancelledError):
            self.log.failure("a segment was not passed on", result)

    async def _settle(self, coming: _Coming) -> None:
        heard = coming.announcement
        for info in _objects(heard.segment):
            if not await self._fetch(heard, info):
                coming.announcement = _as_gap(heard)
                break
        coming.is_settled = True
        self._pass_on(heard.stream, heard.info.name)

    async def _fetch(self, heard: SegmentAnnounced, info: ObjectInfo) -> bool:
        """Return whether the object is here."""
        until = self.clock.seconds() + heard.target_s
        while True:
            try:
                await self._lanes.run(partial(self.cache.warm, heard.stream, heard.info.name, info))
                return True
            except CancelledError:
                raise
            except Exception as error:
                if self.clock.seconds() + RETRY_S > until:
                    self.log.warn("{name} of {stream} is missed: {why}", name=info.name, stream=heard.stream, why=error)
                    return False
            await deferLater(self.clock, RETRY_S)

    def _pass_on(self, stream: str, rendition: str) -> None:
        coming = self._coming.get((stream, rendition), deque())
        while coming and coming[0].is_settled:
            self.announce(coming.popleft().announcement)
        if not coming:
            self._coming.pop((stream, rendition), None)
            self._pass_end_on(stream)

    def _pass_end_on(self, stream: str) -> None:
        if stream in self._ended and not any(owner == stream for owner, _ in self._coming):
            self.announce(self._ended.pop(stream))


@define(eq=False)
class Warmer:
    """Fetches what is announced of renditions that have viewers here, so that their requests are hits."""

    cache: Cache
    _lanes: Lanes = field(factory=lambda: Lanes(AT_ONCE), init=False)

    def heard(self, stream: str, announcement: Announcement | None) -> None:
        """Take an announcement of the tier above."""
        if not isinstance(announcement, SegmentAnnounced):
            return
        rendition = announcement.info.name
        if self.cache.store.interest.is_watched(stream, rendition, WATCHED_TARGETS * announcement.target_s):
            for info in _objects(announcement.segment):
                self._lanes.run(partial(self.cache.warm, stream, rendition, info)).addErrback(_not_now)


def _not_now(failure: Failure) -> None:
    """Whoever needs it will ask for it."""
    failure.trap(Unavailable)


def _objects(segment: Segment) -> list[ObjectInfo]:
    return [info for info in (segment.init, segment.media) if info is not None]


def _as_gap(announcement: SegmentAnnounced) -> SegmentAnnounced:
    segment = announcement.segment
    gap = Segment(segment.msn, segment.discontinuity, segment.starts_at_ms, segment.duration_ms, None, segment.init)
    return evolve(announcement, segment=gap)
