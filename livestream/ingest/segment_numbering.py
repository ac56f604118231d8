"""Assigns media sequence numbers and dates to the segments of a broadcast, for the writer of its stream."""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, evolve, field, frozen

from livestream.ingest.claims import UNSEEN_LEAST, UNSEEN_S, Claim
from livestream.model.epochs import WRITERS
from livestream.model.names import segment_name
from livestream.model.segments import Epoch, ObjectInfo, RenditionInfo, Segment, SegmentAnnounced
from livestream.packaging.cuts import Cut

DISCONTINUITY_S = 30
"""A new stream's discontinuity number is Unix time divided by this: small, but rising over restarts."""
SPREAD_MS, SPREAD = 100, 10_000
"""
So that two ingests that could ask no other node skip different numbers: one more for every `SPREAD_MS` milliseconds of
the epoch, modulo `SPREAD`, which grows faster than segments arrive.
"""
REMEMBERED = 64
"""How many segments one rendition may lag behind another."""


@frozen
class UnnumberedSegment:
    """
    A segment of one rendition before it has a number. Without ``store`` there is no media for it, and it is a gap.

    The ``msn`` and ``discontinuity`` of its cut count from the beginning of the broadcast. ``store`` stores its bytes
    under a name.
    """

    cut: Cut
    duration_ms: int
    target_s: int
    info: RenditionInfo
    init: ObjectInfo | None
    store: Callable[[str], ObjectInfo] | None = None
    independent: bool = True


@define(eq=False)
class Term:
    """
    A writer's term: the numbers that a broadcast gives in one epoch.

    Numbers are the indices of the broadcast's segments plus a constant. ``first`` is the index of the term's first
    segment, and ``last`` the newest that was numbered. ``breaks_before`` counts the discontinuities of the broadcast
    before the term.
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


def begin_term(claim: Claim, first: int, segment_s: int, now: float) -> Term:
    """Begin a term with the broadcast's segment ``first``, after a claim. ``now`` is Unix time in seconds."""
    known = claim.position
    is_new = not known.msn
    skipped = 0
    if not claim.is_certain:
        unseen_s = max(now - known.ends_at_ms / 1000, 0.0) if known.ends_at_ms else 0.0
        skipped = int((unseen_s + UNSEEN_S) / (segment_s / 2)) + UNSEEN_LEAST
        skipped += claim.epoch // WRITERS // SPREAD_MS % SPREAD
    msn, discontinuity = known.msn + 1 + skipped, known.discontinuity + 1 + skipped
    if is_new:
        msn, discontinuity = max(msn, int(now) // segment_s), max(discontinuity, int(now) // DISCONTINUITY_S)
    restarts_list = is_new or known.is_ended or not claim.is_certain
    epoch = Epoch(claim.epoch, msn, restarts_list)
    return Term(epoch, first, discontinuity, 0 if restarts_list else known.target_s, known.ends_at_ms, first - 1)


@define(eq=False)
class SegmentNumbering:
    """All terms of one broadcast, at ``node``. Number and date of a segment are the same in all renditions."""

    stream: str
    node: str
    terms: list[Term] = field(factory=list, init=False)
    _starts_ms: dict[int, int] = field(factory=dict, init=False)
    _ends_ms: dict[int, int] = field(factory=dict, init=False)

    @property
    def newest(self) -> Term | None:
        return self.terms[-1] if self.terms else None

    @property
    def next(self) -> int:
        """The index of the first segment without a number."""
        return self.terms[-1].last + 1 if self.terms else 0

    def has_number(self, segment: UnnumberedSegment) -> bool:
        """Whether the segment has a number already, by that of another rendition."""
        return segment.cut.msn < self.next

    def announcement(self, segment: UnnumberedSegment) -> SegmentAnnounced:
        """Number a segment, alike in all renditions, and return its announcement."""
        index = segment.cut.msn
        term = next(term for term in reversed(self.terms) if term.first <= index or term is self.terms[0])
        self._begin(term, segment)
        term.last = max(term.last, index)
        number, msn = term.epoch.number, term.msn(index)
        media = None if segment.store is None else segment.store(segment_name(number, msn))
        discontinuity = term.discontinuity + segment.cut.discontinuity - term.breaks_before
        dates = self._starts_at_ms(term, segment), segment.duration_ms
        numbered = Segment(
            msn, discontinuity, *dates, media, segment.init, segment.independent, bool(segment.cut.absence_ms)
        )
        return SegmentAnnounced(self.stream, term.epoch, term.target_s, segment.info, numbered, self.node)

    def revoke(self, segment: UnnumberedSegment) -> None:
        """Free a number of the newest term, and all after it, since it was refused before it was committed."""
        term, index = self.terms[-1], segment.cut.msn
        term.last = min(term.last, max(index, term.first) - 1)
        for dates in (self._starts_ms, self._ends_ms):
            dates.pop(index, None)

    def _begin(self, term: Term, segment: UnnumberedSegment) -> None:
        """Fix the term's target duration; a longer one than before restarts the lists."""
        if term.is_begun:
            return
        term.is_begun = True
        term.breaks_before = segment.cut.discontinuity
        if segment.target_s > term.target_s:
            term.epoch = evolve(term.epoch, restarts_list=True)
            term.target_s = segment.target_s

    def _starts_at_ms(self, term: Term, segment: UnnumberedSegment) -> int:
        """The date of a segment: never before the end of the previous one, here or at another writer."""
        index, cut = segment.cut.msn, segment.cut
        if index not in self._starts_ms:
            before_ms = term.not_before_ms if index == term.first else 0
            self._starts_ms[index] = max(cut.starts_at_ms, before_ms, self._ends_ms.get(index - 1, 0))
            self._ends_ms[index] = self._starts_ms[index] + segment.duration_ms
            for dates in (self._starts_ms, self._ends_ms):
                dates.pop(index - REMEMBERED, None)
        return self._starts_ms[index]
