"""
A cluster without a network: the real windows, catalogues, writers and takes, on one clock, with a bus and HTTP between
them that are late, cut, and forget, as a seed has it.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from livestream.bus.catalogue import Catalogue
from livestream.bus.head import Head
from livestream.bus.interface import Listener, Log, NotNow, Taken, Tier
from livestream.bus.ledger import Ledger
from livestream.cache.warm import Collector
from livestream.ingest.broadcast import BroadcastSettings
from livestream.ingest.broadcasts import Broadcasts, Numbering
from livestream.ingest.elsewhere import Elsewhere
from livestream.ingest.take import Survey, Takes, farthest
from livestream.media.flv import avc_config
from livestream.metrics import Metrics
from livestream.model import Announcement, ObjectInfo, SegmentAnnounced, StreamPosition, Superseded
from livestream.packaging.window import Window

from ..packaging.broadcasts import RECORD, pictures

STEP_S = 0.25
ENDS_S = 68.0
HEALS_S = 48.0
"""From here on nothing is cut any more, so that all nodes come to the same end."""
QUIET_S = 10.0
IN_TIME_S = 3.0
"""What no origin has by then, playlists go on without."""
ANSWER_S = 1.0
METRICS = Metrics()
INGESTS, ORIGINS, EDGES = ("A", "B"), ("O1", "O2"), ("E1", "E2")
REDIS = "R"


@define(eq=False)
class FakeFeed:
    """Nobody watches live."""

    def add(self, frame: Any) -> None: ...


@define(eq=False)
class Redis:
    """What a Redis keeps."""

    heads: dict[str, Head] = field(factory=dict)
    logs: dict[tuple[Tier, str, str], deque[Announcement]] = field(factory=dict)
    hearers: list[SimBus] = field(factory=list)


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
                self.cuts.append((*self.random.sample((REDIS, *nodes), 2), *self._interval()))
        else:
            self.cuts.append((*kind.split("-"), *self._interval()))

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
        if any(self.dead.get(node, ENDS_S * 2) <= now for node in (one, other)):
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
        call = self.clock.callLater(deadline_s, lambda: asked.called or asked.errback(NotNow("no answer")))
        return asked.addBoth(_cancelling, call)

    # The story

    def run(self) -> World:
        turn_at, current = 0.5, self.random.choice(INGESTS)
        publisher: Publisher | None = None
        while self.now < ENDS_S:
            if turn_at is not None and self.now >= turn_at:
                if publisher is not None:
                    publisher.leave(self.stays and self.random.random() < 0.5)
                if self.dead.get(current, ENDS_S * 2) <= self.now:
                    current = next(name for name in INGESTS if name != current)
                publisher = Publisher(self, current)
                self.clock.callLater(self.random.choice((0.0, 0.0, 0.25, 1.0, 2.0)), publisher.come)
                current = self.random.choice(INGESTS)
                turn_at = self.now + self.random.uniform(5, 22)
                if turn_at > HEALS_S:
                    turn_at = ENDS_S * 2
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
        for name, told in self.shown.items():
            if self.shown_at[name] < ENDS_S - IN_TIME_S and name not in ever and told.segment.media is not None:
                late_s = self.held.get(name, ENDS_S * 2) - self.shown_at[name]
                kind = "lost, though an origin had it" if late_s < IN_TIME_S else "lost with its only holder"
                self.troubles[kind] += 1
                self.say(kind, name)

    @property
    def is_consistent(self) -> bool:
        """Whether all edges told the same story all the time."""
        return not any(kind for kind in self.troubles if not kind.startswith("lost"))

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


@define(eq=False)
class SimBus:
    """One node's end of the bus, as `livestream.bus.redis.RedisBus` is."""

    world: World
    node: str
    _listeners: defaultdict[Tier, list[Listener]] = field(factory=lambda: defaultdict(list))
    _logs: dict[Tier, Log] = field(factory=dict)
    _was_up: bool = True

    def __attrs_post_init__(self) -> None:
        self.world.redis.hearers.append(self)
        self.world.clock.callLater(0.5, self._look)

    @property
    def is_healthy(self) -> bool:
        return self.world.reaches(REDIS, self.node)

    def take(self, stream: str, epoch: int) -> Deferred[Taken]:
        def answer() -> Taken:
            head = self.world.redis.heads.setdefault(stream, Head())
            before, owner, silent_s = head.position, head.owner, head.silent_s(self.world.now)
            return Taken(head.take(self.node, epoch), before, owner, silent_s)

        return self._ask(answer)

    def accept(self, announcement: Announcement) -> Deferred[None]:
        def answer() -> int:
            try:
                head = self.world.redis.heads.setdefault(announcement.stream, Head())
                head.accept(self.node, announcement, self.world.now)
            except Superseded as error:
                return error.epoch
            self._append(Tier.INGEST, announcement)
            return 0

        def read(younger: int) -> None:
            if younger:
                raise Superseded(younger)

        return self._ask(answer).addCallback(read)

    def leave(self, stream: str, epoch: int) -> None:
        self.world.carry(self.node, REDIS, lambda: self.world.redis.heads[stream].leave(epoch))

    def publish(self, tier: Tier, announcement: Announcement) -> None:
        self.world.carry(self.node, REDIS, lambda: self._append(tier, announcement))

    def restore_from(self, tier: Tier, log: Log) -> None:
        self._logs[tier] = log

    def forget(self, tier: Tier, stream: str) -> None:
        self.world.carry(self.node, REDIS, lambda: self.world.redis.logs.pop((tier, stream, self.node), None))

    def listen(self, tier: Tier, listener: Listener) -> None:
        self._listeners[tier].append(listener)
        self._recover(tier)

    def recall(self, tier: Tier, stream: str) -> Deferred[Sequence[Announcement]]:
        logs = self.world.redis.logs

        def answer() -> list[Announcement]:
            return [told for (of, name, _), log in logs.items() if of is tier and name == stream for told in log]

        return self._ask(answer).addErrback(lambda _: ())

    def _ask(self, answer: Callable[[], Any]) -> Deferred[Any]:
        if not self.is_healthy:
            return fail(NotNow("Redis is away"))
        return self.world.request(self.node, REDIS, answer)

    def _append(self, tier: Tier, announcement: Announcement) -> None:
        key = (tier, announcement.stream, self.node)
        log = self.world.redis.logs.get(key)
        if log is None:
            log = self.world.redis.logs[key] = deque(self._known(tier, announcement.stream), maxlen=48)
        log.append(announcement)
        for bus in self.world.redis.hearers:
            if self.world.random.random() < 0.97:
                self.world.carry(REDIS, bus.node, lambda bus=bus: bus.hear(tier, announcement))

    def _known(self, tier: Tier, stream: str) -> Sequence[Announcement]:
        """A log that was lost is put back."""
        return self._logs[tier].announcements(stream) if tier in self._logs else ()

    def hear(self, tier: Tier, announcement: Announcement) -> None:
        for listener in self._listeners[tier]:
            listener.announced(announcement)

    def _recover(self, tier: Tier) -> None:
        for listener in self._listeners[tier]:
            self.recall(tier, "show").addCallback(lambda told, listener=listener: told and listener.recovered(told))

    def _look(self) -> None:
        self.world.clock.callLater(0.5, self._look)
        is_up, self._was_up = self.is_healthy, self.is_healthy
        if is_up and not self._was_up:
            for tier, log in self._logs.items():
                for stream in log.streams():
                    self.world.redis.logs[tier, stream, self.node] = deque(log.announcements(stream), maxlen=48)
            for tier in self._listeners:
                self._recover(tier)


