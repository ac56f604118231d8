"""The segments of one rendition in a window: those that are known, and which of them follow each other in a list."""

from __future__ import annotations

from attrs import define, field

from livestream.model.segments import ObjectInfo, RenditionInfo, Segment, SegmentAnnounced
from livestream.packaging.retention import Retention

MAX_DISCONTINUITY_STEP = 16
"""A larger jump of the discontinuity number restarts the list, since each step is a line in the playlist."""

NOTHING = (0, 0, 0)
"""No list whose use was noted."""


@define(eq=False)
class RenditionWindow:
    """The known segments, by number; all from ``start`` up to ``end`` (exclusive) are known, and are or were listed."""

    info: RenditionInfo
    known: dict[int, SegmentAnnounced] = field(factory=dict)
    start: int = 0
    end: int = 0
    retention: Retention = field(factory=Retention)
    media_ms: int = 0
    """How much media has been listed."""
    noted: tuple[int, int, int] = NOTHING
    """The list whose use was noted last: ``start`` and ``end``, and while it is too late the stream's last number."""
    _objects: dict[str, ObjectInfo] | None = None

    def add(self, announced: SegmentAnnounced) -> None:
        self.known[announced.segment.msn] = announced
        self._objects = None

    def drop(self, msn: int) -> None:
        del self.known[msn]
        self.retention.drop(msn)
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

    def extend(self, list_start: int, length: int, from_msn: int) -> None:
        """
        Start the list if it is empty or ends before ``list_start``, and list all that follows contiguously.

        An empty list starts with the oldest known of the newest ``length`` numbers from ``from_msn`` on; if its epoch
        begins among them, with the epoch's first, which other nodes may list.
        """
        if self.start == self.end or self.end < list_start:
            self._start(list_start, length, from_msn)
        self.advance()

    def advance(self) -> None:
        """List all that follows contiguously."""
        while (announced := self.known.get(self.end)) is not None:
            self.media_ms += announced.segment.duration_ms
            self.end += 1

    def restart_at(self, msn: int) -> None:
        """Restart the list at this number, unless that is next anyway."""
        if msn != self.end:
            self.start = self.end = msn

    def list_before(self, end: int, length: int, least_ms: int, first: int | None = None) -> list[Segment]:
        """
        The segments of a list that ends before the number ``end``: ``length``, or more to make up ``least_ms``.

        None is below ``first``, which is where this list started by default.
        """
        segments: list[Segment] = []
        total_ms = 0
        for msn in range(end - 1, (self.start if first is None else first) - 1, -1):
            is_enough = len(segments) >= length and total_ms >= least_ms
            announced = self.known.get(msn)
            if is_enough or announced is None or (segments and not _follows(announced.segment, segments[-1])):
                break
            segments.append(announced.segment)
            total_ms += announced.segment.duration_ms
        segments.reverse()
        return segments

    def _start(self, list_start: int, length: int, from_msn: int) -> None:
        is_empty = self.start == self.end
        known = [msn for msn in self.known if msn >= from_msn]
        late = [msn for msn in known if msn >= max(self.end, list_start)]
        if late or (is_empty and known):
            known = late or known
            oldest = max(known) - length + 1
            msn = min(msn for msn in known if msn >= oldest)
            first = self.known[msn].epoch.first_msn
            self.restart_at(first if is_empty and first >= max(oldest, list_start) else msn)


def _follows(before: Segment, after: Segment) -> bool:
    return 0 <= after.discontinuity - before.discontinuity <= MAX_DISCONTINUITY_STEP
