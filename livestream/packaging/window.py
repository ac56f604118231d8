"""The segments of a stream that are listed, or may still be fetched, as one node knows them."""

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

LEAST_TARGETS = 3
"""RFC 8216, 6.2.2: a playlist is never shortened to less than this many target durations."""
MOST_PENDING = 256
"""So many segments of a rendition wait at most for one before them that is missing."""
MOST_BREAKS = 16
"""A discontinuity number that jumps farther begins the list anew, for each step is a line in the playlist."""


@define(eq=False)
class _Rendition:
    """What is known, by number; all from ``start`` up to ``end`` (exclusive) is, and is listed or was."""

    info: RenditionInfo
    known: dict[int, SegmentAnnounced] = field(factory=dict)
    start: int = 0
    end: int = 0
    _objects: dict[str, ObjectInfo] | None = None

    def put(self, told: SegmentAnnounced) -> None:
        self.known[told.segment.msn] = told
        self._objects = None

    def drop(self, msn: int) -> None:
        del self.known[msn]
        self._objects = None

    @property
    def objects(self) -> dict[str, ObjectInfo]:
        """What may be fetched, by name."""
        if self._objects is None:
            segments = [told.segment for told in self.known.values()]
            infos = [info for segment in segments for info in (segment.init, segment.media) if info is not None]
            self._objects = {info.name: info for info in infos}
        return self._objects

    @property
    def pending(self) -> list[int]:
        """The numbers that wait for one before them."""
        return [msn for msn in self.known if msn > self.end]

    def extend(self, list_start: int, length: int) -> None:
        """
        Begin a list that is empty or ends before ``list_start``, and list what follows without a hole.

        A list that is empty begins with what of the newest ``length`` there is; that of an epoch which has no more,
        with the epoch's first, which others may list.
        """
        if self.start == self.end or self.end < list_start:
            self._begin_late(list_start, length)
        self.go_on()

    def go_on(self) -> None:
        """List what follows without a hole."""
        while self.end in self.known:
            self.end += 1

    def begin(self, msn: int) -> None:
        """Begin the list anew with this number, unless it stands there."""
        if msn != self.end:
            self.start = self.end = msn

    def _begin_late(self, list_start: int, length: int) -> None:
        is_empty = self.start == self.end
        late = [msn for msn in self.known if msn >= max(self.end, list_start)]
        if late or (is_empty and self.known):
            known = late or list(self.known)
            oldest = max(known) - length + 1
            msn = min(msn for msn in known if msn >= oldest)
            first = self.known[msn].epoch.first_msn
            self.begin(first if is_empty and first >= max(oldest, list_start) else msn)


