"""RTMP connections on a transport that the test holds: deadlines, refusals, and whose fault ends whose connection."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

import pytest
from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.tcp import Server
from twisted.internet.testing import StringTransport
from twisted.logger import formatEvent
from twisted.python.failure import Failure

from livestream.metrics import Metrics
from livestream.model.admission import Reason, Refusal
from livestream.net.rtmp.connection import READ_BYTES, RtmpConnection
from livestream.net.rtmp.limits import RtmpLimits
from livestream.net.rtmp.requests import RtmpRequest
from livestream.net.rtmp.server import MANY_PUBLISHERS, REST_S, UNWATCHED_REST_S, RtmpServerFactory
from livestream.rtmp.chunks import Message, split
from livestream.rtmp.client import ClientSession
from livestream.rtmp.events import PeerRefused, Started
from tests.logged_failures import LoggedFailures
from tests.logs import observed
from tests.net.loop import Loop


@define(eq=False)
class Sink:
    """Takes a publisher's messages, or fails at them; a player's as well."""

    fails: bool = False
    got: list[tuple[int, int, bytes]] = field(factory=list)
    ends: list[str] = field(factory=list)
    spoken: int = 0
    costs: int = 0
    awaiting: list[Callable[[], None]] = field(factory=list)

    def media(self, type_id: int, timestamp_ms: int, body: bytes) -> int:
        if self.fails:
            raise RuntimeError("a fault of ours")
        self.got.append((type_id, timestamp_ms, body))
        return self.costs

    def data(self, timestamp_ms: int, name: str, values: object) -> None:
        pass

    def paused(self, paused: bool) -> None:
        pass

    def wrote(self) -> None:
        self.spoken += 1

    def at_key_frame(self, action: Callable[[], None]) -> None:
        self.awaiting.append(action)

    def lost(self, reason: str, *, is_over: bool = False) -> None:
        self.ends.append(reason)


@define(eq=False)
class Door:
    sink: Sink = field(factory=Sink)
    refusal: Refusal | None = None
    hesitates: Deferred[None] | None = None
    asked: list[object] = field(factory=list)
    audience: int = 0

    async def publish(self, request: RtmpRequest, connection: RtmpConnection) -> Sink:
        self.asked.append(request)
        if self.hesitates is not None:
            await self.hesitates
        if self.refusal:
            raise self.refusal
        return self.sink

    def play(self, request: RtmpRequest, connection: RtmpConnection) -> Sink:
        self.asked.append(request)
        if self.refusal:
            raise self.refusal
        connection.accept_play(4096)
        return self.sink


@define(eq=False)
class Scene:
    """A port, and clients that are wired to it without a network."""

    door: Door = field(factory=Door)
    limits: RtmpLimits = field(factory=RtmpLimits)
    clock: Clock = field(factory=Clock)
    metrics: Metrics = field(factory=Metrics)
    factory: RtmpServerFactory = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.factory = RtmpServerFactory(self.door, self.door, self.limits, self.clock, self.metrics)

    def connect(self) -> Peer:
        connection = self.factory.buildProtocol(IPv4Address("TCP", "192.0.2.1", 5000))
        assert isinstance(connection, RtmpConnection)
        peer = Peer(connection)
        connection.makeConnection(peer.transport)
        return peer


class Transport(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


@define(eq=False)
class Peer:
    connection: RtmpConnection
    transport: Transport = field(factory=Transport)
    client: ClientSession | None = None
    told: list[object] = field(factory=list)

    def speak(self, *, publishes: bool) -> None:
        self.client = ClientSession(b"c", "live", "rtmp://x/live", "show?key=k", publishes)
        self.run()

    def run(self) -> None:
        while self.step():
            pass

    def step(self) -> bool:
        """Have what was said on either side heard on the other; return whether there was anything."""
        assert self.client is not None
        up, down = self.client.data_to_send(), self.transport.value()
        self.transport.clear()
        self.told += self.client.receive_data(down)
        self.connection.dataReceived(up)
        return bool(up or down)

    @property
    def is_closing(self) -> bool:
        return bool(self.transport.disconnecting)


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_publisher_is_let_in_and_its_media_reaches_the_sink(scene: Scene) -> None:
    peer = scene.connect()
    peer.speak(publishes=True)
    assert scene.door.asked == [RtmpRequest("live", "show", {"key": "k"}, "192.0.2.1")]
    assert peer.told == [Started()]
    peer.client.send_media(8, 20, b"sound")
    peer.run()
    assert scene.door.sink.got == [(8, 20, b"sound")]


def test_a_refusal_is_said_and_the_connection_closed_within_a_second(scene: Scene) -> None:
    scene.door.refusal = Refusal(Reason.IN_USE, "somebody else publishes show")
    peer = scene.connect()
    peer.speak(publishes=True)
    assert PeerRefused("NetStream.Publish.BadName", "somebody else publishes show") in peer.told
    assert peer.is_closing
    scene.clock.advance(1)
    assert peer.transport.aborted


def test_a_publisher_is_warned_and_continues(scene: Scene) -> None:
    peer = scene.connect()
    peer.connection.warn("nobody publishes yet")
    peer.speak(publishes=True)
    peer.connection.warn("audio: it has no sequence header")
    sent = peer.transport.value()
    for words in (b"onStatus", b"warning", b"NetStream.Publish.Warning", b"audio: it has no sequence header"):
        assert words in sent
    assert b"nobody" not in sent
    assert peer.client is not None
    peer.client.send_media(8, 20, b"sound")
    peer.run()
    assert peer.told == [Started()] and not peer.is_closing
    assert scene.door.sink.got == [(8, 20, b"sound")]
    peer.connection.connectionLost(Failure(ConnectionDone()))
    peer.connection.warn("it has gone")


def connected(scene: Scene) -> Peer:
    peer = scene.connect()
    peer.client = ClientSession(b"c", "live", "rtmp://x/live", "show?key=k", publishes=True)
    while not scene.door.asked:
        peer.step()
    return peer


@pytest.mark.parametrize(("publishes", "lines"), [(True, 1), (False, 0)], ids=["publisher", "player"])
def test_a_publisher_who_is_refused_is_logged_and_a_player_is_not(scene: Scene, publishes: bool, lines: int) -> None:
    scene.door.refusal = Refusal(Reason.NOT_ALLOWED, "not here")
    logged: list[str] = []

    def note(event: dict[str, object]) -> None:
        logged.append(str(formatEvent(event)))

    with observed(note):
        peer = scene.connect()
        peer.speak(publishes=publishes)
        peer.connection.connectionLost(Failure(ConnectionDone()))
    assert logged == ["192.0.2.1: RTMP connection closed: refused: not here"] * lines


def test_nothing_is_read_of_a_publisher_who_is_not_let_in_yet_and_nothing_lost(scene: Scene) -> None:
    scene.door.hesitates = Deferred()
    peer = connected(scene)
    assert peer.transport.producerState == "paused"
    peer.connection.dataReceived(b"".join(split(Message(8, 1, 20, b"sound"), 4, 65_536)))
    assert scene.door.sink.got == []
    scene.door.hesitates.callback(None)
    assert scene.door.sink.got == [(8, 20, b"sound")] and peer.transport.producerState == "producing"
    peer.run()
    assert peer.told == [Started()]


def test_a_publisher_who_is_refused_later_is_told_why(scene: Scene) -> None:
    scene.door.hesitates, scene.door.refusal = Deferred(), Refusal(Reason.IN_USE, "somebody else")
    peer = connected(scene)
    scene.door.hesitates.callback(None)
    peer.run()
    assert PeerRefused("NetStream.Publish.BadName", "somebody else") in peer.told and peer.is_closing


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_publisher_who_goes_before_it_is_let_in_is_not_waited_for(scene: Scene, is_closed: bool) -> None:
    scene.door.hesitates = Deferred()
    peer = connected(scene)
    if is_closed:
        peer.connection.close("enough")
    else:
        peer.connection.connectionLost(Failure(ConnectionDone()))
    assert scene.door.hesitates.called and scene.door.sink.ends == []


@pytest.mark.parametrize("hello", [b"", b"\x03" + bytes(1000)])
def test_a_handshake_has_five_seconds_whatever_trickles_in(scene: Scene, hello: bytes) -> None:
    peer = scene.connect()
    peer.connection.dataReceived(hello)
    scene.clock.advance(4.9)
    peer.connection.dataReceived(b"\x00" if hello else b"")
    assert not peer.is_closing
    scene.clock.advance(0.2)
    assert peer.is_closing


def test_who_asks_for_nothing_in_ten_seconds_is_closed(scene: Scene) -> None:
    peer = scene.connect()
    peer.connection.dataReceived(b"\x03" + bytes(2 * 1536))
    scene.clock.advance(9.9)
    peer.connection.dataReceived(b"\x03")
    assert not peer.is_closing
    scene.clock.advance(0.2)
    assert peer.is_closing


def test_a_silent_publisher_is_closed_and_its_sink_told_once(scene: Scene) -> None:
    peer = scene.connect()
    peer.speak(publishes=True)
    scene.clock.pump([scene.limits.silence_s] * 2)
    assert peer.is_closing
    peer.connection.connectionLost()
    assert len(scene.door.sink.ends) == 1


def test_a_publisher_who_sends_is_not_closed(scene: Scene) -> None:
    peer = scene.connect()
    peer.speak(publishes=True)
    for time_ms in range(0, 60_000, 5_000):
        peer.client.send_media(8, time_ms, b"sound")
        peer.run()
        scene.clock.advance(5)
    assert not peer.is_closing


def test_a_sink_that_fails_ends_its_own_connection_alone(scene: Scene, logged_failures: LoggedFailures) -> None:
    scene.door.sink.fails = True
    broken, other = scene.connect(), scene.connect()
    broken.speak(publishes=True)
    scene.door.sink = Sink()
    other.speak(publishes=True)
    broken.client.send_media(8, 0, b"s")
    broken.run()
    assert broken.is_closing and not other.is_closing
    logged_failures.take(RuntimeError)


def test_http_on_the_port_is_closed_at_once(scene: Scene) -> None:
    peer = scene.connect()
    peer.connection.dataReceived(b"GET / HTTP/1.1\r\n\r\n")
    assert peer.is_closing
    assert peer.transport.value() == b""


def test_a_player_is_sent_a_ping_now_and_then_and_whoever_serves_it_is_told(scene: Scene) -> None:
    peer = scene.connect()
    peer.speak(publishes=False)
    peer.transport.clear()
    told = scene.door.sink.spoken
    scene.clock.advance(scene.limits.ping_s)
    assert b"\x04" in peer.transport.value()
    assert scene.door.sink.spoken == told + 1


def test_nothing_is_left_on_the_clock_when_connections_are_gone(scene: Scene) -> None:
    for publishes in (True, False):
        peer = scene.connect()
        peer.speak(publishes=publishes)
        peer.connection.connectionLost()
    assert scene.clock.getDelayedCalls() == []


HELLO = b"\x03" * 100
"""The beginning of a handshake."""


@define(eq=False)
class Line:
    """A connection on real sockets, to a port whose poller a loop of the test drives."""

    scene: Scene
    connect: Callable[[], tuple[socket.socket, socket.socket]] = socket.socketpair
    near: socket.socket = field(init=False)
    far: socket.socket = field(init=False)
    connection: RtmpConnection = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.near, self.far = self.connect()
        self.far.setblocking(False)
        connection = self.scene.factory.buildProtocol(IPv4Address("TCP", "192.0.2.2", 5000))
        assert isinstance(connection, RtmpConnection)
        self.connection = connection
        connection.makeConnection(Server(self.near, connection, ("192.0.2.2", 5000), None, 1, self.loop))

    @property
    def loop(self) -> Loop:
        assert isinstance(self.scene.clock, Loop)
        return self.scene.clock

    def publish(self) -> None:
        client = ClientSession(b"c", "live", "rtmp://x/live", "show?key=k", True)
        deadline = time.monotonic() + 10
        while Started() not in list(client.receive_data(self._heard())):
            assert time.monotonic() < deadline, "not accepted in time"
            self.far.send(client.data_to_send())
            if not self.loop.readers:
                self.loop.advance(UNWATCHED_REST_S)
            self.loop.turn()

    def _heard(self) -> bytes:
        try:
            heard = self.far.recv(1 << 16)
        except BlockingIOError:
            return b""
        assert heard, "closed"
        return heard

    def rest_s(self, data: bytes = bytes(100)) -> float:
        """How long the port rests after this has sent something."""
        loop = self.loop
        loop.advance(UNWATCHED_REST_S)
        self.far.send(data)
        loop.turn()
        if loop.readers:
            return 0.0
        return round(min(call.getTime() for call in loop.getDelayedCalls()) - loop.seconds(), 4)

    def close(self) -> None:
        self.near.close()
        self.far.close()


@pytest.mark.parametrize(("publishers", "rest_s"), [(MANY_PUBLISHERS - 1, 0.0), (MANY_PUBLISHERS, REST_S)])
def test_a_port_rests_between_reads_only_while_many_publish(publishers: int, rest_s: float) -> None:
    scene = Scene(clock=Loop())
    peers = [scene.connect() for _ in range(publishers)]
    for peer in peers:
        peer.speak(publishes=True)
    line = Line(scene)
    assert line.rest_s(HELLO) == rest_s
    peers[0].connection.connectionLost()
    assert line.rest_s(HELLO) == 0.0
    line.close()


def test_a_port_rests_longer_while_nobody_watches_and_nobody_is_at_the_door() -> None:
    scene = Scene(clock=Loop())
    for _ in range(MANY_PUBLISHERS - 1):
        scene.connect().speak(publishes=True)
    line = Line(scene)
    line.publish()
    assert line.rest_s() == UNWATCHED_REST_S
    scene.door.audience = 1
    assert line.rest_s() == REST_S
    scene.door.audience = 0
    newcomer = scene.connect()
    assert line.rest_s() == REST_S
    newcomer.connection.connectionLost()
    assert line.rest_s() == UNWATCHED_REST_S
    line.close()


def over_tcp() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        far = socket.create_connection(listener.getsockname())
        near, _ = listener.accept()
    return near, far


def test_a_publishers_media_is_acknowledged_at_once_whatever_we_have_said() -> None:
    scene = Scene(clock=Loop())
    line = Line(scene, over_tcp)
    line.publish()
    line.far.send(bytes(100))
    deadline = time.monotonic() + 5
    while not line.loop.turn() and time.monotonic() < deadline:
        pass
    assert line.near.getsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK)
    line.close()


def test_little_is_read_at_once_of_whoever_has_not_been_let_in() -> None:
    line = Line(Scene(clock=Loop()))
    transport = line.connection.transport
    assert transport.bufferSize == 65536
    line.publish()
    assert transport.bufferSize == READ_BYTES
    line.close()
