"""The writer of a stream: claims the stream for a broadcast, and numbers and announces its segments."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import ClassVar, Protocol

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from livestream.ingest.claims import Claim, Claims
from livestream.ingest.pending_announcements import PendingAnnouncements
from livestream.ingest.segment_numbering import SegmentNumbering, UnnumberedSegment, begin_term
from livestream.model.segments import EpochBegan, SegmentAnnounced, StreamEnded

RECLAIM_S = 4.0
"""A node that has claimed the stream and announced nothing by then never will, since any claim ends earlier."""
MAX_WAITING = 256
"""How many segments may wait for numbers, of all renditions together."""


class WriterState(Enum):
    """Whether a writer gives numbers."""

    CLAIMING = "not yet: the stream is being claimed"
    WRITING = "yes"
    SUSPENDED = "not now: another node has claimed the stream, and has not begun"
    FENCED = "no more: another ingest continues the stream"
    CLOSED = "no more: the broadcast is over"


class WriterOwner(Protocol):
    """The broadcast that a writer works for."""

    def displaced_publisher(self) -> None:
        """The stream had a publisher at another ingest until now."""

    def writing_began(self) -> None:
        """Its segments are numbered from now on, in a new epoch."""

    def wants_to_write(self) -> bool:
        """Whether it has a publisher, whose stream should be claimed again if another claim comes to nothing."""


class NullOwner:
    """Replaces a broadcast that is over here, so that its writer, which may live longer, does not keep it alive."""

    def displaced_publisher(self) -> None:
        """Ignored."""

    def writing_began(self) -> None:
        """Ignored."""

    def wants_to_write(self) -> bool:
        return False


@define(eq=False)
class Writer:
    """
    The writer of one broadcast at the ingest ``node``. ``release(stream, epoch)`` tells the bus that it has finished.
    ``segment_s`` is the usual length of a segment; ``seconds`` is the wall clock.

    Segments that are submitted while the stream is being claimed are numbered afterwards.
    """

    stream: str
    node: str
    segment_s: int
    claims: Claims
    pending: PendingAnnouncements
    release: Callable[[str, int], None]
    clock: IReactorTime
    seconds: Callable[[], float]
    bus_answers: Callable[[], bool]
    owner: WriterOwner
    state: WriterState = field(default=WriterState.CLAIMING, init=False)
    _numbers: SegmentNumbering = field(init=False)
    _waiting: list[UnnumberedSegment] = field(factory=list, init=False)
    _ends: bool = field(default=False, init=False)
    _younger: int = field(default=0, init=False)
    _attempted: int = field(default=0, init=False)
    _claiming: Deferred[None] | None = field(default=None, init=False)
    _reclaim: IDelayedCall | None = field(default=None, init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._numbers = SegmentNumbering(self.stream, self.node)

    @property
    def epoch(self) -> int:
        """The number of the newest epoch of this writer, claimed or attempted; 0 if there is none."""
        newest = self._numbers.newest
        return max(self._attempted, 0 if newest is None else newest.epoch.number)

    @property
    def last(self) -> tuple[int, int] | None:
        """The newest claimed epoch, and the last number given in it; ``None`` if there is none."""
        newest = self._numbers.newest
        return None if newest is None else (newest.epoch.number, newest.msn(newest.last))

    @property
    def has_waiting(self) -> bool:
        """Whether segments wait for numbers while the stream is being claimed."""
        return self.state is WriterState.CLAIMING and bool(self._waiting)

    @property
    def may_freeze(self) -> bool:
        """Whether an absence of the publisher may be numbered now: not if another node may be giving numbers."""
        return self.state in (WriterState.CLAIMING, WriterState.WRITING) and self.bus_answers()

    def claim(self, above: int = 0) -> None:
        """Claim the stream in an epoch younger than ``above`` and all others that are known."""
        self._younger = max(self._younger, above)
        self._cancel()
        self.state = WriterState.CLAIMING
        claiming = Deferred.fromCoroutine(self._claim())
        if not claiming.called:
            self._claiming = claiming
        claiming.addErrback(self._failed)

    def submit(self, segment: UnnumberedSegment) -> None:
        """Number and announce a segment, now or once the stream is claimed."""
        if self.state is WriterState.WRITING or (
            self.state is not WriterState.CLOSED and self._numbers.has_number(segment)
        ):
            self._announce(segment)
        elif self.state in (WriterState.CLAIMING, WriterState.SUSPENDED):
            self._waiting = [*self._waiting[1 - MAX_WAITING :], segment]

    def end(self) -> None:
        """Announce the end of the broadcast, if its beginning was: also of one that has no segment."""
        if self.state is WriterState.CLAIMING:
            self._ends = True
            return
        newest = self._numbers.newest
        if self.state is WriterState.WRITING and newest is not None:
            ended = StreamEnded(self.stream, newest.epoch, newest.msn(newest.last), self.node)
            self.pending.add(ended, self.suspend)
        self.close()

    def close(self) -> None:
        """Give no more numbers, without announcing an end. Numbered segments are still announced."""
        if self.state is WriterState.WRITING:
            self.release(self.stream, self.epoch)
        self._cancel()
        self.state, self.owner = WriterState.CLOSED, NullOwner()
        self._waiting.clear()

    def suspend(self, epoch: int) -> None:
        """
        Another node has claimed the stream in a younger epoch: give no numbers for now.

        If that comes to nothing, and there still is a publisher here, the stream is claimed again.
        """
        self._younger = max(self._younger, epoch)
        if self.state is WriterState.WRITING and epoch > self.epoch:
            message = "{stream}: another node has claimed the stream; no more segments are numbered here"
            self.log.info(message, stream=self.stream)
            self.state = WriterState.SUSPENDED
            self._reclaim = self.clock.callLater(RECLAIM_S, self._claim_again)

    def resume(self) -> None:
        """Claim the stream again if it is suspended, since a publisher is connected."""
        if self.state is WriterState.SUSPENDED:
            self.claim()

    def fence(self, epoch: int, *, commit: bool) -> None:
        """
        Give no more numbers, since another ingest continues the stream in this epoch.

        With ``commit``, all numbered segments are committed, since the other ingest counts them.
        """
        self._younger = max(self._younger, epoch)
        self._cancel()
        self.state, self.owner = WriterState.FENCED, NullOwner()
        self._waiting.clear()
        if commit:
            self.pending.commit_all()

    # Inside

    async def _claim(self) -> None:
        claim = await self.claims.claim(self.stream, max(self.epoch, self._younger), self._on_attempt)
        self._claiming = None
        if claim.owner in (None, self.node):
            self.pending.commit_all()  # the bus may have accepted and counted them
        self._begin(self.claims.with_known(self.stream, claim))

    def _on_attempt(self, epoch: int) -> None:
        self._attempted = epoch

    def _begin(self, claim: Claim) -> None:
        if claim.displaced:
            self.owner.displaced_publisher()
        first = min((each.cut.msn for each in self._waiting if not self._numbers.has_number(each)), default=None)
        term = begin_term(claim, self._numbers.next if first is None else first, self.segment_s, self.seconds())
        self._numbers.terms.append(term)
        self.state = WriterState.WRITING
        self.pending.add(EpochBegan(self.stream, term.epoch, self.node), self.suspend, at_once=True)
        waiting, self._waiting = self._waiting, []
        for segment in waiting:
            self._announce(segment)
        self.owner.writing_began()
        if self._ends:
            self.end()

    def _announce(self, segment: UnnumberedSegment) -> None:
        announcement = self._numbers.announcement(segment)
        self.pending.add(
            announcement, partial(self._on_revoked, segment, announcement), at_once=self.state is WriterState.FENCED
        )

    def _on_revoked(self, segment: UnnumberedSegment, announcement: SegmentAnnounced, epoch: int) -> None:
        """Handle a number that was refused before it was committed; another rendition may have committed it."""
        self.suspend(epoch)
        if self.pending.has_committed(announcement.epoch.number, announcement.segment.msn):
            self.pending.add(announcement, self.suspend, at_once=True)
        elif announcement.epoch.number == self._numbers.terms[-1].epoch.number:
            self._numbers.revoke(segment)
            self.submit(segment)

    def _claim_again(self) -> None:
        self._reclaim = None
        if self.owner.wants_to_write():
            self.claim()

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.failure("{stream}: the stream could not be claimed", failure, stream=self.stream)

    def _cancel(self) -> None:
        if self._reclaim is not None and self._reclaim.active():
            self._reclaim.cancel()
        self._reclaim = None
        claiming, self._claiming = self._claiming, None
        if claiming is not None:
            claiming.cancel()
