"""How much is read of an RTMP peer: in one turn of the reactor, and over time."""

from __future__ import annotations

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from livestream.net.token_bucket import TokenBucket

TURN_STEPS = 200
"""So much is read of a peer in one turn of the reactor, which takes half a millisecond; the rest has to wait."""
SHORT_TURN_STEPS = 100
"""And so much of a publisher that has sent faster than it is read."""
PUBLISHER_STEPS = 40_000
"""A publisher is read no faster than this, in steps a second: 2,500 messages, or 160 Mbit/s; a tenth of a core."""
PEER_STEPS = 1000
"""And whoever does not publish sends no faster, or is closed: 60 messages a second."""
PREPAID_STEPS = 500
"""So many steps of a publisher are paid for at once, so that the clock is not asked at each read."""
PUBLISHER_BURST_S = 0.5
PEER_BURST_S = 4
"""So many seconds' worth may come at once. What a publisher has more of waits in the kernel, and harms nobody there."""


def _peer_bucket() -> TokenBucket:
    return TokenBucket(PEER_STEPS, PEER_STEPS * PEER_BURST_S)


@define(eq=False)
class ReadBudget:
    """
    What one peer may still have read, in steps of work (those of a `livestream.rtmp.chunks.ChunkReader`).

    Read at most ``turn_steps`` in a turn of the reactor, and `spend` them when they are done.
    """

    _clock: IReactorTime
    turn_steps: int = field(default=TURN_STEPS, init=False)
    _bucket: TokenBucket = field(factory=_peer_bucket, init=False)
    _publishes: bool = field(default=False, init=False)
    _counted: int = field(default=0, init=False)
    _prepaid: int = field(default=0, init=False)

    def begin_publishing(self) -> None:
        """The peer has been let in as a publisher: it may send much faster."""
        self._publishes = True
        self._bucket = TokenBucket(PUBLISHER_STEPS, PUBLISHER_STEPS * PUBLISHER_BURST_S)

    def end_publishing(self) -> None:
        """The peer publishes no more; what it has done till now is paid for."""
        self._publishes = False
        self._bucket = _peer_bucket()
        self._prepaid = 0

    def charge(self, steps: int) -> None:
        """Add work that a message made beyond its bytes."""
        self._counted -= steps

    def spend(self, steps: int) -> float:
        """Pay for all work up to ``steps``, the reader's count; return in how many seconds to read on, 0 for now."""
        self._prepaid -= steps - self._counted
        self._counted = steps
        if self._prepaid >= 0:
            return 0.0
        steps = max(-self._prepaid, PREPAID_STEPS) if self._publishes else -self._prepaid
        self._prepaid += steps
        wait_s = self._bucket.take(steps, self._clock.seconds())
        if wait_s and self._publishes:
            self.turn_steps = SHORT_TURN_STEPS
        return wait_s
