"""The segments of a stream that are listed, or may still be fetched, as one node knows them."""

from __future__ import annotations

from enum import Enum

from attrs import define, field, frozen

from livestream.model import Announcement, ObjectInfo, RenditionInfo, Segment, SegmentAnnounced, StreamEnded
from livestream.packaging.numbering import Numbering, Place

LEAST_TARGETS = 3
"""RFC 8216, 6.2.2: a playlist is never shortened to less than this many target durations."""
MOST_BREAKS = 16
"""A discontinuity number that jumps farther begins the list anew, for each step is a line in the playlist."""


@frozen
class RenditionState:
    """A rendition, and its segments that may still be fetched, in order."""

    info: RenditionInfo
    segments: tuple[Segment, ...]


@frozen
class StreamState:
    """
    All that there is to know of a stream, as it travels between nodes. Nothing before ``since_msn`` is listed.

    ``node`` is the id of the node that has its newest segments; empty where nodes have none.
    """

    stream: str
    epoch: int
    target_s: int
    is_ended: bool
    renditions: tuple[RenditionState, ...]
    since_msn: int = 0
    node: str = ""


class Change(Enum):
    """What an announcement was to a window."""

    NEWS = "something new"
    KNOWN = "nothing new"
    HOLE = "something before it is missing"
    STALE = "of an older life of the broadcast"


@define(eq=False)
class _Rendition:
    info: RenditionInfo
    segments: list[Segment] = field(factory=list)

    @property
    def newest_msn(self) -> int:
        return self.segments[-1].msn


