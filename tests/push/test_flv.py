from __future__ import annotations

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers
from wsproto import ConnectionType, WSConnection
from wsproto.events import AcceptConnection, BytesMessage, CloseConnection, Ping, Pong, Request

from livestream.http.response import ResponseFactory
from livestream.media.flv import file_header, tag
from livestream.metrics import Metrics
from livestream.model.admission import Reason, Refusal
from livestream.push.feed import Feed, PushLimits
from livestream.push.feeds import Feeds
from livestream.push.flv import CLOSE_S, RECEIVED_BYTES, FlvPush
from livestream.push.timeline_splice import TimelineOrigin
from livestream.push.viewer_admission import ViewerAdmission
from tests.push.frames import configs, picture, sound
from tests.push.test_feed import flv_tags


@define(eq=False)
class FakeChannel:
    transport: StringTransport = field(factory=StringTransport)
    protocol: IProtocol | None = None
    host: str = "192.0.2.1"

    def take_over(self, protocol: IProtocol) -> None:
        self.protocol = protocol
        self.transport.pauseProducing()
        protocol.makeConnection(self.transport)

    def lose(self) -> None:
        assert self.protocol is not None
        self.protocol.connectionLost(Failure(ConnectionDone()))


@define(eq=False)
class FakeRequest:
    path: bytes = b"/live/show.flv"
    args: dict[bytes, list[bytes]] = field(factory=dict)
    requestHeaders: Headers = field(factory=Headers)
    channel: FakeChannel = field(factory=FakeChannel)

    def getHeader(self, name: bytes) -> Any:
        return self.requestHeaders.getRawHeaders(name, [None])[0]


@define(eq=False)
class Site:
    clock: Clock = field(factory=Clock)
    metrics: Metrics = field(factory=Metrics)
    push: FlvPush = field(init=False)
    feed: Feed = field(init=False)

    def __attrs_post_init__(self) -> None:
        feeds = Feeds(PushLimits(), self.clock, self.metrics)
        self.push = FlvPush(ViewerAdmission(feeds), ResponseFactory("edge"))
        self.feed = feeds.begin("show", "source", TimelineOrigin(1))
        for frame in [*configs(), picture(0, True)]:
            self.feed.add(frame)

    def view(self, request: FakeRequest, stream: str = "show") -> Deferred[None]:
        return self.push.view(request, stream)  # type: ignore[arg-type]

    def watching(self) -> FakeRequest:
        request = FakeRequest()
        self.view(request)
        self.clock.advance(1)
        return request

    def viewers(self, protocol: str = "flv") -> float | None:
        return self.metrics.registry.get_sample_value("livestream_viewers", {"protocol": protocol})


@pytest.fixture
def site() -> Site:
    return Site()


def refused(viewing: Deferred[None]) -> Reason:
    """Why a viewer is refused, which it is at once."""
    failures: list[Failure] = []
    viewing.addErrback(failures.append)
    [failure] = failures
    assert isinstance(failure.value, Refusal)
    return failure.value.reason


def body(data: bytes) -> bytes:
    return data.split(b"\r\n\r\n", 1)[1]


def test_a_viewer_gets_a_head_and_then_an_flv_file_that_goes_on(site: Site) -> None:
    request = site.watching()
    site.feed.add(sound(40))
    site.clock.advance(1)
    data = request.channel.transport.value()
    assert data.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: video/x-flv\r\n" in data and b"Access-Control-Allow-Origin: *\r\n" in data
    assert body(data).startswith(file_header(True, True))
    assert [(kind, time_ms) for kind, time_ms, _ in flv_tags(body(data))] == [(9, 0), (8, 0), (9, 0), (8, 40)]
    assert request.channel.transport.producerState == "producing"


def test_a_viewer_who_leaves_is_let_go_and_its_request_is_never_answered(site: Site) -> None:
    request, answered = FakeRequest(), list[object]()
    site.view(request).addBoth(answered.append)
    assert site.viewers() == 1
    request.channel.lose()
    assert site.viewers() == 0
    assert answered == []


def test_what_is_not_live_is_not_found(site: Site) -> None:
    assert refused(site.view(FakeRequest(), "other")) is Reason.NOT_LIVE
    assert refused(site.view(FakeRequest(args={b"rendition": [b"best\xff"]}))) is Reason.INVALID_NAME
    errors = {"kind": "flv", "outcome": "error"}
    assert site.metrics.registry.get_sample_value("livestream_http_requests_total", errors) == 2


def test_a_viewer_who_leaves_while_it_waits_is_let_go(site: Site) -> None:
    site.push.admission.feeds.limits = PushLimits(wait_s=60)
    failed: list[Failure] = []
    waiting = site.view(FakeRequest(), "other")
    waiting.addErrback(failed.append)
    waiting.cancel()
    site.clock.advance(10)
    assert len(site.push.admission.feeds) == 1
    assert len(failed) == 1


def test_the_end_of_the_broadcast_ends_the_file(site: Site) -> None:
    request = site.watching()
    site.push.admission.feeds.end(site.feed)
    assert request.channel.transport.disconnecting
    site.clock.advance(CLOSE_S / 2)
    request.channel.lose()
    assert site.clock.getDelayedCalls() == []


def test_one_who_does_not_take_the_end_is_cut_off(site: Site) -> None:
    request = site.watching()
    site.push.admission.feeds.end(site.feed)
    site.clock.advance(CLOSE_S)
    assert request.channel.transport.disconnected