@define(eq=False)
class Window:
    """
    One stream: the newest ``length`` segments of each rendition are listed, and as many more can still be fetched,
    since a viewer may have a playlist that is as old as it is long.

    It is a function of what is known and not of the order in which that came: of two nodes, each lists the same segment
    with the same date and discontinuity under every number that both list. Numbers, dates and discontinuities are the
    writer's; see `Epochs` for who that is. A segment is listed once all before it are, as far as they are listed here
    at all, or once somebody has said, with `skip_holes`, that they will not come.
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

    # What becomes known

    def apply(self, announcements: Iterable[Announcement]) -> list[Announcement]:
        """Take in what was announced, and return what of it is news and holds, together with what holds only now."""
        news: list[Announcement] = []
        for announcement in announcements:
            is_new_epoch = self._epochs.add(announcement.epoch)
            if is_new_epoch:
                self._drop_what_is_superseded()
                news += self._look_again()
            if announcement.epoch.number >= self._epoch:
                self._follow(announcement)
            if isinstance(announcement, SegmentAnnounced) and announcement.epoch.number >= self._target_epoch:
                self._target_epoch, self.target_s = announcement.epoch.number, announcement.target_s
            if isinstance(announcement, SegmentAnnounced):
                news += self._put(announcement)
            elif isinstance(announcement, StreamEnded):
                news += self._end(announcement)
            elif is_new_epoch:
                news.append(announcement)
        for rendition in self._renditions.values():
            rendition.extend(self._epochs.list_start, 2 * self.length)
        self._trim()
        return news

    def promise(self, epoch: int) -> StreamPosition:
        """
        Say how far the stream has come, and take no further number from epochs older than this one.

        :raises Superseded: a younger epoch is known, or was promised.
        """
        if self._epochs.newest >= epoch:
            raise Superseded(self._epochs.newest)
        position = self.position()
        self._epochs.promise(epoch, position.msn)
        return position

    def skip_holes(self) -> list[Announcement]:
        """Nobody has what is missing: begin the lists anew behind it. Return what is listed only for that."""
        listed: list[Announcement] = []
        for rendition in self._renditions.values():
            if pending := rendition.pending:
                rendition.begin(min(pending))
                rendition.go_on()
                listed.append(rendition.known[rendition.start])
        if self.is_ended and not self._skipped_to_end:
            self._skipped_to_end = True
            listed.append(self._ended[self._epoch])
        self._trim()
        return listed

    # What is known

    @property
    def epoch(self) -> int:
        """The number of the youngest epoch of which anything was announced."""
        return self._epoch

    @property
    def refused_for(self) -> list[tuple[str, int]]:
        """The nodes that announced what is not taken because of a promise, each with the epoch of the promise."""
        pairs = ((told, self._epochs.refusing(told.epoch, told.segment.msn)) for told in self._refused.values())
        return list({(told.node, promise.epoch) for told, promise in pairs if promise is not None})

    @property
    def is_ended(self) -> bool:
        """Whether the broadcast is over, as far as is known."""
        return self._epoch in self._ended

    @property
    def is_on_air(self) -> bool:
        """Whether a broadcast has begun, of which nothing may be listed yet, and is not over."""
        return self._epoch > 0 and not self.is_ended

    @property
    def is_live(self) -> bool:
        """Whether there is something to see, and more to come."""
        return not self.is_ended and self.last_msn is not None

    @property
    def is_incomplete(self) -> bool:
        """Whether something is known to exist that is missing here."""
        is_behind = any(rendition.pending for rendition in self._renditions.values())
        return is_behind or (self.is_ended and not all(self.is_complete(name) for name in self._renditions))

    def is_complete(self, rendition: str) -> bool:
        """Whether the broadcast is over and a rendition lists its last segment, or will list no more."""
        if not self.is_ended:
            return False
        known = self._renditions.get(rendition)
        return known is None or self._skipped_to_end or known.end > self._ended[self._epoch].last_msn

    @property
    def last_msn(self) -> int | None:
        """The newest number that any rendition lists."""
        return max((rendition.end - 1 for rendition in self._renditions.values() if rendition.known), default=None)

    def position(self) -> StreamPosition:
        """How far the stream has come, with what is not listed and what is refused for now."""
        segments = [told.segment for told in (*self._refused.values(), *self._segments())]
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
        """All that is known and still matters, for another window to take in."""
        segments = sorted(self._segments(), key=lambda told: told.segment.msn)
        shown = {told.epoch.number for told in segments}
        begun = [EpochBegan(self.stream, epoch, self.node) for epoch in self._epochs.all() if epoch.number not in shown]
        return [*begun, *segments, *self._ended.values()]

    def has_rendition(self, rendition: str) -> bool:
        """Whether anything of a rendition is known, if only a gap."""
        return rendition in self._renditions

    def renditions(self) -> list[RenditionInfo]:
        """The renditions that have media listed, the most demanding first."""
        infos = [r.info for name, r in self._renditions.items() if any(s.media for s in self.listed(name))]
        return sorted(infos, key=lambda info: -info.bandwidth)

    def listed(self, rendition: str) -> list[Segment]:
        """What the playlist of a rendition lists: nothing of one that has fallen a whole list behind the others."""
        known, last_msn = self._renditions.get(rendition), self.last_msn
        if known is None or last_msn is None:
            return []
        if last_msn + 1 - self._reached(known) > self.length:
            return []
        segments: list[Segment] = []
        total_ms = 0
        for msn in range(known.end - 1, known.start - 1, -1):
            is_enough = len(segments) >= self.length and total_ms >= LEAST_TARGETS * self.target_s * 1000
            told = known.known.get(msn)
            if is_enough or told is None or (segments and not _follows(told.segment, segments[-1])):
                break
            segments.append(told.segment)
            total_ms += told.segment.duration_ms
        segments.reverse()
        return segments

    def is_listed(self, rendition: str, name: str) -> bool:
        """Whether the playlist of a rendition names this object."""
        objects = (info for segment in self.listed(rendition) for info in (segment.media, segment.init))
        return any(info is not None and info.name == name for info in objects)

    def object_info(self, rendition: str, name: str) -> ObjectInfo | None:
        """What is known of an object that may be fetched."""
        known = self._renditions.get(rendition)
        return None if known is None else known.objects.get(name)

    # Inside

    def _reached(self, rendition: _Rendition) -> int:
        """Where a rendition's list ends, as far behind as that is: nobody is behind by numbers that were left out."""
        return max(rendition.end, min(self._epochs.list_start, (self.last_msn or 0) + 1))

    def _segments(self) -> list[SegmentAnnounced]:
        return [told for rendition in self._renditions.values() for told in rendition.known.values()]

    def _follow(self, announcement: Announcement) -> None:
        """What is said of the youngest epoch is said of the stream."""
        self._epoch = announcement.epoch.number
        self.node = announcement.node or self.node
        if isinstance(announcement, SegmentAnnounced):
            self._skipped_to_end = False

    def _put(self, told: SegmentAnnounced) -> list[Announcement]:
        msn, epoch = told.segment.msn, told.epoch
        if msn < self._oldest_msn or not self._epochs.owns(epoch, msn):
            return []
        if self._epochs.refusing(epoch, msn) is not None:
            if len(self._refused) < MOST_PENDING:
                self._refused[told.info.name, epoch.number, msn] = told
            return []
        rendition = self._renditions.setdefault(told.info.name, _Rendition(told.info))
        known = rendition.known.get(msn)
        if known is not None and (told.segment.is_gap or not known.segment.is_gap):
            return []
        rendition.put(told)
        if msn >= rendition.end - 1:
            rendition.info = told.info
        if len(pending := rendition.pending) > MOST_PENDING:
            rendition.drop(min(pending))
        return [told]

    def _end(self, ended: StreamEnded) -> list[Announcement]:
        if ended.epoch.number in self._ended:
            return []
        self._ended[ended.epoch.number] = ended
        return [ended] if self.is_ended else []

    def _drop_what_is_superseded(self) -> None:
        """A younger epoch began: numbers from its first on are not of an older one."""
        for rendition in self._renditions.values():
            for msn, told in list(rendition.known.items()):
                if not self._epochs.owns(told.epoch, msn):
                    rendition.drop(msn)
                    rendition.end = min(rendition.end, msn)
            rendition.start = min(rendition.start, rendition.end)

    def _look_again(self) -> list[Announcement]:
        """Take in what was refused for a promise that is settled now."""
        refused, self._refused = self._refused, {}
        return [news for told in refused.values() for news in self._put(told)]

    def _trim(self) -> None:
        """Forget what no viewer can ask for any more, whenever there is a newer number."""
        last_msn = self.last_msn
        if last_msn is None or last_msn == self._trimmed_msn:
            return
        self._trimmed_msn = last_msn
        listed = max(len(self.listed(name)) for name in self._renditions)
        self._oldest_msn = max(self._oldest_msn, last_msn - 2 * max(self.length, listed))
        for name, rendition in list(self._renditions.items()):
            is_to_follow = rendition.end <= self._epochs.list_start and self._reached(rendition) > self._oldest_msn
            for msn in [msn for msn in rendition.known if msn < self._oldest_msn and not is_to_follow]:
                rendition.drop(msn)
            if not rendition.known:
                del self._renditions[name]
        self._epochs.trim(self._oldest_msn)
        kept = {epoch.number for epoch in self._epochs.all()}
        self._ended = {number: ended for number, ended in self._ended.items() if number in kept}
        self._refused = {key: told for key, told in self._refused.items() if told.segment.msn >= self._oldest_msn}


def _follows(before: Segment, after: Segment) -> bool:
    return 0 <= after.discontinuity - before.discontinuity <= MOST_BREAKS
