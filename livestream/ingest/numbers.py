"""The numbers and dates of a broadcast's segments, for whoever is the writer of its stream."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve, field, frozen

from livestream.ingest.take import UNSEEN_LEAST, UNSEEN_S, WRITERS, Claim
from livestream.model.names import segment_name
from livestream.model.segments import Epoch, ObjectInfo, RenditionInfo, Segment, SegmentAnnounced
from livestream.packaging.cuts import Cut

DISCONTINUITY_S = 30
"""Discontinuities are counted from so many seconds of Unix time each: low, and rising over restarts all the same."""
APART_MS, APART = 100, 10_000
"""
So that two ingests that both could ask nobody do not leave out the same: one more number for each of so many
milliseconds of the epoch, up to so many numbers, which is faster than segments come.
"""
REMEMBERED = 64
"""A rendition comes this many segments after another at most."""


@frozen
class Numberless:
    """
    A segment of one rendition, or a gap where ``shelve`` is ``None``, before it has a number.

    The ``msn`` and the ``discontinuity`` of its cut count from the beginning of the broadcast. ``shelve`` has its bytes
    fetched by a name, from then on.
    """

    cut: Cut
    duration_ms: int
    target_s: int
    info: RenditionInfo
    init: ObjectInfo | None
    shelve: Callable[[str], ObjectInfo] | None = None
    independent: bool = True


@define(eq=False)
class Turn:
    """
    An epoch of ours. Numbers are those of the broadcast's segments, moved by a constant: its first is the segment
    ``first`` of the broadcast, and ``last`` the newest that got a number. ``breaks_before`` is how many discontinuities
    the broadcast had had before.
    """

    epoch: Epoch
    first: int
    discontinuity: int
    target_s: int
    not_before_ms: int
    last: int
    breaks_before: int = 0
    is_begun: bool = False

    def msn(self, index: int) -> int:
        return self.epoch.first_msn + index - self.first


def begin_turn(claim: Claim, first: int, segment_s: int, now: float) -> Turn:
    """The turn that a claim gives to a broadcast, from its segment ``first`` on. ``now`` is Unix time."""
    known = claim.position
    is_new = not known.msn
    left_out = 0
    if not claim.is_certain:
        unseen_s = max(now - known.ends_at_ms / 1000, 0.0) if known.ends_at_ms else 0.0
        left_out = int((unseen_s + UNSEEN_S) / (segment_s / 2)) + UNSEEN_LEAST
        left_out += claim.epoch // WRITERS // APART_MS % APART
    msn, discontinuity = known.msn + 1 + left_out, known.discontinuity + 1 + left_out
    if is_new:
        msn, discontinuity = max(msn, int(now) // segment_s), max(discontinuity, int(now) // DISCONTINUITY_S)
    restarts_list = is_new or known.is_ended or not claim.is_certain
    epoch = Epoch(claim.epoch, msn, restarts_list)
    return Turn(epoch, first, discontinuity, 0 if restarts_list else known.target_s, known.ends_at_ms, first - 1)


@define(eq=False)
class Numbers:
    """All turns of one broadcast, at ``node``. What renditions have in common is found out once for each segment."""

    stream: str
    node: str
    turns: list[Turn] = field(factory=list, init=False)
    _starts_ms: dict[int, int] = field(factory=dict, init=False)
    _ends_ms: dict[int, int] = field(factory=dict, init=False)

    @property
    def newest(self) -> Turn | None:
        return self.turns[-1] if self.turns else None

    @property
    def next(self) -> int:
        """The broadcast's segment after the newest that got a number."""
        return self.turns[-1].last + 1 if self.turns else 0

    def has_number(self, segment: Numberless) -> bool:
        """Whether another rendition's segment of the same time has got its number already."""
        return segment.cut.msn < self.next

    def announcement(self, segment: Numberless) -> SegmentAnnounced:
        """Give a segment its number; of two renditions, the same at the same time."""
        index = segment.cut.msn
        turn = next(turn for turn in reversed(self.turns) if turn.first <= index or turn is self.turns[0])
        self._begin(turn, segment)
        turn.last = max(turn.last, index)
        number, msn = turn.epoch.number, turn.msn(index)
        media = None if segment.shelve is None else segment.shelve(segment_name(number, msn))
        discontinuity = turn.discontinuity + segment.cut.discontinuity - turn.breaks_before
        dates = self._starts_at_ms(turn, segment), segment.duration_ms
        placed = Segment(msn, discontinuity, *dates, media, segment.init, segment.independent)
        return SegmentAnnounced(self.stream, turn.epoch, turn.target_s, segment.info, placed, self.node)

    def take_back(self, segment: Numberless) -> None:
        """A number of the newest turn was refused before anybody saw it: it, and what follows, is given another."""
        turn, index = self.turns[-1], segment.cut.msn
        turn.last = min(turn.last, max(index, turn.first) - 1)
        for dates in (self._starts_ms, self._ends_ms):
            dates.pop(index, None)

    def _begin(self, turn: Turn, segment: Numberless) -> None:
        """A target duration that the lists do not have yet begins them anew."""
        if turn.is_begun:
            return
        turn.is_begun = True
        turn.breaks_before = segment.cut.discontinuity
        if segment.target_s > turn.target_s:
            turn.epoch = evolve(turn.epoch, restarts_list=True)
            turn.target_s = segment.target_s

    def _starts_at_ms(self, turn: Turn, segment: Numberless) -> int:
        """The date of a segment: never before the end of the one before it, here or at another writer."""
        index, cut = segment.cut.msn, segment.cut
        if index not in self._starts_ms:
            before_ms = turn.not_before_ms if index == turn.first else 0
            self._starts_ms[index] = max(cut.starts_at_ms, before_ms, self._ends_ms.get(index - 1, 0))
            self._ends_ms[index] = self._starts_ms[index] + segment.duration_ms
            for dates in (self._starts_ms, self._ends_ms):
                dates.pop(index - REMEMBERED, None)
        return self._starts_ms[index]
