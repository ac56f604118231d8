"""The writer of a stream at this ingest: takes the stream for a broadcast, and has its segments announced."""

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

from livestream.ingest.numbers import Numberless, Numbers, begin_turn
from livestream.ingest.offers import Offers
from livestream.ingest.take import Claim, Takes
from livestream.model.segments import EpochBegan, SegmentAnnounced, StreamEnded

RETAKE_S = 4.0
"""One who has taken the stream and has not begun by then never will: any take has ended before."""
MOST_WAITING = 256
"""So many segments wait for their numbers, of all renditions together."""


class Stage(Enum):
    """Whether numbers are given."""

    TAKING = "not yet"
    WRITING = "yes"
    SUSPENDED = "not now: somebody has taken the stream, and has not begun"
    FENCED = "no more: another ingest goes on with the stream"
    CLOSED = "no more: the broadcast is over"


class Owner(Protocol):
    """The broadcast that a writer works for."""

    def displaced_another(self) -> None:
        """The stream had a publisher at another ingest until now."""

    def begun(self) -> None:
        """Its segments have numbers from here on, in a new epoch."""

    def wants_to_write(self) -> bool:
        """Whether it has a publisher, who would be lost if somebody had taken the stream in vain."""


class Nobody:
    """Stands in for a broadcast that is over here, so that its writer, which may live longer, does not keep it."""

    def displaced_another(self) -> None:
        """Nobody is concerned."""

    def begun(self) -> None:
        """Nobody waits for it."""

    def wants_to_write(self) -> bool:
        return False


