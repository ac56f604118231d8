"""The segments of a stream that are listed, or may still be fetched, as one node knows them."""

from __future__ import annotations

from collections.abc import Iterable
from enum import Enum

from attrs import define, evolve, field, frozen

from livestream.model import Announcement, ObjectInfo, RenditionInfo, Segment, SegmentAnnounced, StreamEnded

LEAST_TARGETS = 3
"""RFC 8216, 6.2.2: a playlist is never shortened to less than this many target durations."""


@frozen
class RenditionState:
    """A rendition, and its segments that may still be fetched, in order."""

    info: RenditionInfo
    segments: tuple[Segment, ...]


@frozen
class StreamState:
    """All that there is to know of a stream, as it travels between nodes."""

    stream: str
    epoch: int
    target_s: int
    is_ended: bool
    renditions: tuple[RenditionState, ...]


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


@define(eq=False)
class Window:
    """
    One stream as announcements tell it: the newest ``length`` segments of each rendition are listed, and as many
    more can still be fetched, since a viewer may have a playlist that is as old as it is long.

    Numbers never go down: a newer epoch goes on after the older one, lifted above it if its ingest did not know it.
    """

    stream: str
    length: int
    epoch: int = field(default=0, init=False)
    target_s: int = field(default=0, init=False)
    is_ended: bool = field(default=False, init=False)
    _renditions: dict[str, _Rendition] = field(factory=dict, init=False)
    _lift: int = field(default=0, init=False)
    _lift_ms: int = field(default=0, init=False)
    _last_msn: int | None = field(default=None, init=False)

    def apply(self, announcement: Announcement) -> Change:
        """Take one announcement in."""
        if announcement.epoch < self.epoch:
            return Change.STALE
        if isinstance(announcement, StreamEnded):
            return self._end(announcement)
        if announcement.epoch > self.epoch:
            self._begin_epoch(announcement)
        return self._append(announcement.info, announcement.segment)

    def fill(self, announcement: Announcement) -> Change:
        """
        Take one announcement in for good: what is missing before it will not come, and becomes gaps.

        Where more is missing than a playlist lists, the list begins anew.
        """
        change = self.apply(announcement)
        if change is not Change.HOLE or isinstance(announcement, StreamEnded):
            return change
        info, segment = announcement.info, announcement.segment
        rendition = self._renditions[info.name]
        missing = range(rendition.segments[-1].msn + 1, segment.msn)
        if len(missing) > self.length:
            rendition.segments.clear()
        else:
            for msn in missing:
                self._add(rendition, info, self._gap_before(rendition.segments[-1], segment, msn))
        return self.apply(announcement)

    def merge(self, state: StreamState) -> list[Announcement]:
        """Take a whole state in, and return what of it was new, as announcements."""
        news: list[Announcement] = []
        if state.epoch < self.epoch:
            return news
        for rendition in state.renditions:
            for segment in self._unknown(state, rendition):
                announcement = SegmentAnnounced(state.stream, state.epoch, state.target_s, rendition.info, segment)
                if self.fill(announcement) is Change.NEWS:
                    news.append(announcement)
        if state.is_ended and not self.is_ended and self.epoch == state.epoch:
            self._finish()
            news.append(StreamEnded(state.stream, state.epoch, self.last_msn or 0))
        return news

    def state(self) -> StreamState:
        """What this node knows, for others."""
        renditions = (RenditionState(r.info, tuple(r.segments)) for r in self._renditions.values())
        return StreamState(self.stream, self.epoch, self.target_s, self.is_ended, tuple(renditions))

    def renditions(self) -> list[RenditionInfo]:
        """The renditions that have media listed, the most demanding first."""
        infos = [r.info for name, r in self._renditions.items() if any(s.media for s in self.listed(name))]
        return sorted(infos, key=lambda info: -info.bandwidth)

    def listed(self, rendition: str) -> list[Segment]:
        """What the playlist of a rendition lists."""
        known = self._renditions.get(rendition)
        if known is None:
            return []
        count, total_ms = 0, 0
        for segment in reversed(known.segments):
            if count >= self.length and total_ms >= LEAST_TARGETS * self.target_s * 1000:
                break
            count, total_ms = count + 1, total_ms + segment.duration_ms
        return known.segments[len(known.segments) - count :]

    def object_info(self, rendition: str, name: str) -> ObjectInfo | None:
        """What is known of an object that may be fetched."""
        known = self._renditions.get(rendition)
        for segment in reversed(known.segments if known else ()):
            for info in (segment.media, segment.init):
                if info is not None and info.name == name:
                    return info
        return None

    def newest_msn(self, rendition: str) -> int | None:
        """The newest number that a rendition has."""
        known = self._renditions.get(rendition)
        return known.segments[-1].msn if known and known.segments else None

    @property
    def last_msn(self) -> int | None:
        """The newest number that any rendition has."""
        return max((r.segments[-1].msn for r in self._renditions.values() if r.segments), default=None)

    @property
    def last_discontinuity(self) -> int | None:
        return max((r.segments[-1].discontinuity for r in self._renditions.values() if r.segments), default=None)

    @property
    def ends_at_ms(self) -> int:
        """The program date and time at which the newest segment ends."""
        ends = (r.segments[-1].starts_at_ms + r.segments[-1].duration_ms for r in self._renditions.values())
        return max(ends, default=0)

    def _append(self, info: RenditionInfo, segment: Segment) -> Change:
        rendition = self._renditions.setdefault(info.name, _Rendition(info))
        newest = rendition.segments[-1].msn if rendition.segments else None
        if newest is not None and segment.msn <= newest:
            return Change.KNOWN
        if newest is not None and segment.msn > newest + 1:
            return Change.HOLE
        self._add(rendition, info, segment)
        return Change.NEWS

    def _add(self, rendition: _Rendition, info: RenditionInfo, segment: Segment) -> None:
        if self._lift or self._lift_ms:
            segment = evolve(
                segment,
                discontinuity=segment.discontinuity + self._lift,
                starts_at_ms=segment.starts_at_ms + self._lift_ms,
            )
        rendition.info = info
        rendition.segments.append(segment)
        del rendition.segments[: -2 * self._kept(rendition)]

    def _kept(self, rendition: _Rendition) -> int:
        return max(self.length, len(self.listed(rendition.info.name)))

    def _gap_before(self, last: Segment, following: Segment, msn: int) -> Segment:
        count = following.msn - last.msn - 1
        begins_ms = last.starts_at_ms + last.duration_ms
        span_ms = following.starts_at_ms + self._lift_ms - begins_ms
        length_ms = min(max(span_ms // count, 1), self.target_s * 1000)
        starts_at_ms = begins_ms + (msn - last.msn - 1) * length_ms
        return Segment(msn, last.discontinuity - self._lift, starts_at_ms - self._lift_ms, length_ms, None, last.init)

    def _unknown(self, state: StreamState, rendition: RenditionState) -> Iterable[Segment]:
        if state.epoch > self.epoch:
            return rendition.segments
        newest = self.newest_msn(rendition.info.name)
        return [s for s in rendition.segments if newest is None or s.msn > newest]

    def _begin_epoch(self, announcement: SegmentAnnounced) -> None:
        segment = announcement.segment
        last, ended_ms, newest = self.last_discontinuity, self.ends_at_ms, self.last_msn
        self.epoch = announcement.epoch
        self.is_ended = False
        if last is not None and self.target_s:
            self._lift = max(0, last + 1 - segment.discontinuity)
            self._lift_ms = max(0, ended_ms - segment.starts_at_ms)
        if newest is None or segment.msn <= newest or announcement.target_s != self.target_s:
            self._renditions.clear()
        self.target_s = announcement.target_s

    def _end(self, ended: StreamEnded) -> Change:
        if ended.epoch != self.epoch or self.is_ended:
            return Change.KNOWN
        if self.last_msn is not None and self.last_msn < ended.last_msn:
            return Change.HOLE
        self._finish()
        return Change.NEWS

    def _finish(self) -> None:
        self.is_ended = True