def test_one_who_talks_without_end_is_cut_off(site: Site) -> None:
    request = site.watching()
    assert request.channel.protocol is not None
    request.channel.protocol.dataReceived(b"x" * RECEIVED_BYTES)
    assert not request.channel.transport.disconnected
    request.channel.protocol.dataReceived(b"x")
    assert request.channel.transport.disconnected


def test_a_page_that_pings_every_few_seconds_is_served_on(site: Site) -> None:
    browser = Browser()
    browser.open(site)
    browser.hear()
    for _ in range(300):
        site.clock.advance(20)
        browser.say(Ping(b"x" * 125))
        browser.request.channel.transport.clear()
    assert not browser.request.channel.transport.disconnected


# WebSocket


@define(eq=False)
class Browser:
    """A WebSocket client of another make."""

    request: FakeRequest = field(factory=FakeRequest)
    ws: WSConnection = field(factory=lambda: WSConnection(ConnectionType.CLIENT))
    events: list[object] = field(factory=list)

    def open(self, site: Site) -> None:
        head = self.ws.send(Request("host", "/live/show.flv")).split(b"\r\n")[1:-2]
        for line in head:
            name, _, value = line.partition(b": ")
            self.request.requestHeaders.addRawHeader(name, value)
        site.view(self.request)
        site.clock.advance(1)

    def say(self, event: Any) -> None:
        assert self.request.channel.protocol is not None
        self.request.channel.protocol.dataReceived(self.ws.send(event))

    def hear(self) -> None:
        data = self.request.channel.transport.value()
        self.request.channel.transport.clear()
        self.ws.receive_data(data)
        self.events += self.ws.events()

    def media(self) -> bytes:
        return b"".join(bytes(event.data) for event in self.events if isinstance(event, BytesMessage))


def test_a_page_gets_the_same_file_in_messages(site: Site) -> None:
    browser = Browser()
    browser.open(site)
    browser.hear()
    assert isinstance(browser.events[0], AcceptConnection)
    for size in (20, 200, 70_000):
        site.feed.add(sound(40, size))
        site.clock.advance(1)
    browser.hear()
    assert browser.media().startswith(file_header(True, True))
    assert browser.media().endswith(tag(8, 40, sound(40, 70_000).body))
    assert [len(one) for *_, one in flv_tags(browser.media())][-3:] == [22, 202, 70_002]
    assert site.viewers("flv-websocket") == 1


def test_a_page_that_pings_is_answered_and_one_that_closes_is_let_go(site: Site) -> None:
    browser = Browser()
    browser.open(site)
    browser.hear()
    browser.say(Ping(b"are you there"))
    browser.hear()
    assert any(isinstance(event, Pong) and event.payload == b"are you there" for event in browser.events)
    browser.say(CloseConnection(1000))
    browser.hear()
    assert isinstance(browser.events[-1], CloseConnection)
    assert browser.request.channel.transport.disconnecting
    assert site.viewers("flv-websocket") == 0


def test_the_end_of_the_broadcast_closes_the_socket_properly(site: Site) -> None:
    browser = Browser()
    browser.open(site)
    site.push.admission.feeds.end(site.feed)
    browser.hear()
    assert isinstance(browser.events[-1], CloseConnection) and browser.events[-1].code == 1000


def test_a_page_that_does_not_speak_the_protocol_is_cut_off(site: Site) -> None:
    browser = Browser()
    browser.open(site)
    assert browser.request.channel.protocol is not None
    browser.request.channel.protocol.dataReceived(b"\xff" * 50)
    browser.hear()
    assert isinstance(browser.events[-1], CloseConnection) and browser.events[-1].code == 1002
    assert browser.request.channel.transport.disconnecting


@pytest.mark.parametrize(
    "fields",
    [
        {b"Upgrade": [b"h2c"], b"Host": [b"host"], b"Connection": [b"Upgrade"]},
        {b"Upgrade": [b"websocket"], b"Host": [b"host"], b"Connection": [b"\xff"]},
        {b"Upgrade": [b"websocket"], b"Connection": [b"Upgrade"]},
    ],
    ids=["another protocol", "not ASCII", "no host"],
)
def test_an_upgrade_that_is_no_handshake_is_not_served(site: Site, fields: dict[bytes, list[bytes]]) -> None:
    assert refused(site.view(FakeRequest(requestHeaders=Headers(fields)))) is Reason.UNKNOWN_PATH


def test_viewers_of_a_node_that_is_going_are_ended_when_they_have_the_next_key_frame(site: Site) -> None:
    first, gone = site.watching(), site.watching()
    gone.channel.lose()
    site.push.disconnect_at_key_frame()
    late = site.watching()
    site.feed.add(picture(40))
    site.clock.advance(1)
    assert not first.channel.transport.disconnecting
    site.feed.add(picture(80, True))
    site.clock.advance(1)
    assert first.channel.transport.disconnecting
    assert first.channel.transport.value().endswith(tag(9, 80, picture(80, True).body))
    assert not gone.channel.transport.disconnecting
    assert not late.channel.transport.disconnecting
    assert site.push.watching == 2
    first.channel.lose()
    site.push.disconnect_all()
    assert late.channel.transport.disconnecting
    late.channel.lose()
    assert site.push.watching == 0
    assert [call for call in site.clock.getDelayedCalls() if call.func == first.channel.transport.abortConnection] == []


def test_a_page_is_told_that_the_node_goes_away(site: Site) -> None:
    browser = Browser()
    browser.open(site)
    site.push.disconnect_all()
    browser.hear()
    assert isinstance(browser.events[-1], CloseConnection) and browser.events[-1].code == 1001
