"""
Claims: how an ingest becomes the writer of a stream, whatever other nodes are dead, cut off or have lost.

Each number is given once, by one writer, and never corrected by a reader. So before it gives its first number, a new
writer finds out the highest that any node may have seen, and ensures that no node continues with older ones:

1. The number of its epoch is the larger of the clock and of every known epoch plus one. The bus, if it answers, records
   the new owner and returns how far the stream had come.
2. The other ingests stop numbering, and all origins promise to refuse numbers of older epochs above what they have;
   each returns how far it has come. A node that knows a younger epoch says so, and the claim is retried above that.
3. The first number is one above the highest. If neither all other ingests nor all origins answered, numbers are skipped
   for segments that may exist, and every list restarts. Without a cluster there is no node to ask, and the bus decides,
   unless it has not heard from the previous writer for longer than a segment lasts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from attrs import define, evolve, frozen
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from livestream.model.epochs import epoch_number, later_epoch
from livestream.model.segments import StreamPosition

RETRY_S = 0.1
UNSEEN_S = 900.0
"""How long a stream may have continued unseen if no node could be asked, by clocks that are minutes apart."""
UNSEEN_LEAST = 3
SLACK_S = 1.0
"""How much longer than the target duration a segment may take to arrive."""


@frozen
class Survey:
    """
    The answers of the other nodes.

    ``younger`` is the youngest epoch beyond the claimed one that any of them knows; 0 if there is none. The survey is
    complete if all other ingests, or all origins, have answered. ``has_addresses`` is false if no other nodes can be
    known, as without a cluster; ``displaced`` says that another ingest had the publisher until now.
    """

    positions: Sequence[StreamPosition] = ()
    younger: int = 0
    is_complete: bool = False
    has_addresses: bool = False
    displaced: bool = False


class PeerNodes(Protocol):
    """The other nodes, as a claim sees them."""

    async def survey(self, stream: str, epoch: int) -> Survey:
        """Ask all of them at once. Takes bounded time and never fails."""


class NoPeerNodes:
    """There are no other nodes."""

    async def survey(self, stream: str, epoch: int) -> Survey:
        return Survey()


class BusReply(Protocol):
    """The bus's reply to a claim."""

    @property
    def epoch(self) -> int: ...
    @property
    def position(self) -> StreamPosition: ...
    @property
    def owner(self) -> str:
        """The previous writer, or empty."""

    @property
    def silent_s(self) -> float:
        """Seconds since an announcement of the stream was last accepted."""


@frozen
class Claim:
    """
    A claim that succeeded. ``position`` is how far the stream had come, as far as any node knows; unless
    ``is_certain``, it may have come farther. ``owner`` is the previous writer; ``None`` if the bus did not answer.
    """

    epoch: int
    position: StreamPosition
    is_certain: bool
    owner: str | None
    displaced: bool = False


@define(eq=False)
class Claims:
    """
    Claims streams for this ingest.

    ``node`` is its id on the bus, and ``claim_on_bus(stream, epoch)`` fails if the bus does not answer.
    ``known_position(stream)`` is how far a stream has come, as far as this node knows. ``writer`` identifies this node
    among the writers, below `WRITERS`; ``seconds`` is the wall clock.
    """

    node: str
    claim_on_bus: Callable[[str, int], Awaitable[BusReply]]
    others: PeerNodes
    known_position: Callable[[str], StreamPosition]
    writer: int
    clock: IReactorTime
    seconds: Callable[[], float]

    def epoch(self, above: int) -> int:
        """The number of a new epoch, larger than ``above``."""
        return later_epoch(epoch_number(self.seconds(), self.writer), above)

    async def claim(self, stream: str, above: int, on_attempt: Callable[[int], None]) -> Claim:
        """
        Claim a stream in an epoch younger than ``above`` and all others, retrying until that succeeds.

        ``on_attempt(epoch)`` is called with each epoch that is tried.
        """
        while True:
            wanted = self.epoch(max(above, self.known_position(stream).epoch))
            on_attempt(wanted)
            reply = await self._bus_reply(stream, wanted)
            epoch = wanted if reply is None else reply.epoch
            on_attempt(epoch)
            survey = await self.others.survey(stream, epoch)
            known = self.known_position(stream)
            if not survey.younger and known.epoch < epoch:
                return self._conclude(epoch, reply, survey, known)
            above = max(survey.younger, known.epoch, above)
            await deferLater(self.clock, RETRY_S)

    def with_known(self, stream: str, claim: Claim) -> Claim:
        """The claim, updated with what this node knows by now."""
        return evolve(claim, position=farthest([claim.position, self.known_position(stream)]))

    def _conclude(self, epoch: int, reply: BusReply | None, survey: Survey, known: StreamPosition) -> Claim:
        positions, owner = [known, *survey.positions], None
        is_certain = survey.is_complete
        if reply is not None:
            positions.append(reply.position)
            owner = reply.owner
            is_certain = is_certain or (not survey.has_addresses and _is_authoritative(reply, known, self.node))
        return Claim(epoch, farthest(positions), is_certain, owner, survey.displaced)

    async def _bus_reply(self, stream: str, epoch: int) -> BusReply | None:
        try:
            return await self.claim_on_bus(stream, epoch)
        except CancelledError:
            raise
        except Exception:  # without the bus, the other nodes can be asked
            return None


def _is_authoritative(reply: BusReply, known: StreamPosition, node: str) -> bool:
    """
    Whether the bus has certainly accepted every announcement of the stream.

    A writer that has been silent for a segment's length may be cut off from the bus and still write; and the bus may
    have lost what this node knows.
    """
    if reply.owner == node:
        return True
    is_silent = reply.silent_s > reply.position.target_s + SLACK_S
    return reply.position.msn >= known.msn and (reply.position.is_ended or not reply.owner or not is_silent)


def farthest(positions: Sequence[StreamPosition]) -> StreamPosition:
    """The farthest of several positions; the stream has ended if the newest segment of the youngest epoch says so."""
    youngest = max((each for each in positions if each.msn), key=lambda each: (each.epoch, each.msn), default=None)
    return StreamPosition(
        max((each.epoch for each in positions), default=0),
        max((each.msn for each in positions), default=0),
        max((each.discontinuity for each in positions), default=0),
        max((each.ends_at_ms for each in positions), default=0),
        max((each.target_s for each in positions), default=0),
        any(each.is_ended for each in positions if youngest is not None and each.msn == youngest.msn),
    )
