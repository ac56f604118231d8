"""
Nonces that nodes send each other on the bus, to tell current messages from recordings.

A signature proves that a node of this cluster made a message, but not when: the node's own clock may be minutes off. So
a node that receives a message of an unknown run draws a nonce, which its next heartbeat carries. Each node that
receives that repeats the nonce in its own next heartbeat, which must therefore have been made after the nonce was
drawn; and what its sender's clock shows is then known to half the time in between.

The challenge runs over the bus, and not over HTTP, for three reasons. A node that is received on the bus can answer
there, even if its HTTP is not reachable from here, or is late to start. One nonce challenges every node at once,
however many start together. And no node can be made to sign what an untrusted peer sends: a nonce is repeated only for
nodes of the cluster, within a message that cannot be mistaken for any other kind.

A node that does not receive the bus cannot answer. It is then asked at its HTTP address, like one that is cut off from
the bus, and is used while it answers.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence

from attrs import define, field

from livestream.cluster.messages import MAX_ANSWERS, NONCE_BYTES, Heartbeat, RunId

NONCE_VALID_S = 10.0
"""A later answer does not count, so a clock is known to half of this at worst."""
FIRST_RETRY_S = 0.5
MAX_RETRY_S = 30.0
"""A run that does not answer is challenged again after half a second, then twice as long each time, up to this."""


@define(eq=False)
class PendingChallenge:
    """A run that is being challenged: its last heartbeat, and when it is challenged again."""

    heartbeat: Heartbeat
    since: float
    seen_at: float
    due_at: float
    retry_s: float = FIRST_RETRY_S


@define(eq=False)
class Challenges:
    """
    The runs of other nodes that this node challenges, and the nonces of theirs that it has yet to repeat.

    ``monotonic`` is the local clock, in seconds. Of either kind there are at most ``limit``.
    """

    monotonic: Callable[[], float]
    limit: int
    _drawn: dict[str, float] = field(factory=dict, init=False)
    _pending: dict[RunId, PendingChallenge] = field(factory=dict, init=False)
    _received: dict[RunId, str] = field(factory=dict, init=False)

    # Challenges that this node sends

    def challenge(self, heartbeat: Heartbeat) -> None:
        """Challenge the run that sent this until it answers or falls silent."""
        now, pending = self.monotonic(), self._pending.get(heartbeat.run)
        if pending is not None:
            pending.heartbeat, pending.seen_at = heartbeat, now
        elif len(self._pending) < self.limit:
            self._pending[heartbeat.run] = PendingChallenge(heartbeat, now, now, now)

    def drop(self, run: RunId) -> None:
        """Stop challenging a run: it has answered, or has ended."""
        self._pending.pop(run, None)

    def nonce(self) -> str:
        """The nonce for the next heartbeat: a new one if any challenge is due, otherwise an empty string."""
        now = self.monotonic()
        due = [each for each in self._pending.values() if now >= each.due_at]
        if not due:
            return ""
        for each in due:
            each.due_at, each.retry_s = now + each.retry_s, min(2 * each.retry_s, MAX_RETRY_S)
        return self.draw()

    def draw(self) -> str:
        """Draw a nonce that is valid from now on."""
        now, nonce = self.monotonic(), secrets.token_hex(NONCE_BYTES)
        self._drawn = {drawn: at for drawn, at in self._drawn.items() if now - at <= NONCE_VALID_S}
        self._drawn[nonce] = now
        return nonce

    def drawn_at(self, answers: Iterable[str]) -> float | None:
        """When the newest valid nonce among ``answers`` was drawn; ``None`` if none is."""
        now = self.monotonic()
        times = [self._drawn[nonce] for nonce in answers if nonce in self._drawn]
        return max((at for at in times if now - at <= NONCE_VALID_S), default=None)

    def unanswered(self) -> Sequence[Heartbeat]:
        """The last heartbeats of the runs that have not answered in time; silent ones are dropped."""
        now = self.monotonic()
        late = [each for each in self._pending.values() if now - each.since >= NONCE_VALID_S]
        for each in late:
            if now - each.seen_at >= NONCE_VALID_S:
                self.drop(each.heartbeat.run)
        return [each.heartbeat for each in late]

    # Challenges that this node receives

    def receive(self, heartbeat: Heartbeat) -> None:
        """Note another node's nonce; its newest replaces older ones."""
        if heartbeat.nonce and (len(self._received) < self.limit or heartbeat.run in self._received):
            self._received[heartbeat.run] = heartbeat.nonce

    def answers(self) -> tuple[str, ...]:
        """The nonces that the next heartbeat repeats: those that have waited longest."""
        runs = list(self._received)[:MAX_ANSWERS]
        return tuple(self._received.pop(run) for run in runs)
