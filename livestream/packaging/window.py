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

MIN_TARGETS = 3
"""RFC 8216, 6.2.2: a playlist is never shortened to less than this many target durations."""
MAX_PENDING = 256
"""How many segments of a rendition may wait for a missing one before them."""
MAX_DISCONTINUITY_STEP = 16
"""A larger jump of the discontinuity number restarts the list, since each step is a line in the playlist."""


@define(eq=False)
class _Rendition:
    """The known segments, by number; all from ``start`` up to ``end`` (exclusive) are known, and are or were listed."""

    info: RenditionInfo
    known: dict[int, SegmentAnnounced] = field(factory=dict)
    start: int = 0
    end: int = 0
    _objects: dict[str, ObjectInfo] | None = None

    def add(self, announced: SegmentAnnounced) -> None:
        self.known[announced.segment.msn] = announced
        self._objects = None

    def drop(self, msn: int) -> None:
        del self.known[msn]
        self._objects = None

    @property
    def objects(self) -> dict[str, ObjectInfo]:
        """The objects that can be fetched, by name."""
        if self._objects is None:
            segments = [announced.segment for announced in self.known.values()]
            infos = [info for segment in segments for info in (segment.init, segment.media) if info is not None]
            self._objects = {info.name: info for info in infos}
        return self._objects

    @property
    def pending(self) -> list[int]:
        """The numbers that wait for a missing one before them."""
        return [msn for msn in self.known if msn > self.end]

    def extend(self, list_start: int, length: int) -> None:
        """
        Start the list if it is empty or ends before ``list_start``, and list all that follows contiguously.

        An empty list starts with the oldest known of the newest ``length`` numbers; if its epoch begins among them,
        with the epoch's first, which other nodes may list.
        """
        if self.start == self.end or self.end < list_start:
            self._start(list_start, length)
        self.advance()

    def advance(self) -> None:
        """List all that follows contiguously."""
        while self.end in self.known:
            self.end += 1

    def restart_at(self, msn: int) -> None:
        """Restart the list at this number, unless that is next anyway."""
        if msn != self.end:
            self.start = self.end = msn

    def _start(self, list_start: int, length: int) -> None:
        is_empty = self.start == self.end
        late = [msn for msn in self.known if msn >= max(self.end, list_start)]
        if late or (is_empty and self.known):
            known = late or list(self.known)
            oldest = max(known) - length + 1
            msn = min(msn for msn in known if msn >= oldest)
            first = self.known[msn].epoch.first_msn
            self.restart_at(first if is_empty and first >= max(oldest, list_start) else msn)


@define(eq=False)
class Window:
    """
    One stream: the newest ``length`` segments of each rendition are listed, and as many more can still be fetched,
    since a viewer's playlist may be as old as it is long.

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
    _renditions: dict[str, _Rendition] = field(factory=dict, init=False)
    _refused: dict[tuple[str, int, int], SegmentAnnounced] = field(factory=dict, init=False)
    _ended: dict[int, StreamEnded] = field(factory=dict, init=False)
    _epoch: int = field(default=0, init=False)
    _target_epoch: int = field(default=0, init=False)
    _oldest_msn: int = field(default=0, init=False)
    _trimmed_msn: int = field(default=-1, init=False)
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
            rendition.extend(self._epochs.list_start, 2 * self.length)
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
        if last_msn + 1 - self._list_end(known) > self.length:
            return []
        segments: list[Segment] = []
        total_ms = 0
        for msn in range(known.end - 1, known.start - 1, -1):
            is_enough = len(segments) >= self.length and total_ms >= MIN_TARGETS * self.target_s * 1000
            announced = known.known.get(msn)
            if is_enough or announced is None or (segments and not _follows(announced.segment, segments[-1])):
                break
            segments.append(announced.segment)
            total_ms += announced.segment.duration_ms
        segments.reverse()
        return segments

    def is_listed(self, rendition: str, name: str) -> bool:
        """Whether a rendition's playlist lists this object."""
        objects = (info for segment in self.listed(rendition) for info in (segment.media, segment.init))
        return any(info is not None and info.name == name for info in objects)

    def object_info(self, rendition: str, name: str) -> ObjectInfo | None:
        """An object that can be fetched; ``None`` if it is unknown."""
        known = self._renditions.get(rendition)
        return None if known is None else known.objects.get(name)

    # Inside

    def _list_end(self, rendition: _Rendition) -> int:
        """Where a rendition's list ends; numbers that were skipped do not count as lag."""
        return max(rendition.end, min(self._epochs.list_start, (self.last_msn or 0) + 1))

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
        rendition = self._renditions.setdefault(announced.info.name, _Rendition(announced.info))
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
        """Drop what no viewer can request any more, whenever the newest number has changed."""
        last_msn = self.last_msn
        if last_msn is None or last_msn == self._trimmed_msn:
            return
        self._trimmed_msn = last_msn
        listed = max(len(self.listed(name)) for name in self._renditions)
        self._oldest_msn = max(self._oldest_msn, last_msn - 2 * max(self.length, listed))
        for name, rendition in list(self._renditions.items()):
            is_to_follow = rendition.end <= self._epochs.list_start and self._list_end(rendition) > self._oldest_msn
            for msn in [msn for msn in rendition.known if msn < self._oldest_msn and not is_to_follow]:
                rendition.drop(msn)
            if not rendition.known:
                del self._renditions[name]
        self._epochs.trim(self._oldest_msn)
        kept = {epoch.number for epoch in self._epochs.all()}
        self._ended = {number: ended for number, ended in self._ended.items() if number in kept}
        self._refused = {
            key: announced for key, announced in self._refused.items() if announced.segment.msn >= self._oldest_msn
        }


def _follows(before: Segment, after: Segment) -> bool:
    return 0 <= after.discontinuity - before.discontinuity <= MAX_DISCONTINUITY_STEP
