"""The nodes of a world: the real parts of each, with a bus and HTTP that the world carries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed

from livestream.bus.announcements import decode_document
from livestream.bus.interface import TemporarilyUnavailable, Tier
from livestream.bus.known_streams import KnownStreams
from livestream.bus.published import PublishedStreams
from livestream.cache.prefetch import OriginReplicator
from livestream.ingest.broadcasts import Broadcasts, WriterServices
from livestream.ingest.claims import Claims, Survey, farthest
from livestream.ingest.services import AudioConversion, BroadcastSettings, RungSink, Transcode
from livestream.media.flv import avc_config
from livestream.media.slate import Slate, SlateShape
from livestream.metrics import Metrics
from livestream.model.segments import Announcement, ObjectInfo, SegmentAnnounced, StreamPosition, Superseded
from livestream.packaging.window import Window
from livestream.roles.other_ingests import giving_way
from tests.histories.redis import REDIS, SimBus
from tests.packaging.broadcasts import RECORD, pictures

if TYPE_CHECKING:
    from .world import World

LENGTH = 6
METRICS = Metrics()
INGESTS, ORIGINS, EDGES = ("A", "B"), ("O1", "O2"), ("E1", "E2")
NEVER_S = 1e9


@define(eq=False)
class FakeFeed:
    """Nobody watches live."""

    def add(self, frame: Any) -> None: ...


@define(eq=False)
class Ingest:
    """An ingest; its clock is wrong by so many seconds."""

    world: World
    name: str
    ahead_s: float
    bus: SimBus = field(init=False)
    published: PublishedStreams = field(init=False)
    known_streams: KnownStreams = field(init=False)
    broadcasts: Broadcasts = field(init=False)
    publisher: Publisher | None = None

    def __attrs_post_init__(self) -> None:
        world, clock = self.world, self.world.clock
        self.bus = SimBus(world, self.name)
        self.published = PublishedStreams(self.bus, Tier.INGEST, 6, self.name)
        self.published.subscribe(self._shown)
        self.known_streams = KnownStreams(self.bus, Tier.INGEST, None, LENGTH, clock, METRICS)
        claims = Claims(self.name, self.bus.claim, Others(self), self.position, ord(self.name), clock, self.seconds)
        writer_services = WriterServices(
            self.name,
            claims,
            self.bus.accept,
            self.bus.release,
            self.published.record,
            lambda: self.bus.is_healthy,
            lambda _: None,
        )
        settings = BroadcastSettings(3, 3.0, 10.0, ())
        self.broadcasts = Broadcasts(
            settings, self, writer_services, self.published.remove, lambda _: None, clock, self.seconds, METRICS
        )
        self.known_streams.subscribe(giving_way(self.name, self.broadcasts.give_up, lambda *_: self._displace()))
        self.known_streams.start()

    def seconds(self) -> float:
        return self.world.clock.seconds() + self.ahead_s

    def position(self, stream: str) -> StreamPosition:
        return farthest([self.published.position(stream), self.known_streams.position(stream)])

    def _shown(self, stream: str, announcement: Announcement | None) -> None:
        if isinstance(announcement, SegmentAnnounced) and announcement.segment.media is not None:
            self.world.shown.setdefault(announcement.segment.media.name, announcement)
            self.world.shown_at.setdefault(announcement.segment.media.name, self.world.now)
            self.world.say(self.name, "shows", announcement.segment.media.name)

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
    def store(self) -> Ingest:
        return self

    def put(self, stream: str, rendition: str, info: ObjectInfo, data: bytes) -> None: ...
    def open_feed(self, stream: str, rendition: str, number: int) -> FakeFeed:
        return FakeFeed()

    def end_feed(self, feed: object) -> None: ...
    def cut_feed(self, feed: object) -> None: ...
    def audio_conversion(self, stream: str, converted: object, given_up: object) -> AudioConversion:
        raise AssertionError

    def slate(self, shape: SlateShape) -> Slate | None:
        return None

    def rungs(self, height: int) -> Sequence[str]:
        return ()

    def transcoder(self, stream: str, rungs: Sequence[str], source_height: int, sink: RungSink) -> Transcode:
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
    _tokens: dict[str, str] = field(factory=dict)

    @property
    def has_cut_off_nodes(self) -> bool:
        return not all(self.world.reaches(REDIS, name) for name in self.nodes())

    def every_stream(self) -> Deferred[Sequence[Announcement]]:
        """What is new at those who answer, as each writes it."""
        tokens = self._tokens

        def commit(answers: Mapping[str, tuple[bytes, str]]) -> Sequence[Announcement]:
            tokens.update({name: token for name, (_, token) in answers.items()})
            return [told for text, _ in answers.values() for told in decode_document(text)]

        return self._ask(lambda name, node: node.published.since(tokens.get(name, ""))).addCallback(commit)

    def start_over(self) -> None:
        self._tokens = {}

    def one_stream(self, stream: str) -> Deferred[Sequence[Announcement]]:
        asked = self._ask(lambda _, node: node.published.announcements(stream))
        return asked.addCallback(lambda answers: [told for answer in answers.values() for told in answer])

    def _ask(self, question: Callable[[str, Any], Any]) -> Deferred[dict[str, Any]]:
        """What those who answer say; it takes as long as the slowest."""
        answers: dict[str, Any] = {}
        pending = dict(self.nodes())
        over: Deferred[dict[str, Any]] = Deferred()

        def answered(result: Any, name: str) -> None:
            answers[name] = result
            over_with(None, name)

        def over_with(_: object, name: str) -> None:
            del pending[name]
            if not pending and not over.called:
                over.callback(answers)

        for name, node in list(pending.items()):
            asked = self.world.request(self.node, name, partial(question, name, node))
            asked.addCallbacks(answered, over_with, callbackArgs=(name,), errbackArgs=(name,))
        return over

    def warn(self, stream: str, node: str, epoch: int) -> None:
        if node in self.world.ingests:
            self.world.carry(self.node, node, lambda: self.world.ingests[node].broadcasts.suspend(stream, epoch))


@define(eq=False)
class FakeCache:
    """Fetches what an ingest has shown, if it can be reached."""

    origin: Origin

    def prefetch(self, stream: str, rendition: str, info: ObjectInfo) -> Deferred[None]:
        world = self.origin.world
        if "init" in info.name:
            return succeed(None)
        told = world.shown.get(info.name)
        if told is None:
            return fail(TemporarilyUnavailable("nobody has it"))
        return world.request(self.origin.name, told.node, lambda: None).addCallback(self._have, info)

    def _have(self, _: None, info: ObjectInfo) -> None:
        world = self.origin.world
        world.held.setdefault(info.name, world.now)


@define(eq=False)
class Origin:
    world: World
    name: str
    bus: SimBus = field(init=False)
    published: PublishedStreams = field(init=False)
    known_streams: KnownStreams = field(init=False)
    replicator: OriginReplicator = field(init=False)

    def __attrs_post_init__(self) -> None:
        world = self.world
        self.bus = SimBus(world, self.name)
        self.published = PublishedStreams(self.bus, Tier.ORIGIN, 6, self.name)
        above = Above(world, self.name, lambda: world.ingests)
        self.known_streams = KnownStreams(self.bus, Tier.INGEST, above, LENGTH, world.clock, METRICS)
        cache: Any = FakeCache(self)
        self.replicator = OriginReplicator(cache, LENGTH, self.published.announce, self.published.remove, world.clock)
        self.known_streams.subscribe(self.replicator.on_announcement)
        self.known_streams.start()

    def take(self, stream: str, epoch: int) -> StreamPosition | int | None:
        try:
            return self.known_streams.promise(stream, epoch)
        except Superseded as error:
            return error.epoch
        except TemporarilyUnavailable:
            return None

    def stop(self) -> None:
        self.world.redis.hearers.remove(self.bus)
        self.replicator.stop()
        self.known_streams.stop()


@define(eq=False)
class Edge:
    """An edge, and a viewer who reads its playlist all the time."""

    world: World
    name: str
    known_streams: KnownStreams = field(init=False)
    current: dict[int, tuple[str, int, int]] = field(factory=dict)
    ever: dict[int, tuple[str, int, int]] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        above = Above(self.world, self.name, lambda: self.world.origins)
        bus = SimBus(self.world, self.name)
        self.known_streams = KnownStreams(bus, Tier.ORIGIN, above, LENGTH, self.world.clock, METRICS)
        self.known_streams.start()

    def look(self) -> None:
        window: Window | None = self.known_streams.window("show")
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
        if not self.is_here or self.world.dead.get(self.ingest, NEVER_S) <= self.world.now:
            return
        self.world.say("publisher comes to", self.ingest)
        if ingest.publisher is not None:
            ingest.publisher.is_here = False
        ingest.publisher = self
        self._broadcast = ingest.broadcasts.resume_or_start("show")
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
        if not self.is_here or self.world.dead.get(self.ingest, NEVER_S) <= self.world.now:
            return
        for frame in pictures(self._time_ms, self._time_ms + 500, range(0, self._time_ms + 500, 1000), 250):
            self._media(frame)
        self._time_ms += 500
        self.world.clock.callLater(0.5, self._send)

    def _media(self, frame: Any) -> None:
        self._broadcast.media(9, frame.dts_ms, frame.body)