@define(eq=False)
class Ingest:
    """An ingest; its clock is wrong by so many seconds."""

    world: World
    name: str
    ahead_s: float
    bus: SimBus = field(init=False)
    ledger: Ledger = field(init=False)
    catalogue: Catalogue = field(init=False)
    broadcasts: Broadcasts = field(init=False)
    publisher: Publisher | None = None

    def __attrs_post_init__(self) -> None:
        world, clock = self.world, self.world.clock
        self.bus = SimBus(world, self.name)
        self.ledger = Ledger(self.bus, Tier.INGEST, 6, self.name)
        self.ledger.subscribe(self._shown)
        self.catalogue = Catalogue(self.bus, Tier.INGEST, None, 6, clock, METRICS)
        takes = Takes(self.name, self.bus.take, Others(self), self.position, ord(self.name), clock, self.seconds)
        numbering = Numbering(
            self.name, takes, self.bus.accept, self.bus.leave, self.ledger.show, lambda: self.bus.is_healthy
        )
        settings = BroadcastSettings(3, 10.0, ())
        self.broadcasts = Broadcasts(
            settings, self, numbering, self.ledger.forget, lambda _: None, clock, self.seconds, METRICS
        )
        elsewhere = Elsewhere(self.name, lambda: (), clock, self._outdone)
        self.catalogue.subscribe(elsewhere.changed)
        self.catalogue.start()

    def seconds(self) -> float:
        return self.world.clock.seconds() + self.ahead_s

    def position(self, stream: str) -> StreamPosition:
        return farthest([self.ledger.position(stream), self.catalogue.position(stream)])

    def _shown(self, stream: str, announcement: Announcement | None) -> None:
        if isinstance(announcement, SegmentAnnounced) and announcement.segment.media is not None:
            self.world.shown.setdefault(announcement.segment.media.name, announcement)
            self.world.shown_at.setdefault(announcement.segment.media.name, self.world.now)
            self.world.say(self.name, "shows", announcement.segment.media.name)

    def _outdone(self, stream: str, epoch: int, node: str) -> None:
        if self.broadcasts.give_up(stream, epoch):
            self._displace()

    def _displace(self) -> None:
        publisher, self.publisher = self.publisher, None
        if publisher is not None:
            publisher.cut_off()

    def take(self, stream: str, epoch: int) -> StreamPosition | int:
        """How far the stream had come here; or which epoch is younger."""
        try:
            self.broadcasts.fence(stream, epoch)
        except Superseded as error:
            return error.epoch
        self._displace()
        return self.position(stream)

    # What broadcasts find around them

    @property
    def shelf(self) -> Ingest:
        return self

    def put(self, stream: str, rendition: str, info: ObjectInfo, data: bytes) -> None: ...
    def open_feed(self, stream: str, rendition: str, number: int) -> FakeFeed:
        return FakeFeed()

    def end_feed(self, feed: object) -> None: ...
    def cut_feed(self, feed: object) -> None: ...
    def rungs(self, height: int) -> Sequence[str]:
        return ()

    def transcoder(self, *_: object) -> object:
        raise AssertionError