@define(eq=False)
class Writer:
    """
    The writer for one broadcast at the ingest ``node``. ``leave(stream, epoch)`` tells the bus that it has no more.
    ``segment_s`` is how long its segments usually are; ``seconds`` is the wall clock.

    Segments that come while the stream is being taken get their numbers when it is.
    """

    stream: str
    node: str
    segment_s: int
    takes: Takes
    offers: Offers
    leave: Callable[[str, int], None]
    clock: IReactorTime
    seconds: Callable[[], float]
    bus_answers: Callable[[], bool]
    owner: Owner
    stage: Stage = field(default=Stage.TAKING, init=False)
    _numbers: Numbers = field(init=False)
    _waiting: list[Numberless] = field(factory=list, init=False)
    _ends: bool = field(default=False, init=False)
    _younger: int = field(default=0, init=False)
    _trying: int = field(default=0, init=False)
    _taking: Deferred[None] | None = field(default=None, init=False)
    _retake: IDelayedCall | None = field(default=None, init=False)

    log: ClassVar[Logger] = Logger()

    def __attrs_post_init__(self) -> None:
        self._numbers = Numbers(self.stream, self.node)

    @property
    def epoch(self) -> int:
        """The number of the newest epoch that is ours, or may come to be; 0 while there is none."""
        newest = self._numbers.newest
        return max(self._trying, 0 if newest is None else newest.epoch.number)

    @property
    def last(self) -> tuple[int, int] | None:
        """The newest epoch that is ours, and the last number given in it; ``None`` while there is none."""
        newest = self._numbers.newest
        return None if newest is None else (newest.epoch.number, newest.msn(newest.last))

    @property
    def has_waiting(self) -> bool:
        """Whether something waits for its number while the stream is being taken."""
        return self.stage is Stage.TAKING and bool(self._waiting)

    @property
    def fills_gaps(self) -> bool:
        """Whether a gap may be given a number now: not where somebody else may be giving them by now."""
        return self.stage in (Stage.TAKING, Stage.WRITING) and self.bus_answers()

    def take(self, above: int = 0) -> None:
        """Become the stream's writer, in an epoch younger than ``above`` and all others that are known."""
        self._younger = max(self._younger, above)
        self._cancel()
        self.stage = Stage.TAKING
        taking = Deferred.fromCoroutine(self._take())
        if not taking.called:
            self._taking = taking
        taking.addErrback(self._failed)

    def give(self, segment: Numberless) -> None:
        """Have a segment announced, or a gap."""
        if self.stage is Stage.WRITING or (self.stage is not Stage.CLOSED and self._numbers.has_number(segment)):
            self._announce(segment)
        elif self.stage in (Stage.TAKING, Stage.SUSPENDED):
            self._waiting = [*self._waiting[1 - MOST_WAITING :], segment]

    def end(self) -> None:
        """The broadcast is over: say so, if it ever began."""
        if self.stage is Stage.TAKING:
            self._ends = True
            return
        newest = self._numbers.newest
        if self.stage is Stage.WRITING and newest is not None and self._numbers.next:
            ended = StreamEnded(self.stream, newest.epoch, newest.msn(newest.last), self.node)
            self.offers.add(ended, self.suspend)
        self.close()

    def close(self) -> None:
        """Give no more numbers, and say nothing of an end. What has a number is still announced."""
        if self.stage is Stage.WRITING:
            self.leave(self.stream, self.epoch)
        self._cancel()
        self.stage, self.owner = Stage.CLOSED, Nobody()
        self._waiting.clear()

    def suspend(self, epoch: int) -> None:
        """
        Somebody has taken the stream in a younger epoch.

        If nothing more is heard of it, and there still is a publisher here, the stream is taken again.
        """
        self._younger = max(self._younger, epoch)
        if self.stage is Stage.WRITING and epoch > self.epoch:
            self.log.info("{stream}: somebody has taken the stream; no more numbers are given here", stream=self.stream)
            self.stage = Stage.SUSPENDED
            self._retake = self.clock.callLater(RETAKE_S, self._take_again)

    def go_on(self) -> None:
        """A publisher is here: if somebody else had taken the stream in vain, take it again."""
        if self.stage is Stage.SUSPENDED:
            self.take()

    def fence(self, epoch: int, *, shows: bool) -> None:
        """
        Another ingest goes on with the stream in this epoch: give no more numbers.

        With ``shows``, all that were given are shown, for the other counts them.
        """
        self._younger = max(self._younger, epoch)
        self._cancel()
        self.stage, self.owner = Stage.FENCED, Nobody()
        self._waiting.clear()
        if shows:
            self.offers.show_all()

    # Inside

    async def _take(self) -> None:
        claim = await self.takes.take(self.stream, max(self.epoch, self._younger), self._try)
        self._taking = None
        if claim.owner in (None, self.node):
            self.offers.show_all()  # the bus may have accepted them, and counted them
        self._begin(self.takes.with_heard(self.stream, claim))

    def _try(self, epoch: int) -> None:
        self._trying = epoch

    def _begin(self, claim: Claim) -> None:
        if claim.displaced:
            self.owner.displaced_another()
        first = min((each.cut.msn for each in self._waiting if not self._numbers.has_number(each)), default=None)
        turn = begin_turn(claim, self._numbers.next if first is None else first, self.segment_s, self.seconds())
        self._numbers.turns.append(turn)
        self.stage = Stage.WRITING
        self.offers.add(EpochBegan(self.stream, turn.epoch, self.node), self.suspend, at_once=True)
        waiting, self._waiting = self._waiting, []
        for segment in waiting:
            self._announce(segment)
        self.owner.begun()
        if self._ends:
            self.end()

    def _announce(self, segment: Numberless) -> None:
        told = self._numbers.announcement(segment)
        self.offers.add(told, partial(self._taken_back, segment, told), at_once=self.stage is Stage.FENCED)

    def _taken_back(self, segment: Numberless, told: SegmentAnnounced, epoch: int) -> None:
        """A number was refused before it was shown; in another rendition it may have been shown all the same."""
        self.suspend(epoch)
        if self.offers.has_shown(told.epoch.number, told.segment.msn):
            self.offers.add(told, self.suspend, at_once=True)
        elif told.epoch.number == self._numbers.turns[-1].epoch.number:
            self._numbers.take_back(segment)
            self.give(segment)

    def _take_again(self) -> None:
        self._retake = None
        if self.owner.wants_to_write():
            self.take()

    def _failed(self, failure: Failure) -> None:
        if not failure.check(CancelledError):
            self.log.failure("{stream}: the stream could not be taken", failure, stream=self.stream)

    def _cancel(self) -> None:
        if self._retake is not None and self._retake.active():
            self._retake.cancel()
        self._retake = None
        taking, self._taking = self._taking, None
        if taking is not None:
            taking.cancel()
