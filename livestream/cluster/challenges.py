"""
Questions that nodes ask each other on the bus, to tell what is said now from recordings of it.

Every message of a node is signed, so a node of ours made it; when, it says by a clock of its own, which may be minutes
wrong. So a node that hears a run of another for the first time draws a nonce, and its next message carries it. Whoever
hears that repeats the nonce in its own next message: that one was made after the nonce was drawn, and what the clock of
its sender shows then is known to half the time between.

They are asked on the bus, and not over HTTP, for three reasons. Whoever is heard, is heard there, and can answer there,
also where its HTTP is not reached from here, or late when it starts. One nonce asks all who are to be asked, however
many start at once. And there is nobody who signs what strangers send him: a nonce is repeated for nodes of ours alone,
within a message that can be taken for no other kind.

A node that hears the bus no more cannot answer. It is then asked at its HTTP address, like one that is cut off from the
bus, and is used while it answers.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Sequence

from attrs import define, field

from livestream.cluster.messages import MOST_ANSWERS, NONCE_BYTES, Heartbeat, RunId

NONCE_S = 10.0
"""An answer that comes later is none; so a clock is known to half of that at worst."""
AGAIN_S = 0.5
SELDOM_S = 30.0
"""Who does not answer is asked again after half a second, then after twice as long each time, up to half a minute."""


@define(eq=False)
class Asked:
    """A run that is asked: what it said last, and when it is asked again."""

    heartbeat: Heartbeat
    since: float
    heard_at: float
    ask_at: float
    again_s: float = AGAIN_S


@define(eq=False)
class Challenges:
    """
    The runs of other nodes that this one asks, and the nonces that it is to repeat for them.

    ``monotonic`` is our clock, in seconds. Of either kind there are at most ``most``.
    """

    monotonic: Callable[[], float]
    most: int
    _drawn: dict[str, float] = field(factory=dict, init=False)
    _asked: dict[RunId, Asked] = field(factory=dict, init=False)
    _owed: dict[RunId, str] = field(factory=dict, init=False)

    # Ours

    def ask(self, heartbeat: Heartbeat) -> None:
        """Ask the run that sent this until it answers, or is not heard any more."""
        now, asked = self.monotonic(), self._asked.get(heartbeat.run)
        if asked is not None:
            asked.heartbeat, asked.heard_at = heartbeat, now
        elif len(self._asked) < self.most:
            self._asked[heartbeat.run] = Asked(heartbeat, now, now, now)

    def drop(self, run: RunId) -> None:
        """It is believed, or is over."""
        self._asked.pop(run, None)

    def nonce(self) -> str:
        """What our next message asks: a new nonce if it is time to ask somebody, or else the empty string."""
        now = self.monotonic()
        due = [each for each in self._asked.values() if now >= each.ask_at]
        if not due:
            return ""
        for each in due:
            each.ask_at, each.again_s = now + each.again_s, min(2 * each.again_s, SELDOM_S)
        return self.draw()

    def draw(self) -> str:
        """A nonce that counts from now on."""
        now, nonce = self.monotonic(), secrets.token_hex(NONCE_BYTES)
        self._drawn = {drawn: at for drawn, at in self._drawn.items() if now - at <= NONCE_S}
        self._drawn[nonce] = now
        return nonce

    def drawn_at(self, answers: Iterable[str]) -> float | None:
        """When the newest nonce of ours was drawn that is among ``answers``; ``None`` if none of now is."""
        now = self.monotonic()
        times = [self._drawn[nonce] for nonce in answers if nonce in self._drawn]
        return max((at for at in times if now - at <= NONCE_S), default=None)

    def unanswered(self) -> Sequence[Heartbeat]:
        """What those said last that have not answered in time; whoever is not heard any more is asked no more."""
        now = self.monotonic()
        late = [each for each in self._asked.values() if now - each.since >= NONCE_S]
        for each in late:
            if now - each.heard_at >= NONCE_S:
                self.drop(each.heartbeat.run)
        return [each.heartbeat for each in late]

    # Those of the others

    def owe(self, heartbeat: Heartbeat) -> None:
        """Another node asks; of what it asked the newest counts."""
        if heartbeat.nonce and (len(self._owed) < self.most or heartbeat.run in self._owed):
            self._owed[heartbeat.run] = heartbeat.nonce

    def answers(self) -> tuple[str, ...]:
        """What our next message repeats: who has waited longest comes first."""
        runs = list(self._owed)[:MOST_ANSWERS]
        return tuple(self._owed.pop(run) for run in runs)
