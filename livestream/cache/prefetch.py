"""Objects fetched as soon as they are announced: all of them at an origin, at an edge those of watched renditions."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum
from functools import partial
from typing import ClassVar

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.cache.cache import Cache
from livestream.cache.fill import Unavailable
from livestream.cache.lanes import Lanes
from livestream.model.segments import Announcement, ObjectInfo, Segment, SegmentAnnounced, StreamEnded

REPLICATED_AT_ONCE = 128
"""
So many objects an origin fetches at once. A busy ingest answers, in each turn of its event loop, all the requests that
it has, so this is what an origin gets from it per turn.
"""
PREFETCHED_AT_ONCE = 32
"""So many objects an edge fetches at once before anyone asks for them: viewers' own fetches are not held up."""

RETRY_S = 0.3

AGAIN_S = 1.0
"""A segment whose predecessor is late waits so long for it once it is stored: the upstream answers again by then."""

WATCHED_TARGETS = 3
"""A rendition is watched if any of it was asked for in so many target durations."""

Rendition = tuple[str, str]


class _Stage(Enum):
    """Where the objects of an announcement are."""

    FETCHING = "being fetched"
    LATE = "not stored after a target duration: later segments wait for it once more, when they are stored"
    SKIPPED = "not stored, though later segments have waited for it: none waits any longer"
    STORED = "whole in memory"
    MISSED = "given up"


@define(eq=False)
class _Pending:
    """An announcement whose objects are being fetched, or that waits for its turn to be announced here."""

    announcement: SegmentAnnounced
    stage: _Stage = _Stage.FETCHING
    has_waited: bool = False
    """It is stored, and has waited for late segments before it."""


