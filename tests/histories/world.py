"""
A cluster without a network: the real windows, catalogues, writers and takes, on one clock, with a bus and HTTP between
them that are late, cut, and forget, as a seed has it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from livestream.bus.head import Head
from livestream.bus.interface import TemporarilyUnavailable, Tier
from livestream.model.segments import Announcement, SegmentAnnounced
from tests.histories.nodes import EDGES, INGESTS, NEVER_S, ORIGINS, Edge, Ingest, Origin, Publisher
from tests.histories.redis import REDIS, Redis

STEP_S = 0.25
ENDS_S = 68.0
HEALS_S = 48.0
"""From here on nothing is cut any more, so that all nodes come to the same end."""
QUIET_S = 10.0
IN_TIME_S = 3.0
"""What no origin has by then, playlists go on without."""
ANSWER_S = 1.0


@define(eq=False)
class World:
    """One history. ``faults`` are kinds, each of which happens once at a time that the seed decides."""

    seed: int
    faults: Sequence[str] = ()
    has_cluster: bool = True
    stays: bool = False
    """Whether an encoder that has moved may stay at its old ingest too, and come back when it is cut off."""
    clock: Clock = field(factory=Clock)
    random: Random = field(init=False)
    redis: Redis = field(factory=Redis)
    cuts: list[tuple[str, str, float, float]] = field(factory=list)
    dead: dict[str, float] = field(factory=dict)
    troubles: Counter[str] = field(factory=Counter)
    said: list[str] = field(factory=list)
    ingests: dict[str, Ingest] = field(factory=dict)
    origins: dict[str, Origin] = field(factory=dict)
    edges: dict[str, Edge] = field(factory=dict)
    shown: dict[str, SegmentAnnounced] = field(factory=dict)
    held: dict[str, float] = field(factory=dict)
    shown_at: dict[str, float] = field(factory=dict)
    segments: dict[int, tuple[str, int, int]] = field(factory=dict)
    began_at: float = 1_800_000_000.0

    def __attrs_post_init__(self) -> None:
        self.random = Random(self.seed)
        self.clock.advance(self.began_at)
        for kind in self.faults:
            self._plan(kind)
        for name in INGESTS:
            self.ingests[name] = Ingest(self, name, self.random.uniform(-40, 40))
        for name in ORIGINS:
            self.origins[name] = Origin(self, name)
        for name in EDGES:
            self.edges[name] = Edge(self, name)

    # Time and faults

    @property
    def now(self) -> float:
        return self.clock.seconds() - self.began_at

    def say(self, *words: object) -> None:
        self.said.append(f"{self.now:6.2f} " + " ".join(map(str, words)))

    def _interval(self) -> tuple[float, float]:
        begins = self.random.uniform(5, HEALS_S - 15)
        return begins, min(HEALS_S, begins + self.random.choice((2, 5, 10, 25)))

    def _plan(self, kind: str) -> None:
        nodes = (*INGESTS, *ORIGINS, *EDGES)
        if kind == "redis away":
            interval = self._interval()
            self.cuts += [(REDIS, node, *interval) for node in nodes]
        elif kind == "redis forgets":
            self.clock.callLater(self.random.uniform(5, HEALS_S), self._forget, self.random.choice((1, 2, 99)))
        elif kind == "an ingest dies":
            self.dead[self.random.choice(INGESTS)] = self._interval()[0]
        elif kind == "an origin restarts":
            self.clock.callLater(self.random.uniform(5, HEALS_S), self._restart, self.random.choice(ORIGINS))
        elif kind == "cuts":
            for _ in range(self.random.randrange(1, 8)):
                one, other = self.random.sample((REDIS, *nodes), 2)
                self.cuts.append((one, other, *self._interval()))
        else:
            one, other = kind.split("-")
            self.cuts.append((one, other, *self._interval()))

    def _forget(self, count: int) -> None:
        """A failover loses what was written last; a restart, everything."""
        self.say("Redis forgets", count)
        if count == 99:
            self.redis.heads.clear()
            self.redis.logs.clear()
            return
        for log in self.redis.logs.values():
            for _ in range(min(count, len(log))):
                log.pop()
        head = self.redis.heads.get("show")
        kept = [told for (tier, _, _), log in self.redis.logs.items() if tier is Tier.INGEST for told in log]
        if head is not None:
            fresh = Head()
            for told in sorted(kept, key=lambda told: (told.epoch.number, _msn(told))):
                fresh.accept(told.node, told, head.accepted_at or 0.0)
            self.redis.heads["show"] = fresh

    def _restart(self, name: str) -> None:
        self.say("restarts", name)
        self.origins[name].stop()
        self.origins[name] = Origin(self, name)

    def reaches(self, one: str, other: str) -> bool:
        """Whether a message gets from one to the other now."""
        now = self.now
        if any(self.dead.get(node, NEVER_S) <= now for node in (one, other)):
            return False
        return not any({one, other} == {a, b} and begins <= now < ends for a, b, begins, ends in self.cuts)

    def delay(self) -> float:
        return self.random.choice((0.0, 0.0, 0.25, 0.25, 0.5))

    def carry(self, one: str, other: str, deliver: Callable[[], object]) -> None:
        """Deliver a message in a while, unless it is lost on the way."""
        if self.reaches(one, other):
            self.clock.callLater(self.delay(), lambda: self.reaches(one, other) and deliver())

    def request(self, one: str, other: str, answer: Callable[[], Any], deadline_s: float = ANSWER_S) -> Deferred[Any]:
        """Ask, and be answered; either may be lost, which a deadline ends."""
        asked: Deferred[Any] = Deferred()

        def answered(result: Any) -> None:
            if not asked.called:
                asked.callback(result)

        def do() -> None:
            result = answer()
            self.carry(other, one, lambda: answered(result))

        self.carry(one, other, do)
        call = self.clock.callLater(
            deadline_s, lambda: asked.called or asked.errback(TemporarilyUnavailable("no answer"))
        )
        return asked.addBoth(_cancelling, call)

    # The story

    def run(self) -> World:
        turn_at, current = 0.5, self.random.choice(INGESTS)
        publisher: Publisher | None = None
        while self.now < ENDS_S:
            if turn_at is not None and self.now >= turn_at:
                if publisher is not None:
                    publisher.leave(self.stays and self.random.random() < 0.5)
                if self.dead.get(current, NEVER_S) <= self.now:
                    current = next(name for name in INGESTS if name != current)
                publisher = Publisher(self, current)
                self.clock.callLater(self.random.choice((0.0, 0.0, 0.25, 1.0, 2.0)), publisher.come)
                current = self.random.choice(INGESTS)
                turn_at = self.now + self.random.uniform(5, 22)
                if turn_at > HEALS_S:
                    turn_at = NEVER_S
            if publisher is not None and self.now >= ENDS_S - QUIET_S:
                publisher.leave(False)
            self.clock.advance(STEP_S)
            for edge in self.edges.values():
                edge.look()
        self._judge()
        return self

    def _judge(self) -> None:
        one, other = (edge.current for edge in self.edges.values())
        if any(one[msn] != other[msn] for msn in one.keys() & other.keys()):
            self.troubles["final lists differ"] += 1
        ever = {uri for edge in self.edges.values() for uri, _, _ in edge.ever.values()}
        epochs = {told.epoch for told in self.shown.values()}
        for name, told in self.shown.items():
            if any(e.number > told.epoch.number and e.first_msn <= told.segment.msn for e in epochs):
                self.troubles["shown, and then another's"] += 1
                self.say("shown, and then another's", name)
            if self.shown_at[name] < ENDS_S - IN_TIME_S and name not in ever and told.segment.media is not None:
                late_s = self.held.get(name, NEVER_S) - self.shown_at[name]
                kind = "lost, though an origin had it" if late_s < IN_TIME_S else "lost with its only holder"
                self.troubles[kind] += 1
                self.say(kind, name)

    @property
    def is_consistent(self) -> bool:
        """Whether all edges told the same story all the time."""
        return not any(kind for kind in self.troubles if not kind.startswith(("lost", "shown")))

    @property
    def is_sound(self) -> bool:
        """Whether that story also has all that could be had."""
        return self.is_consistent and not self.troubles["lost, though an origin had it"]


def _cancelling(result: Any, call: Any) -> Any:
    if call.active():
        call.cancel()
    return result


def _msn(told: Announcement) -> int:
    return told.segment.msn if isinstance(told, SegmentAnnounced) else 0
