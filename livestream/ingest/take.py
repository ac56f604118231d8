"""
The take: how an ingest becomes the writer of a stream, whatever other nodes are dead, cut off or have forgotten.

Numbers are given once, by one writer, and no reader ever corrects one. So before it gives its first number, a new
writer finds out the highest that anybody may have seen, and sees to it that nobody goes on with older ones:

1. The number of its epoch is the larger of the clock and of every epoch heard of, and one more. The bus, where it
   answers, notes the new owner and says how far the stream had come.
2. The other ingests stop giving numbers, and all origins promise to take none of an older epoch above what they have;
   each says how far it has come. Whoever knows a younger epoch says so, and the take begins again above that.
3. The first number is one above the highest. If neither all other ingests nor all origins answered, numbers are left
   out for what may exist, and every list begins anew. Without a cluster nobody can be asked, and the word of the bus is
   the last, unless it has not heard the writer before for longer than a segment lasts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from attrs import define, evolve, frozen
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from livestream.model.segments import StreamPosition

AGAIN_S = 0.1
WRITERS = 1000
"""Epochs' numbers are Unix milliseconds times this, and end in digits of the writer's own."""
UNSEEN_S = 900.0
"""What nobody could be asked about may have gone on for so long, by clocks that are minutes apart."""
UNSEEN_LEAST = 3
SLACK_S = 1.0
"""So much longer than its target duration may a segment be on its way."""


@frozen
class Survey:
    """
    What the other nodes answered.

    ``younger`` is the youngest epoch that one of them knows to be younger than the take's; 0 for none. It is complete
    when all other ingests, or all origins, have answered. ``has_addresses`` is false where this node knows of no other,
    as without a cluster; ``displaced`` says that the publisher of another ingest was there until now.
    """

    positions: Sequence[StreamPosition] = ()
    younger: int = 0
    is_complete: bool = False
    has_addresses: bool = False
    displaced: bool = False


class Others(Protocol):
    """The other nodes, as a take sees them."""

    async def survey(self, stream: str, epoch: int) -> Survey:
        """Ask all of them at once. It takes a bounded time and never fails."""


class NoOthers:
    """There is no other node."""

    async def survey(self, stream: str, epoch: int) -> Survey:
        return Survey()


class Answer(Protocol):
    """What the bus says to who takes a stream."""

    @property
    def epoch(self) -> int: ...
    @property
    def position(self) -> StreamPosition: ...
    @property
    def owner(self) -> str:
        """Whose it was; empty for nobody's."""

    @property
    def silent_s(self) -> float:
        """How long ago anything of the stream was accepted."""


@frozen
class Claim:
    """
    An epoch that is ours. ``position`` is how far the stream had come for anybody; it may have come farther unless
    ``is_certain``. ``owner`` is whose the stream was, and ``None`` where the bus did not say.
    """

    epoch: int
    position: StreamPosition
    is_certain: bool
    owner: str | None
    displaced: bool = False


@define(eq=False)
class Takes:
    """
    Takes streams for this ingest.

    ``node`` is who we are to the bus, and ``ask_bus(stream, epoch)`` fails where that does not answer.
    ``heard(stream)`` is how far a stream had come as far as this node has heard. ``writer`` is this node's number among
    the writers, below `WRITERS`; ``seconds`` is the wall clock.
    """

    node: str
    ask_bus: Callable[[str, int], Awaitable[Answer]]
    others: Others
    heard: Callable[[str], StreamPosition]
    writer: int
    clock: IReactorTime
    seconds: Callable[[], float]

    def epoch(self, above: int) -> int:
        """A number for an epoch that is younger than all that are known."""
        wanted = int(self.seconds() * 1000) * WRITERS + self.writer
        return wanted if wanted > above else (above // WRITERS + 1) * WRITERS + self.writer

    async def take(self, stream: str, above: int, trying: Callable[[int], None]) -> Claim:
        """
        Take a stream, in an epoch younger than ``above`` and all others, as often as need be.

        ``trying(epoch)`` is called with each that is tried.
        """
        while True:
            wanted = self.epoch(max(above, self.heard(stream).epoch))
            trying(wanted)
            answer = await self._answer(stream, wanted)
            epoch = wanted if answer is None else answer.epoch
            trying(epoch)
            survey = await self.others.survey(stream, epoch)
            known = self.heard(stream)
            if not survey.younger and known.epoch < epoch:
                return self._claim(epoch, answer, survey, known)
            above = max(survey.younger, known.epoch, above)
            await deferLater(self.clock, AGAIN_S)

    def with_heard(self, stream: str, claim: Claim) -> Claim:
        """A claim, with what is known here by now."""
        return evolve(claim, position=farthest([claim.position, self.heard(stream)]))

    def _claim(self, epoch: int, answer: Answer | None, survey: Survey, known: StreamPosition) -> Claim:
        positions, owner = [known, *survey.positions], None
        is_certain = survey.is_complete
        if answer is not None:
            positions.append(answer.position)
            owner = answer.owner
            is_certain = is_certain or (not survey.has_addresses and _is_last_word(answer, known, self.node))
        return Claim(epoch, farthest(positions), is_certain, owner, survey.displaced)

    async def _answer(self, stream: str, epoch: int) -> Answer | None:
        try:
            return await self.ask_bus(stream, epoch)
        except CancelledError:
            raise
        except Exception:  # whatever is wrong with the bus, others can be asked
            return None


def _is_last_word(answer: Answer, known: StreamPosition, node: str) -> bool:
    """
    Whether the bus has accepted all that there is.

    A writer that it has not heard for a segment's length may be cut off from it, and go on; and it may have forgotten
    what was heard of here.
    """
    if answer.owner == node:
        return True
    is_silent = answer.silent_s > answer.position.target_s + SLACK_S
    return answer.position.msn >= known.msn and (answer.position.is_ended or not answer.owner or not is_silent)


def farthest(positions: Sequence[StreamPosition]) -> StreamPosition:
    """How far a stream has come, of what several nodes know; it is over if that is what the youngest epoch says."""
    youngest = max((each for each in positions if each.msn), key=lambda each: (each.epoch, each.msn), default=None)
    return StreamPosition(
        max((each.epoch for each in positions), default=0),
        max((each.msn for each in positions), default=0),
        max((each.discontinuity for each in positions), default=0),
        max((each.ends_at_ms for each in positions), default=0),
        max((each.target_s for each in positions), default=0),
        any(each.is_ended for each in positions if youngest is not None and each.msn == youngest.msn),
    )