@define(eq=False)
class OriginReplicator:
    """
    Fetches what upstream announces, and announces it downstream once it is stored: per rendition, in the same order.

    A segment that is not stored within a target duration, and not soon after a later one, is announced out of order
    when it is. One that cannot be fetched at all is not announced, since another origin may have it. It is tried for as
    long as it could be listed, ``length`` target durations: a node that was silent for a while still has it.
    """

    cache: Cache
    length: int
    announce: Callable[[Announcement], object]
    remove: Callable[[str], None]
    clock: IReactorTime
    _pending: dict[Rendition, deque[_Pending]] = field(factory=dict, init=False)
    _ended: dict[str, StreamEnded] = field(factory=dict, init=False)
    _running: set[Deferred[None]] = field(factory=set, init=False)
    _lanes: Lanes = field(factory=lambda: Lanes(REPLICATED_AT_ONCE), init=False)

    log: ClassVar[Logger] = Logger()

    def on_announcement(self, stream: str, announcement: Announcement | None) -> None:
        """Take an announcement from upstream; ``None`` says that the stream is no longer known there."""
        if announcement is None:
            self._remove(stream)
        elif isinstance(announcement, SegmentAnnounced):
            self._replicate(announcement)
        elif isinstance(announcement, StreamEnded):
            self._ended[stream] = announcement
            self._announce_end(stream)
        else:
            self.announce(announcement)

    def stop(self) -> None:
        """Announce nothing more."""
        self._pending.clear()
        for running in list(self._running):
            running.cancel()

    def _remove(self, stream: str) -> None:
        self._ended.pop(stream, None)
        self._pending = {owner: pending for owner, pending in self._pending.items() if owner[0] != stream}
        self.remove(stream)

    def _replicate(self, announcement: SegmentAnnounced) -> None:
        pending = _Pending(announcement)
        self._pending.setdefault((announcement.stream, announcement.info.name), deque()).append(pending)
        running = Deferred.fromCoroutine(self._fetch_all(pending))
        if not running.called:
            self._running.add(running)
            running.addBoth(self._finished, running)

    def _finished(self, result: object, running: Deferred[None]) -> None:
        self._running.discard(running)
        if isinstance(result, Failure) and not result.check(CancelledError):
            self.log.failure("internal error: a segment was not announced", result)

    async def _fetch_all(self, pending: _Pending) -> None:
        """Fetch a segment and its init segment; however that ends, later segments no longer wait for it."""
        stream, rendition = pending.announcement.stream, pending.announcement.info.name
        stage = _Stage.MISSED
        try:
            for info in _objects(pending.announcement.segment):
                if not await self._fetch(pending, info):
                    return
            stage = _Stage.STORED
        finally:
            pending.stage = stage
            self._announce_stored(stream, rendition)
        if pending in self._pending.get((stream, rendition), ()):
            await deferLater(self.clock, AGAIN_S)
            pending.has_waited = True
            self._announce_stored(stream, rendition)

    async def _fetch(self, pending: _Pending, info: ObjectInfo) -> bool:
        """Fetch an object, with retries; return whether it is stored."""
        announced, began_at = pending.announcement, self.clock.seconds()
        stream, rendition = announced.stream, announced.info.name
        while True:
            try:
                await self._lanes.run(partial(self.cache.prefetch, stream, rendition, info))
                return True
            except CancelledError:
                raise
            except Exception as error:
                waited_targets = (self.clock.seconds() + RETRY_S - began_at) / max(announced.target_s, 1)
                if waited_targets > self.length:
                    self.log.warn("giving up {name} of {stream}: {reason}", name=info.name, stream=stream, reason=error)
                    return False
                if waited_targets > 1 and pending.stage is _Stage.FETCHING:
                    pending.stage = _Stage.LATE
                    self._announce_stored(stream, rendition)
            await deferLater(self.clock, RETRY_S)

    def _announce_stored(self, stream: str, rendition: str) -> None:
        """Announce what is stored and waits for nothing before it."""
        stored, kept = [], deque[_Pending]()
        is_held = False
        pending = self._pending.pop((stream, rendition), deque())
        _skip_late(pending)
        for each in pending:
            if each.stage is _Stage.STORED and not is_held:
                stored.append(each.announcement)
            elif each.stage is not _Stage.MISSED:
                kept.append(each)
                is_held = is_held or each.stage in (_Stage.FETCHING, _Stage.LATE)
        if kept:
            self._pending[stream, rendition] = kept
        for announcement in stored:
            self.announce(announcement)
        self._announce_end(stream)

    def _announce_end(self, stream: str) -> None:
        if stream in self._ended and not any(owner == stream for owner, _ in self._pending):
            self.announce(self._ended.pop(stream))


def _skip_late(pending: Iterable[_Pending]) -> None:
    """Have no segment wait any longer for a late one, if a segment after that has waited already."""
    late: list[_Pending] = []
    for each in pending:
        if each.has_waited:
            for one in late:
                one.stage = _Stage.SKIPPED
        elif each.stage is _Stage.LATE:
            late.append(each)


@define(eq=False)
class EdgePrefetcher:
    """Fetches what is announced of renditions that are watched here, so that their viewers' requests are hits."""

    cache: Cache
    _lanes: Lanes = field(factory=lambda: Lanes(PREFETCHED_AT_ONCE), init=False)

    def on_announcement(self, stream: str, announcement: Announcement | None) -> None:
        """Take an announcement from upstream."""
        if not isinstance(announcement, SegmentAnnounced):
            return
        rendition = announcement.info.name
        if self.cache.store.demand.is_watched(stream, rendition, WATCHED_TARGETS * announcement.target_s):
            for info in _objects(announcement.segment):
                self._lanes.run(partial(self.cache.prefetch, stream, rendition, info)).addErrback(_ignore_unavailable)


def _ignore_unavailable(failure: Failure) -> None:
    """A viewer who needs the object asks for it."""
    failure.trap(Unavailable)


def _objects(segment: Segment) -> list[ObjectInfo]:
    return [info for info in (segment.init, segment.media) if info is not None]
