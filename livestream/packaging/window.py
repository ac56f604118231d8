"""The segments of a stream that are listed or can still be fetched, as one node knows them."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from livestream.model.segments import (
    Announcement,
    EpochBegan,
    ObjectInfo,
    RenditionInfo,
    Segment,
    SegmentAnnounced,
    StreamEnded,
    StreamPosition,
    Superseded,
)
from livestream.packaging.numbering import Epochs
from livestream.packaging.rendition_window import NOTHING, RenditionWindow
from livestream.packaging.retention import MediaTime

MIN_TARGETS = 3
"""RFC 8216, 6.2.2: a playlist is never shortened to less than this many target durations."""
SETTLED_SEGMENTS = 3
"""
A stream that lists so many segments of one rendition lists all of them. No playlist that is complete has fewer.
"""
MAX_PENDING = 256
"""How many segments of a rendition may wait for a missing one before them."""


@define(eq=False)
class Window:
    """
    One stream: the newest ``length`` segments of each rendition are listed, and those that were can be fetched for as
    long as `livestream.packaging.retention` says.

    The state depends on what is known, not on the order in which it arrived: two nodes list the same segment, date and
    discontinuity under every number that both list. Numbers, dates and discontinuities are the writer's; see `Epochs`
    for who that is. A segment is listed once all before it in the list are, or once `skip_holes` has declared those
    lost.
    """

    stream: str
    length: int
    target_s: int = field(default=0, init=False)
    """The target duration of the youngest epoch that has segments; 0 while none has."""
    node: str = field(default="", init=False)
    """The node that has the newest segments; empty where nodes have no names."""
    _epochs: Epochs = field(factory=Epochs, init=False)
    _renditions: dict[str, RenditionWindow] = field(factory=dict, init=False)
    _refused: dict[tuple[str, int, int], SegmentAnnounced] = field(factory=dict, init=False)
    _ended: dict[int, StreamEnded] = field(factory=dict, init=False)
    _epoch: int = field(default=0, init=False)
    _target_epoch: int = field(default=0, init=False)
    _oldest_msn: int = field(default=0, init=False)
    _media_ms: int = field(default=0, init=False)
    _counted_msn: int = field(default=-1, init=False)
    _skipped_to_end: bool = field(default=False, init=False)

    # Updates

    def apply(self, announcements: Iterable[Announcement]) -> list[Announcement]:
        """Apply announcements; return those that are new and valid, and earlier ones that have become valid."""
        news: list[Announcement] = []
        for announcement in announcements:
            is_new_epoch = self._epochs.add(announcement.epoch)
            if is_new_epoch:
                self._drop_superseded()
                news += self._retry_refused()
            if announcement.epoch.number >= self._epoch:
                self._update_stream(announcement)
            if isinstance(announcement, SegmentAnnounced) and announcement.epoch.number >= self._target_epoch:
                self._target_epoch, self.target_s = announcement.epoch.number, announcement.target_s
            if isinstance(announcement, SegmentAnnounced):
                news += self._add_segment(announcement)
            elif isinstance(announcement, StreamEnded):
                news += self._add_end(announcement)
            elif is_new_epoch:
                news.append(announcement)
        for rendition in self._renditions.values():
            rendition.extend(self._epochs.list_start, 2 * self.length, self._oldest_msn)
        self._trim()
        return news

    def promise(self, epoch: int) -> StreamPosition:
        """
        Return how far the stream has come, and refuse further numbers from epochs older than this one.

        :raises Superseded: a younger epoch is known, or was promised.
        """
        if self._epochs.newest >= epoch:
            raise Superseded(self._epochs.newest)
        position = self.position()
        self._epochs.promise(epoch, position.msn)
        return position

    def skip_holes(self) -> list[Announcement]:
        """Restart the lists after what is missing, since no node has it. Return what is newly listed."""
        listed: list[Announcement] = []
        for rendition in self._renditions.values():
            if pending := rendition.pending:
                rendition.restart_at(min(pending))
                rendition.advance()
                listed.append(rendition.known[rendition.start])
        if self.is_ended and not self._skipped_to_end:
            self._skipped_to_end = True
            listed.append(self._ended[self._epoch])
        self._trim()
        return listed

    # Queries

    @property
    def epoch(self) -> int:
        """The number of the youngest epoch that was announced."""
        return self._epoch

    @property
    def refused_writers(self) -> list[tuple[str, int]]:
        """The nodes whose segments are refused for a promise, each with the epoch of that promise."""
        pairs = (
            (announced, self._epochs.refusal(announced.epoch, announced.segment.msn))
            for announced in self._refused.values()
        )
        return list({(announced.node, promise.epoch) for announced, promise in pairs if promise is not None})

    @property
    def is_ended(self) -> bool:
        """Whether the broadcast has ended, as far as is known."""
        return self._epoch in self._ended

    @property
    def is_on_air(self) -> bool:
        """Whether a broadcast has begun, even if nothing is listed yet, and has not ended."""
        return self._epoch > 0 and not self.is_ended

    @property
    def is_settled(self) -> bool:
        """Whether all renditions are listed: what is transcoded comes a few seconds after the source."""
        return any(len(self.listed(name)) >= SETTLED_SEGMENTS for name in self._renditions)

    @property
    def is_live(self) -> bool:
        """Whether something is listed, and more is to come."""
        return not self.is_ended and self.last_msn is not None

    @property
    def is_incomplete(self) -> bool:
        """Whether something that is known to exist is missing here."""
        is_behind = any(rendition.pending for rendition in self._renditions.values())
        return is_behind or (self.is_ended and not all(self.is_complete(name) for name in self._renditions))

    def is_complete(self, rendition: str) -> bool:
        """Whether the broadcast has ended and the rendition lists its last segment, or will list no more."""
        if not self.is_ended:
            return False
        known = self._renditions.get(rendition)
        return known is None or self._skipped_to_end or known.end > self._ended[self._epoch].last_msn

    @property
    def last_msn(self) -> int | None:
        """The newest number that any rendition lists; ``None`` if there is none."""
        return max((rendition.end - 1 for rendition in self._renditions.values() if rendition.known), default=None)

    def position(self) -> StreamPosition:
        """How far the stream has come, including what is not listed or currently refused."""
        segments = [announced.segment for announced in (*self._refused.values(), *self._segments())]
        msns = [segment.msn for segment in segments]
        msns += [epoch.first_msn - 1 for epoch in self._epochs.all()]
        msns += [ended.last_msn for ended in self._ended.values()]
        return StreamPosition(
            self._epochs.newest,
            max(msns, default=0),
            max((segment.discontinuity for segment in segments), default=0),
            max((segment.starts_at_ms + segment.duration_ms for segment in segments), default=0),
            self.target_s,
            self.is_ended,
        )

    def announcements(self) -> list[Announcement]:
        """All that is known and still matters, to be applied to another window."""
        segments = sorted(self._segments(), key=lambda announced: announced.segment.msn)
        with_segments = {announced.epoch.number for announced in segments}
        begun = [
            EpochBegan(self.stream, epoch, self.node)
            for epoch in self._epochs.all()
            if epoch.number not in with_segments
        ]
        return [*begun, *segments, *self._ended.values()]

    def has_rendition(self, rendition: str) -> bool:
        """Whether any segment or gap of a rendition is known."""
        return rendition in self._renditions

    def renditions(self) -> list[RenditionInfo]:
        """The renditions that have media listed, by falling bandwidth."""
        infos = [r.info for name, r in self._renditions.items() if any(s.media for s in self.listed(name))]
        return sorted(infos, key=lambda info: -info.bandwidth)

    def listed(self, rendition: str) -> list[Segment]:
        """The segments in a rendition's playlist; none if it has fallen a whole list behind the others."""
        known, last_msn = self._renditions.get(rendition), self.last_msn
        if known is None or last_msn is None:
            return []
        if self._is_late(known, last_msn):
            return []
        return known.list_before(known.end, self.length, self._least_ms)

    def is_listed(self, rendition: str, name: str) -> bool:
        """Whether a rendition's playlist lists this object."""
        objects = (info for segment in self.listed(rendition) for info in (segment.media, segment.init))
        return any(info is not None and info.name == name for info in objects)

    def object_info(self, rendition: str, name: str) -> ObjectInfo | None:
        """An object that can be fetched; ``None`` if it is unknown."""
        known = self._renditions.get(rendition)
        return None if known is None else known.objects.get(name)

    # Inside

    @property
    def _least_ms(self) -> int:
        """How much media a list has at least, once there is as much."""
        return MIN_TARGETS * self.target_s * 1000

    def _is_late(self, rendition: RenditionWindow, last_msn: int) -> bool:
        """Whether it has fallen a whole list behind the others; numbers that were skipped do not count as lag."""
        end = max(rendition.end, min(self._epochs.list_start, last_msn + 1))
        return last_msn + 1 - end > self.length

    def _segments(self) -> list[SegmentAnnounced]:
        return [announced for rendition in self._renditions.values() for announced in rendition.known.values()]

    def _update_stream(self, announcement: Announcement) -> None:
        """Update the state of the stream, which is that of its youngest epoch."""
        self._epoch = announcement.epoch.number
        self.node = announcement.node or self.node
        if isinstance(announcement, SegmentAnnounced):
            self._skipped_to_end = False

    def _add_segment(self, announced: SegmentAnnounced) -> list[Announcement]:
        msn, epoch = announced.segment.msn, announced.epoch
        if msn < self._oldest_msn or not self._epochs.owns(epoch, msn):
            return []
        if self._epochs.refusal(epoch, msn) is not None:
            if len(self._refused) < MAX_PENDING:
                self._refused[announced.info.name, epoch.number, msn] = announced
            return []
        rendition = self._renditions.setdefault(announced.info.name, RenditionWindow(announced.info))
        known = rendition.known.get(msn)
        if known is not None and (announced.segment.is_gap or not known.segment.is_gap):
            return []
        rendition.add(announced)
        if msn >= rendition.end - 1:
            rendition.info = announced.info
        if len(pending := rendition.pending) > MAX_PENDING:
            rendition.drop(min(pending))
        return [announced]

    def _add_end(self, ended: StreamEnded) -> list[Announcement]:
        if ended.epoch.number in self._ended:
            return []
        self._ended[ended.epoch.number] = ended
        return [ended] if self.is_ended else []

    def _drop_superseded(self) -> None:
        """Drop the segments whose numbers now belong to a younger epoch."""
        for rendition in self._renditions.values():
            for msn, announced in list(rendition.known.items()):
                if not self._epochs.owns(announced.epoch, msn):
                    rendition.drop(msn)
                    rendition.end = min(rendition.end, msn)
            rendition.start = min(rendition.start, rendition.end)

    def _retry_refused(self) -> list[Announcement]:
        """Apply again what was refused for a promise, which may be settled now."""
        refused, self._refused = self._refused, {}
        return [news for announced in refused.values() for news in self._add_segment(announced)]

    def _trim(self) -> None:
        """Drop what no viewer can request any more, whenever a list has changed."""
        last_msn = self.last_msn
        if last_msn is None:
            return
        if last_msn > self._counted_msn:
            self._count_media(last_msn)
            self._refuse_old(last_msn)
        for name, rendition in list(self._renditions.items()):
            is_late = self._is_late(rendition, last_msn)
            noted = rendition.start, rendition.end, last_msn if is_late else 0
            if noted != rendition.noted:
                self._drop_past(rendition, is_late)
                rendition.noted = noted
            if not rendition.known:
                del self._renditions[name]

    def _count_media(self, last_msn: int) -> None:
        """Count each number once, by the first rendition that lists it. Numbers that nobody has count for nothing."""
        durations: dict[int, int] = {}
        for rendition in self._renditions.values():
            for msn in range(max(self._counted_msn + 1, rendition.start), rendition.end):
                announced = rendition.known.get(msn)
                if announced is not None:
                    durations.setdefault(msn, announced.segment.duration_ms)
        self._media_ms += sum(durations.values())
        self._counted_msn = last_msn

    def _drop_past(self, rendition: RenditionWindow, is_late: bool) -> None:
        """Note what was listed since this was last called, list by list, and drop the segments whose time is over."""
        first, end, least_ms = max(rendition.noted[1], rendition.start) + 1, rendition.end, self._least_ms
        segments: list[Segment] = []
        older = [msn for msn in rendition.known if msn < rendition.start]
        if older and rendition.noted == NOTHING:  # other nodes have listed them
            rendition.retention.note_length(rendition.list_before(max(older) + 1, self.length, least_ms, min(older)))
        for each in range(first if is_late else min(first, end), end + 1):
            segments = rendition.list_before(each, self.length, least_ms)
            rendition.retention.note_list(segments)
        is_listed = bool(segments) and not is_late
        now = MediaTime(self._media_ms, rendition.media_ms)
        stop = segments[0].msn if is_listed else end
        past = rendition.retention.past(rendition.known, stop, is_listed, now)
        for msn in (*past, *(msn for msn in rendition.pending if msn < self._oldest_msn)):
            rendition.drop(msn)

    def _refuse_old(self, last_msn: int) -> None:
        """Refuse numbers from long ago from here on: a writer that gives them knows less of the stream than this."""
        listed = max(len(self.listed(name)) for name in self._renditions)
        self._oldest_msn = max(self._oldest_msn, last_msn - 2 * max(self.length, listed))
        self._epochs.trim(self._oldest_msn)
        kept = {epoch.number for epoch in self._epochs.all()}
        self._ended = {number: ended for number, ended in self._ended.items() if number in kept}
        self._refused = {
            key: announced for key, announced in self._refused.items() if announced.segment.msn >= self._oldest_msn
        }