@define(eq=False)
class Others:
    """The other nodes, for an ingest that takes a stream."""

    ingest: Ingest

    async def survey(self, stream: str, epoch: int) -> Survey:
        world, own = self.ingest.world, self.ingest.name
        if not world.has_cluster:
            return Survey()
        asked: Mapping[str, Any] = {**world.ingests, **world.origins}
        asking = {name: self._ask(name, node, stream, epoch) for name, node in asked.items() if name != own}
        answers = {name: await answer for name, answer in asking.items()}
        silent = {name for name, answer in answers.items() if not isinstance(answer, StreamPosition)}
        return Survey(
            [answer for answer in answers.values() if isinstance(answer, StreamPosition)],
            younger=max((answer for answer in answers.values() if isinstance(answer, int)), default=0),
            is_complete=not silent & set(INGESTS) or not silent & set(ORIGINS),
            has_addresses=True,
        )

    def _ask(self, name: str, node: Any, stream: str, epoch: int) -> Deferred[Any]:
        world = self.ingest.world
        answer = world.request(self.ingest.name, name, lambda: node.take(stream, epoch), 2.0)
        return answer.addErrback(lambda _: None)


@define(eq=False)
class Above:
    """The tier above a node, over HTTP."""

    world: World
    node: str
    nodes: Callable[[], Mapping[str, Any]]

    @property
    def has_cut_off_nodes(self) -> bool:
        return not all(self.world.reaches(REDIS, name) for name in self.nodes())

    def every_stream(self) -> Deferred[Sequence[Announcement]]:
        return self.one_stream("show")

    def one_stream(self, stream: str) -> Deferred[Sequence[Announcement]]:
        """What those who answer know; it takes as long as the slowest."""
        told: list[Announcement] = []
        pending = dict(self.nodes())
        over: Deferred[Sequence[Announcement]] = Deferred()

        def answered(result: Any, name: str) -> None:
            told.extend(result)
            del pending[name]
            if not pending and not over.called:
                over.callback(told)

        for name, node in list(pending.items()):
            asked = self.world.request(self.node, name, lambda node=node: node.ledger.announcements(stream))
            asked.addErrback(lambda _: ()).addCallback(answered, name)
        return over

    def warn(self, stream: str, node: str, epoch: int) -> None:
        if node in self.world.ingests:
            self.world.carry(self.node, node, lambda: self.world.ingests[node].broadcasts.warn(stream, epoch))


@define(eq=False)
class FakeCache:
    """Fetches what an ingest has shown, if it can be reached."""

    origin: Origin

    def warm(self, stream: str, rendition: str, info: ObjectInfo) -> Deferred[None]:
        world = self.origin.world
        if "init" in info.name:
            return succeed(None)
        told = world.shown.get(info.name)
        if told is None:
            return fail(NotNow("nobody has it"))
        return world.request(self.origin.name, told.node, lambda: None).addCallback(self._have, info)

    def _have(self, _: None, info: ObjectInfo) -> None:
        world = self.origin.world
        world.held.setdefault(info.name, world.now)


