"""The numbers and dates of a stream's segments, which go up whatever those who announce them have forgotten."""

from __future__ import annotations

from attrs import define, evolve, field, frozen

from livestream.model import ObjectInfo, Segment


@frozen
class Place:
    """Where a segment is in its stream: the same in every rendition. ``epoch`` is the life it is of."""

    epoch: int
    msn: int
    discontinuity: int
    starts_at_ms: int
    duration_ms: int

    @property
    def ends_at_ms(self) -> int:
        return self.starts_at_ms + self.duration_ms

    def holding(self, media: ObjectInfo | None, init: ObjectInfo | None, independent: bool = True) -> Segment:
        """A rendition's segment at this place; a gap without ``media``."""
        return Segment(self.msn, self.discontinuity, self.starts_at_ms, self.duration_ms, media, init, independent)


@define(eq=False)
class Numbering:
    """
    The places of a stream's newest segments, one after the other and without a hole.

    Numbers are taken as they are announced while they go up. An ingest that began again with no memory of the life
    before, or whose clock was put back, is lifted above what it had said.
    """

    _places: dict[int, Place] = field(factory=dict, init=False)
    _msn_lift: int = field(default=0, init=False)
    _discontinuity_lift: int = field(default=0, init=False)
    first_msn: int = field(default=0, init=False)
    last: Place | None = field(default=None, init=False)

    def msn(self, epoch: int, announced: int) -> int:
        """The number here of what ``epoch`` announces as ``announced``."""
        return announced + self._lift_for(epoch, announced)

    def at(self, msn: int) -> Place | None:
        """The place of a number that is known."""
        return self._places.get(msn)

    def accepts(self, epoch: int, msn: int) -> bool:
        """Whether the number is known to be of that life, or may come to be."""
        place = self._places.get(msn)
        if place is not None:
            return place.epoch == epoch
        return self.last is None or (msn > self.last.msn and epoch >= self.last.epoch)

    def take(self, epoch: int, segment: Segment) -> Place:
        """The place of an announced segment, which :meth:`accepts`. After a hole the places begin again with it."""
        lift = self._lift_for(epoch, segment.msn)
        msn = segment.msn + lift
        known = self._places.get(msn)
        if known is not None:
            return known
        self._msn_lift = lift
        place = self._after(epoch, evolve(segment, msn=msn))
        if self.last is not None and msn > self.last.msn + 1:
            self._places.clear()
        self._put(place)
        return place

    def bridge(self, epoch: int, segment: Segment, target_ms: int) -> None:
        """Make places for all that is missing before an announced segment, in the time that there is."""
        last = self.last
        count = 0 if last is None else self.msn(epoch, segment.msn) - last.msn - 1
        if last is None or count <= 0:
            return
        span_ms = segment.starts_at_ms - last.ends_at_ms
        if not count * target_ms // 4 <= span_ms <= count * target_ms:
            span_ms = count * target_ms
        ends = [last.ends_at_ms + span_ms * index // count for index in range(count + 1)]
        for index in range(count):
            length_ms = ends[index + 1] - ends[index]
            self._put(Place(last.epoch, last.msn + index + 1, last.discontinuity, ends[index], length_ms))

    def forget_before(self, msn: int) -> None:
        """Nothing older will be asked for."""
        for old in range(self.first_msn, msn):
            self._places.pop(old, None)
        self.first_msn = max(self.first_msn, msn)

    def _lift_for(self, epoch: int, msn: int) -> int:
        last = self.last
        if last is not None and epoch > last.epoch and msn + self._msn_lift <= last.msn:
            return last.msn + 1 - msn
        return self._msn_lift

    def _after(self, epoch: int, segment: Segment) -> Place:
        """The place of a segment that comes after all that are known."""
        last = self.last
        if last is None:
            return Place(epoch, segment.msn, segment.discontinuity, segment.starts_at_ms, segment.duration_ms)
        least = last.discontinuity + (epoch > last.epoch)
        number = max(segment.discontinuity + self._discontinuity_lift, least)
        self._discontinuity_lift = number - segment.discontinuity
        starts_at_ms = max(segment.starts_at_ms, last.ends_at_ms)
        if number == last.discontinuity and segment.msn == last.msn + 1:
            starts_at_ms = last.ends_at_ms
        return Place(epoch, segment.msn, number, starts_at_ms, segment.duration_ms)

    def _put(self, place: Place) -> None:
        if not self._places:
            self.first_msn = place.msn
        self._places[place.msn] = place
        self.last = place
