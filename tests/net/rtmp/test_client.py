"""One play of a stream from the tier above: its receiver is told once of its end, and never after it was closed."""

from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from livestream.net.rtmp.client import REPORT_S, SILENT_S, RtmpLink, RtmpUpstream
from livestream.rtmp.amf0 import encode
from livestream.rtmp.chunks import Message, split
from livestream.rtmp.events import PlayRequested
from livestream.rtmp.server import ServerSession
from livestream.signing import Credentials, sign
from tests.observer import Observer
from tests.rtmp.reading import read_events


@define(eq=False)
class Receiver:
    told: list[Any] = field(factory=list)

    def started(self) -> None:
        self.told.append("started")

    def heard(self) -> None: ...

    def media(self, type_id: int, timestamp_ms: int, body: bytes) -> None:
        self.told.append(body)

    def data(self, timestamp_ms: int, name: str, values: list[object]) -> None:
        self.told.append(name)

    def over(self) -> None:
        self.told.append("over")

    def lost(self, reason: str) -> None:
        self.told.append(f"lost: {reason}")

    @property
    def losses(self) -> list[str]:
        return [told for told in self.told if str(told).startswith("lost")]


class Transport(StringTransport):
    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


@define(eq=False)
class Above:
    """A node of the tier above, as an endpoint; what it says is the test's."""

    clock: Clock = field(factory=Clock)
    refuses: bool = False
    is_slow: bool = False
    transport: Transport = field(factory=Transport)
    server: ServerSession = field(factory=lambda: ServerSession(b"server"))
    events: list[object] = field(factory=list)
    protocol: Any = None
    connecting: Deferred[Any] | None = None
    observer: Observer = field(factory=Observer)
    secret: str = ""

    @property
    def upstream(self) -> RtmpUpstream:
        endpoint: Any = self
        credentials = Credentials("edge-1", self.secret, self.clock.seconds)
        return RtmpUpstream("rtmp://above:1935", endpoint, self.clock, self.observer, credentials)

    @property
    def answers(self) -> list[bool]:
        """Whether it answered, as it was reported."""
        assert {url for url, _ in self.observer.told} <= {"rtmp://above:1935"}
        return [has_answered for _, has_answered in self.observer.told]

    def connect(self, factory: Factory) -> Deferred[Any]:
        if self.refuses:
            return fail(ConnectionRefusedError())
        self.connecting = Deferred()
        self.protocol = factory.buildProtocol(None)
        if not self.is_slow:
            self.be_connected()
        return self.connecting

    def be_connected(self) -> None:
        assert self.connecting is not None
        self.protocol.makeConnection(self.transport)
        self.connecting.callback(self.protocol)

    def play(self, receiver: Receiver) -> RtmpLink:
        link = self.upstream.play("show", "480p", receiver)
        assert receiver.told == []
        self.clock.advance(0)
        return link

    def run(self) -> None:
        """Let both sides say what they have to."""
        down = self.server.data_to_send()
        while down or self.transport.value():
            if down:
                self.protocol.dataReceived(down)
            up = self.transport.value()
            self.transport.clear()
            for event in read_events(self.server, up):
                self.events.append(event)
                if isinstance(event, PlayRequested):
                    self.server.accept_play(4096)
            down = self.server.data_to_send()

    def say(self, type_id: int, body: bytes) -> None:
        self.protocol.dataReceived(b"".join(split(Message(type_id, 1, 40, body), 6, 4096)))


@pytest.fixture
def above() -> Above:
    return Above()


@pytest.fixture
def receiver() -> Receiver:
    return Receiver()


def test_with_a_secret_a_play_says_which_node_asks(receiver: Receiver) -> None:
    above = Above(secret="the secret of these tests")
    above.play(receiver)
    above.run()
    signature = sign("edge-1", above.secret, above.clock.seconds())
    assert above.events == [PlayRequested(1, "live", "show", {"rendition": "480p", "relay": signature})]


def test_a_stream_is_played_and_its_end_is_told(above: Above, receiver: Receiver) -> None:
    above.play(receiver)
    above.run()
    assert above.events == [PlayRequested(1, "live", "show", {"rendition": "480p", "relay": "1"})]
    above.say(9, b"picture")
    above.say(18, encode("onMetaData", {}))
    above.server.end_play()
    above.run()
    assert receiver.told == ["started", "|RtmpSampleAccess", b"picture", "onMetaData", "over"]


def test_a_node_that_does_not_listen_is_a_loss(receiver: Receiver) -> None:
    Above(refuses=True).play(receiver)
    assert len(receiver.losses) == 1