@define(eq=False)
class Origin:
    world: World
    name: str
    bus: SimBus = field(init=False)
    ledger: Ledger = field(init=False)
    catalogue: Catalogue = field(init=False)
    collector: Collector = field(init=False)

    def __attrs_post_init__(self) -> None:
        world = self.world
        self.bus = SimBus(world, self.name)
        self.ledger = Ledger(self.bus, Tier.ORIGIN, 6, self.name)
        above = Above(world, self.name, lambda: world.ingests)
        self.catalogue = Catalogue(self.bus, Tier.INGEST, above, 6, world.clock, METRICS)
        cache: Any = FakeCache(self)
        self.collector = Collector(cache, self.ledger.announce, self.ledger.forget, world.clock)
        self.catalogue.subscribe(self.collector.heard)
        self.catalogue.start()

    def take(self, stream: str, epoch: int) -> StreamPosition | int | None:
        try:
            return self.catalogue.promise(stream, epoch)
        except Superseded as error:
            return error.epoch
        except NotNow:
            return None

    def stop(self) -> None:
        self.world.redis.hearers.remove(self.bus)
        self.collector.stop()
        self.catalogue.stop()


@define(eq=False)
class Edge:
    """An edge, and a viewer who reads its playlist all the time."""

    world: World
    name: str
    catalogue: Catalogue = field(init=False)
    current: dict[int, tuple[str, int, int]] = field(factory=dict)
    ever: dict[int, tuple[str, int, int]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        above = Above(self.world, self.name, lambda: self.world.origins)
        bus = SimBus(self.world, self.name)
        self.catalogue = Catalogue(bus, Tier.ORIGIN, above, 6, self.world.clock, METRICS)
        self.catalogue.start()

    def look(self) -> None:
        window: Window | None = self.catalogue.window("show")
        listed = () if window is None else window.listed("source")
        current = {
            each.msn: (each.media.name if each.media else "", each.starts_at_ms, each.discontinuity) for each in listed
        }
        if not current:
            return
        before = self.current
        for msn, segment in current.items():
            if self.world.segments.setdefault(msn, segment) != segment:
                self._trouble("two edges differ", msn, segment, self.world.segments[msn])
            if self.ever.setdefault(msn, segment) != segment:
                self._trouble("a listed number changed", msn, segment, self.ever[msn])
        if before and (min(current) < min(before) or max(current) < max(before)):
            self._trouble("numbers went back", (min(before), max(before)), (min(current), max(current)))
        self.current = current

    def _trouble(self, kind: str, *what: object) -> None:
        self.world.troubles[kind] += 1
        self.world.say(kind, self.name, *what)


@define(eq=False)
class Publisher:
    """An encoder with a key frame a second, at one ingest."""

    world: World
    ingest: str
    is_here: bool = True
    tries: int = 2
    _broadcast: Any = None
    _time_ms: int = 0

    def come(self) -> None:
        ingest = self.world.ingests[self.ingest]
        if not self.is_here or self.world.dead.get(self.ingest, ENDS_S * 2) <= self.world.now:
            return
        self.world.say("publisher comes to", self.ingest)
        if ingest.publisher is not None:
            ingest.publisher.is_here = False
        ingest.publisher = self
        self._broadcast = ingest.broadcasts.enter("show")
        self._media(avc_config(RECORD, 0))
        self._send()

    def leave(self, stays: bool) -> None:
        """Go; the ingest may notice late, or the encoder may stay on."""
        if stays or not self.is_here:
            return
        self.is_here = False
        if self._broadcast is not None:
            lag_s = self.world.random.choice((0.0, 0.0, 0.25, 0.75, 2.0, 4.0))
            self.world.clock.callLater(lag_s, self._left)

    def cut_off(self) -> None:
        """The ingest ends the connection; one who stays tries again, and is refused when two fight for long."""
        was_here, self.is_here = self.is_here, False
        if was_here and self.world.stays and self.tries:
            again = Publisher(self.world, self.ingest, tries=self.tries - 1)
            self.world.clock.callLater(self.world.random.choice((0.25, 1.0, 2.0)), again.come)

    def _left(self) -> None:
        ingest = self.world.ingests[self.ingest]
        if ingest.publisher is self:
            ingest.publisher = None
            self._broadcast.left("closed")

    def _send(self) -> None:
        if not self.is_here or self.world.dead.get(self.ingest, ENDS_S * 2) <= self.world.now:
            return
        for frame in pictures(self._time_ms, self._time_ms + 500, range(0, self._time_ms + 500, 1000), 250):
            self._media(frame)
        self._time_ms += 500
        self.world.clock.callLater(0.5, self._send)

    def _media(self, frame: Any) -> None:
        self._broadcast.media(9, frame.dts_ms, frame.body)
