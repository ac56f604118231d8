"""What is announced, fetched before anyone asks: all of it at an origin, at an edge what its viewers will ask for."""

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
An origin fetches so many objects at once. A busy ingest answers in each turn of its loop all that it was asked for, so
that this is what an origin has from it in a turn.
"""
PREFETCHED_AT_ONCE = 32
"""An edge fetches so many objects at once with nobody waiting for them: viewers' fetches find the way free."""

RETRY_S = 0.3

AGAIN_S = 1.0
"""What is late is waited for so long once what follows is here: the node answers, and is asked for it again."""

WATCHED_TARGETS = 3
"""A rendition has viewers if any of it was asked for in so many target durations."""

Rendition = tuple[str, str]


class _Stage(Enum):
    """Where the objects of an announcement are."""

    COMING = "on their way here"
    LATE = "not here after a target duration: what follows waits for them a moment more, once it is here itself"
    OVERTAKEN = "not here, though what follows has waited for them: nothing does any longer"
    HERE = "whole in memory"
    MISSED = "not to be had"


@define(eq=False)
class _Pending:
    """An announcement, and its objects on their way here."""

    announcement: SegmentAnnounced
    stage: _Stage = _Stage.COMING
    has_waited: bool = False
    """It is here, and has waited for what is late before it."""


@define(eq=False)
class OriginReplicator:
    """
    Fetches what is announced, and announces it in turn once it is here, of each rendition in the order it was heard.

    What is not here within a target duration, and not soon after something that follows it, is announced when it comes,
    out of its turn; one that cannot be had at all is not announced, for another node of this tier may have it. A node
    that was silent for a while has it still: it is tried for as long as it could be listed, ``length`` target
    durations.
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
        """Take an announcement of the tier above; ``None`` says that the stream is no longer known there."""
        if announcement is None:
            self._remove(stream)
        elif isinstance(announcement, SegmentAnnounced):
            self._replicate(announcement)
        elif isinstance(announcement, StreamEnded):
            self._ended[stream] = announcement
            self._pass_end_on(stream)
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
        running = Deferred.fromCoroutine(self._settle(pending))
        if not running.called:
            self._running.add(running)
            running.addBoth(self._settled, running)

    def _settled(self, result: object, running: Deferred[None]) -> None:
        self._running.discard(running)
        if isinstance(result, Failure) and not result.check(CancelledError):
            self.log.failure("a segment was not passed on", result)

    async def _settle(self, pending: _Pending) -> None:
        """Whatever happens, what follows is not kept back by this for ever."""
        stage = _Stage.MISSED
        try:
            for info in _objects(pending.announcement.segment):
                if not await self._fetch(pending, info):
                    return
            stage = _Stage.HERE
        finally:
            pending.stage = stage
            self._pass_on(pending.announcement.stream, pending.announcement.info.name)
        if pending in self._pending.get((pending.announcement.stream, pending.announcement.info.name), ()):
            await deferLater(self.clock, AGAIN_S)
            pending.has_waited = True
            self._pass_on(pending.announcement.stream, pending.announcement.info.name)

    async def _fetch(self, pending: _Pending, info: ObjectInfo) -> bool:
        """Return whether the object is here."""
        heard, began_at = pending.announcement, self.clock.seconds()
        while True:
            try:
                await self._lanes.run(partial(self.cache.prefetch, heard.stream, heard.info.name, info))
                return True
            except CancelledError:
                raise
            except Exception as error:
                waited_targets = (self.clock.seconds() + RETRY_S - began_at) / max(heard.target_s, 1)
                if waited_targets > self.length:
                    self.log.warn("{name} of {stream} is missed: {why}", name=info.name, stream=heard.stream, why=error)
                    return False
                if waited_targets > 1 and pending.stage is _Stage.COMING:
                    pending.stage = _Stage.LATE
                    self._pass_on(heard.stream, heard.info.name)
            await deferLater(self.clock, RETRY_S)

    def _pass_on(self, stream: str, rendition: str) -> None:
        here, kept = [], deque[_Pending]()
        is_held = False
        pending = self._pending.pop((stream, rendition), deque())
        _overtake(pending)
        for each in pending:
            if each.stage is _Stage.HERE and not is_held:
                here.append(each.announcement)
            elif each.stage is not _Stage.MISSED:
                kept.append(each)
                is_held = is_held or each.stage in (_Stage.COMING, _Stage.LATE)
        if kept:
            self._pending[stream, rendition] = kept
        for announcement in here:
            self.announce(announcement)
        self._pass_end_on(stream)

    def _pass_end_on(self, stream: str) -> None:
        if stream in self._ended and not any(owner == stream for owner, _ in self._pending):
            self.announce(self._ended.pop(stream))


def _overtake(pending: Iterable[_Pending]) -> None:
    """Have nothing wait any longer for what is late and comes before something that has waited for it."""
    late: list[_Pending] = []
    for each in pending:
        if each.has_waited:
            for one in late:
                one.stage = _Stage.OVERTAKEN
        elif each.stage is _Stage.LATE:
            late.append(each)


@define(eq=False)
class EdgePrefetcher:
    """Fetches what is announced of renditions that have viewers here, so that their requests are hits."""

    cache: Cache
    _lanes: Lanes = field(factory=lambda: Lanes(PREFETCHED_AT_ONCE), init=False)

    def on_announcement(self, stream: str, announcement: Announcement | None) -> None:
        """Take an announcement of the tier above."""
        if not isinstance(announcement, SegmentAnnounced):
            return
        rendition = announcement.info.name
        if self.cache.store.demand.is_watched(stream, rendition, WATCHED_TARGETS * announcement.target_s):
            for info in _objects(announcement.segment):
                self._lanes.run(partial(self.cache.prefetch, stream, rendition, info)).addErrback(_not_now)


def _not_now(failure: Failure) -> None:
    """Whoever needs it will ask for it."""
    failure.trap(Unavailable)


def _objects(segment: Segment) -> list[ObjectInfo]:
    return [info for info in (segment.init, segment.media) if info is not None]