@pytest.mark.parametrize("data", [b"HTTP/1.1 400", b"\x03" + bytes(2 * 1536) + b"\xff" * 20], ids=["HTTP", "garbage"])
def test_a_node_that_talks_nonsense_is_left_and_lost_once(above: Above, receiver: Receiver, data: bytes) -> None:
    above.play(receiver)
    above.protocol.dataReceived(data)
    assert above.transport.aborted
    above.protocol.connectionLost(Failure(ConnectionDone()))
    assert len(receiver.losses) == 1


def test_a_refusal_is_a_loss_with_its_words_and_the_connection_is_not_kept(above: Above, receiver: Receiver) -> None:
    above.play(receiver)
    above.run()
    above.server.refuse("NetStream.Play.StreamNotFound", "no such stream")
    above.run()
    assert receiver.losses == ["lost: no such stream"]
    assert above.transport.aborted or above.transport.disconnecting
    above.protocol.connectionLost(Failure(ConnectionDone()))
    assert len(receiver.losses) == 1


def test_after_it_is_closed_nothing_is_told(above: Above, receiver: Receiver) -> None:
    link = above.play(receiver)
    above.run()
    told = list(receiver.told)
    link.close()
    link.close()
    above.say(9, b"picture")
    above.protocol.connectionLost(Failure(ConnectionDone()))
    assert above.transport.aborted and receiver.told == told


def test_one_that_is_closed_while_it_connects_leaves_no_connection(receiver: Receiver) -> None:
    above = Above(is_slow=True)
    link = above.play(receiver)
    link.close()
    assert above.connecting is not None and above.connecting.called
    assert receiver.told == []


def test_one_that_is_closed_at_once_does_not_connect(above: Above, receiver: Receiver) -> None:
    link = above.upstream.play("show", "480p", receiver)
    link.close()
    above.clock.advance(0)
    assert above.protocol is None and receiver.told == []


def test_a_receiver_that_closes_from_within_a_picture_gets_no_more(above: Above) -> None:
    class Closing(Receiver):
        def media(self, type_id: int, timestamp_ms: int, body: bytes) -> None:
            self.told.append(body)
            link.close()

    receiver = Closing()
    link = above.play(receiver)
    above.run()
    picture = b"".join(split(Message(9, 1, 40, b"p"), 6, 4096))
    above.protocol.dataReceived(picture * 3)
    assert receiver.told.count(b"p") == 1


def test_a_question_is_answered_by_a_sign_of_life(above: Above, receiver: Receiver) -> None:
    link = above.play(receiver)
    above.run()
    link.ask()
    assert b"\x00\x06" in above.transport.value()


def test_a_node_that_plays_answers_and_that_is_said_once_a_second(above: Above, receiver: Receiver) -> None:
    above.play(receiver)
    above.run()
    for _ in range(10):
        above.clock.advance(REPORT_S / 4)
        above.say(9, b"picture")
    assert above.answers == [True] * 3


def test_a_node_that_does_not_have_the_stream_has_answered(above: Above, receiver: Receiver) -> None:
    above.play(receiver)
    above.run()
    above.observer.told.clear()
    above.clock.advance(REPORT_S)
    above.server.refuse("NetStream.Play.StreamNotFound", "no such stream")
    above.run()
    assert above.answers == [True]


def test_a_node_that_cannot_be_reached_has_not_answered(receiver: Receiver) -> None:
    above = Above(refuses=True)
    above.play(receiver)
    assert above.answers == [False]


@pytest.mark.parametrize("is_slow", [True, False], ids=["no connection", "no word"])
def test_a_node_that_says_nothing_has_not_answered(receiver: Receiver, is_slow: bool) -> None:
    above = Above(is_slow=is_slow)
    link = above.play(receiver)
    above.clock.advance(SILENT_S)
    link.close()
    link.close()
    assert above.answers == [False]


def test_a_node_that_has_fallen_silent_does_not_answer(above: Above, receiver: Receiver) -> None:
    link = above.play(receiver)
    above.run()
    above.clock.advance(SILENT_S)
    link.close()
    assert above.answers == [True, False]


def test_nothing_is_said_of_a_node_whose_stream_nobody_wants_any_more(above: Above, receiver: Receiver) -> None:
    above.is_slow = True
    link = above.play(receiver)
    above.clock.advance(SILENT_S - 0.1)
    link.close()
    above.upstream.play("show", "480p", receiver).close()
    above.clock.advance(SILENT_S)
    assert above.answers == []