@define(eq=False)
class Window:
    """
    One stream as announcements tell it: the newest ``length`` segments of each rendition are listed, and as many
    more can still be fetched, since a viewer may have a playlist that is as old as it is long.

    Numbers and dates never go down, and are the same in all renditions: see :class:`Numbering`. So what a window
    tells others (:meth:`told`, :meth:`state`, and what :meth:`fill` and :meth:`merge` return) may have higher ones
    than it was told.
    """

    stream: str
    length: int
    epoch: int = field(default=0, init=False)
    target_s: int = field(default=0, init=False)
    is_ended: bool = field(default=False, init=False)
    since_msn: int = field(default=0, init=False)
    node: str = field(default="", init=False)
    _renditions: dict[str, _Rendition] = field(factory=dict, init=False)
    _numbering: Numbering = field(factory=Numbering, init=False)

    def apply(self, announcement: Announcement) -> Change:
        """Take one announcement in, unless something before it is missing."""
        if isinstance(announcement, StreamEnded):
            change = self._weigh_end(announcement)
            if change is Change.NEWS:
                self._end(announcement)
        else:
            change = self._weigh(announcement)
            if change is Change.NEWS:
                self._append(announcement)
        return change

    def fill(self, announcement: Announcement) -> list[Announcement]:
        """
        Take one announcement in for good, with gaps for what is missing before it, and return all that was new.

        Where more is missing than a playlist lists, the list begins anew.
        """
        if isinstance(announcement, StreamEnded):
            if self._weigh_end(announcement) not in (Change.NEWS, Change.HOLE):
                return []
            self._end(announcement)
            return [self.told(announcement)]
        change = self._weigh(announcement)
        news: list[Announcement] = self._bridge(announcement) if change is Change.HOLE else []
        if change in (Change.NEWS, Change.HOLE):
            self._append(announcement)
            news.append(self.told(announcement))
        return news

    def merge(self, state: StreamState) -> list[Announcement]:
        """Take a whole state in, and return what of it was new, as announcements."""
        if state.epoch < self.epoch:
            return []
        news: list[Announcement] = []
        pairs = [(segment, rendition.info) for rendition in state.renditions for segment in rendition.segments]
        for segment, info in sorted(pairs, key=lambda pair: (pair[0].msn, pair[0].is_gap)):
            epoch = self._epoch_of(segment, state.epoch)
            news += self.fill(SegmentAnnounced(state.stream, epoch, state.target_s, info, segment, state.node))
        last = self._numbering.last
        if last is not None and self.epoch == state.epoch:
            since_msn = self._numbering.msn(state.epoch, state.since_msn)
            self.since_msn = max(self.since_msn, min(since_msn, last.msn))
            if state.is_ended:
                news += self.fill(StreamEnded(self.stream, state.epoch, last.msn))
        return news

    def told(self, announcement: Announcement) -> Announcement:
        """What has just been taken in, with the numbers that it got here."""
        last = self._numbering.last
        assert last is not None
        if isinstance(announcement, StreamEnded):
            return StreamEnded(self.stream, self.epoch, last.msn)
        return self._announcement(self._renditions[announcement.info.name])

    def state(self) -> StreamState:
        """What this node knows, for others."""
        renditions = tuple(RenditionState(r.info, tuple(r.segments)) for r in self._renditions.values())
        return StreamState(self.stream, self.epoch, self.target_s, self.is_ended, renditions, self.since_msn, self.node)

    def renditions(self) -> list[RenditionInfo]:
        """The renditions that have media listed, the most demanding first."""
        infos = [r.info for name, r in self._renditions.items() if any(s.media for s in self.listed(name))]
        return sorted(infos, key=lambda info: -info.bandwidth)

    def listed(self, rendition: str) -> list[Segment]:
        """What the playlist of a rendition lists: nothing of one that has fallen a whole list behind the others."""
        known, last = self._renditions.get(rendition), self._numbering.last
        if known is None or last is None or last.msn - known.newest_msn > self.length:
            return []
        first, total_ms = len(known.segments), 0
        for segment in reversed(known.segments):
            count = len(known.segments) - first
            is_enough = count >= self.length and total_ms >= LEAST_TARGETS * self.target_s * 1000
            if is_enough or segment.msn < self.since_msn or segment.msn != known.newest_msn - count:
                break
            first, total_ms = first - 1, total_ms + segment.duration_ms
        return known.segments[first:]

    def object_info(self, rendition: str, name: str) -> ObjectInfo | None:
        """What is known of an object that may be fetched."""
        known = self._renditions.get(rendition)
        for segment in reversed(known.segments if known else ()):
            for info in (segment.media, segment.init):
                if info is not None and info.name == name:
                    return info
        return None

    @property
    def last_msn(self) -> int | None:
        """The newest number that any rendition has."""
        return None if self._numbering.last is None else self._numbering.last.msn

    def _weigh(self, announcement: SegmentAnnounced) -> Change:
        """What a segment would be. One of an older life is heard only where the newer has not overtaken it."""
        numbering, epoch = self._numbering, announcement.epoch
        msn = numbering.msn(epoch, announcement.segment.msn)
        if self.is_ended and epoch <= self.epoch:
            return Change.KNOWN
        if not numbering.accepts(epoch, msn):
            return Change.STALE if epoch < self.epoch else Change.KNOWN
        rendition = self._renditions.get(announcement.info.name)
        newest = rendition.newest_msn if rendition is not None else self.last_msn
        if newest is not None and msn > newest + 1:
            return Change.HOLE
        return Change.KNOWN if rendition is not None and msn <= rendition.newest_msn else Change.NEWS

    def _weigh_end(self, ended: StreamEnded) -> Change:
        if ended.epoch < self.epoch:
            return Change.STALE
        if self.last_msn is None or (self.is_ended and ended.epoch == self.epoch):
            return Change.KNOWN
        last_msn = self._numbering.msn(ended.epoch, ended.last_msn)
        newest = min((r.newest_msn for name, r in self._renditions.items() if self.listed(name)), default=last_msn)
        return Change.HOLE if ended.epoch > self.epoch or newest < last_msn else Change.NEWS

    def _end(self, ended: StreamEnded) -> None:
        self.epoch = ended.epoch
        self.is_ended = True

    def _append(self, announcement: SegmentAnnounced) -> None:
        before = self._numbering.last
        place = self._numbering.take(announcement.epoch, announcement.segment)
        if announcement.epoch > self.epoch:
            self._begin_epoch(announcement, place)
        if announcement.epoch == self.epoch:
            self.node = announcement.node
        if before is not None and place.discontinuity - before.discontinuity > MOST_BREAKS:
            self.since_msn = max(self.since_msn, place.msn)
        segment = announcement.segment
        self._put(announcement.info, place.holding(segment.media, segment.init, segment.independent))
        self._trim()

    def _begin_epoch(self, announcement: SegmentAnnounced, place: Place) -> None:
        """A list that had ended, or whose target duration is too short now, begins anew; others just go on."""
        if self.is_ended or announcement.target_s > self.target_s:
            self.since_msn = place.msn if self.target_s else 0
            self.target_s = announcement.target_s
        self.is_ended = False
        self.epoch = announcement.epoch

    def _put(self, info: RenditionInfo, segment: Segment) -> None:
        rendition = self._renditions.setdefault(info.name, _Rendition(info))
        rendition.info = info
        rendition.segments.append(segment)

    def _bridge(self, announcement: SegmentAnnounced) -> list[Announcement]:
        """Gaps for what a rendition misses before a segment, unless that is more than a list has."""
        news: list[Announcement] = []
        numbering, info, epoch = self._numbering, announcement.info, announcement.epoch
        msn = numbering.msn(epoch, announcement.segment.msn)
        if self.last_msn is not None and msn - self.last_msn - 1 <= self.length:
            numbering.bridge(epoch, announcement.segment, self.target_s * 1000)
        rendition = self._renditions.get(info.name)
        if rendition is None or msn - rendition.newest_msn - 1 > self.length:
            return news
        for missing in range(rendition.newest_msn + 1, msn):
            place = numbering.at(missing)
            if place is not None:
                last = numbering.at(missing - 1)
                init = rendition.segments[-1].init if last is not None and last.epoch == place.epoch else None
                self._put(info, place.holding(None, init))
                news.append(self._announcement(rendition))
        return news

    def _announcement(self, rendition: _Rendition) -> SegmentAnnounced:
        """The newest segment of a rendition."""
        segment = rendition.segments[-1]
        place = self._numbering.at(segment.msn)
        assert place is not None
        return SegmentAnnounced(self.stream, place.epoch, self.target_s, rendition.info, segment, self.node)

    def _trim(self) -> None:
        """Forget what no viewer can ask for any more."""
        listed = max(len(self.listed(name)) for name in self._renditions)
        oldest_msn = (self.last_msn or 0) - 2 * max(self.length, listed)
        for name, rendition in list(self._renditions.items()):
            rendition.segments = [segment for segment in rendition.segments if segment.msn >= oldest_msn]
            if not rendition.segments:
                del self._renditions[name]
        self._numbering.forget_before(oldest_msn)

    def _epoch_of(self, segment: Segment, epoch: int) -> int:
        """The life that a segment in a state of ``epoch`` is of, as the names of its objects tell."""
        for info in (segment.media, segment.init):
            prefix = info.name.partition("-")[0] if info is not None else ""
            if prefix.isdigit():
                return min(int(prefix), epoch)
        return epoch
