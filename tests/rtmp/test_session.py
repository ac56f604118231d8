"""The two ends of a session wired together, and a server that is told what no encoder says."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from livestream.rtmp.amf0 import encode
from livestream.rtmp.chunks import Message, split
from livestream.rtmp.client import ClientSession
from livestream.rtmp.errors import LocalProtocolError, RemoteProtocolError
from livestream.rtmp.events import (
    DataReceived,
    Paused,
    PeerRefused,
    PlayEnded,
    PlayRequested,
    PublishEnded,
    PublishRequested,
    Started,
    StreamEnded,
)
from livestream.rtmp.interleave import join_tick
from livestream.rtmp.messages import set_chunk_size, sub_messages, user_control
from livestream.rtmp.server import ServerSession
from tests.rtmp.reading import read_events


class Wired:
    """A client and a server with no network between; ``asked`` and ``told`` are their events."""

    def __init__(self, *, publishes: bool, name: str = "show?key=s3cret") -> None:
        self.server = ServerSession(b"server")
        self.client = ClientSession(b"client", "live", "rtmp://host/live", name, publishes)
        self.asked: list[object] = []
        self.told: list[object] = []
        self.run()

    def run(self) -> None:
        while True:
            up, down = self.client.data_to_send(), self.server.data_to_send()
            if not up and not down:
                return
            self.asked += read_events(self.server, up)
            self.told += self.client.receive_data(down)


def command(*values: object, stream_id: int = 0, type_id: int = 20) -> bytes:
    return b"".join(split(Message(type_id, stream_id, 0, encode(*values)), 3, 128))


def shaken() -> ServerSession:
    """A server after the handshake."""
    server = ServerSession(b"server")
    assert list(read_events(server, b"\x03" + bytes(1536))) == []
    assert len(server.data_to_send()) == 1 + 2 * 1536
    assert list(read_events(server, bytes(1536))) == []
    return server


def said(server: ServerSession, *data: bytes) -> list[object]:
    return [event for each in data for event in read_events(server, each)]


CONNECT = command("connect", 1, {"app": "live", "tcUrl": "rtmp://x/live"})
CREATE = command("createStream", 2, None)


def test_a_publisher_is_asked_for_and_its_media_comes() -> None:
    wired = Wired(publishes=True)
    assert wired.asked == [PublishRequested(1, "live", "show", {"key": "s3cret"})]
    wired.server.accept_publish()
    wired.run()
    assert wired.told == [Started()]
    wired.client.send_media(9, 40, b"\x17" + b"p" * 70_000)
    wired.client.send_media(18, 0, encode("@setDataFrame", "onMetaData", {"width": 2.0}))
    wired.run()
    assert wired.asked[1:] == [
        Message(9, 1, 40, b"\x17" + b"p" * 70_000),
        DataReceived(0, "onMetaData", [{"width": 2.0}]),
    ]


def test_a_player_gets_what_is_joined_for_everyone() -> None:
    wired = Wired(publishes=False, name="show?rendition=480p")
    assert wired.asked == [PlayRequested(1, "live", "show", {"rendition": "480p"})]
    wired.server.accept_play(4096)
    wired.run()
    media = [Message(8, 1, 20, b"sound"), Message(9, 1, 40, b"p" * 9000)]
    wired.told += wired.client.receive_data(join_tick(media, 4096))
    got = [event for event in wired.told if isinstance(event, Message)]
    assert sorted(got, key=lambda event: event.type_id) == media
    wired.server.end_play()
    wired.run()
    assert StreamEnded() in wired.told


def play(capabilities: object) -> ServerSession:
    """A server that is asked to play for a peer with these ``capsEx``."""
    server = shaken()
    connect = command("connect", 1, {"app": "live", "tcUrl": "rtmp://x/live", "capsEx": capabilities})
    said(server, connect, CREATE, command("play", 3, None, "show", stream_id=1))
    return server


THERE = {"code": 302, "redirect": "rtmp://edge-2:1937/live", "redirect2": "rtmp://edge-2:1937/live/show"}


def test_a_play_can_be_refused_with_the_place_where_it_is_to_be_had() -> None:
    server = play(None)
    server.redirect("rtmp://edge-2:1937/live", "show")
    info = {
        "level": "error",
        "code": "NetConnection.Connect.Rejected",
        "description": "play it at rtmp://edge-2:1937/live",
        "ex": THERE,
    }
    assert encode("onStatus", 0, None, info) in server.data_to_send()


def test_a_player_that_can_reconnect_is_asked_to() -> None:
    server = play(1)
    assert encode({"capsEx": 1})[1:-3] in server.data_to_send()
    server.accept_play(4096)
    server.data_to_send()
    server.request_reconnect("rtmp://edge-2:1937/live", "show")
    info = {
        "level": "status",
        "code": "NetConnection.Connect.ReconnectRequest",
        "description": "this node is draining",
        "tcUrl": "rtmp://edge-2:1937/live",
    }
    assert encode("onStatus", 0, None, info) in server.data_to_send()


@pytest.mark.parametrize("capabilities", [None, 0, 2, 1.5, float("nan"), float("inf"), "1", True, {}], ids=repr)
def test_any_other_is_told_as_at_a_new_play(capabilities: object) -> None:
    server = play(capabilities)
    assert b"capsEx" not in server.data_to_send()
    server.accept_play(4096)
    server.data_to_send()
    server.request_reconnect("rtmp://edge-2:1937/live", "show")
    assert encode("ex", THERE)[1:] in server.data_to_send()


def test_our_own_client_takes_it_for_a_refusal() -> None:
    wired = Wired(publishes=False, name="show")
    wired.server.redirect("rtmp://edge-2:1937/live", "show")
    wired.run()
    assert wired.told == [PeerRefused("NetConnection.Connect.Rejected", "play it at rtmp://edge-2:1937/live")]


def test_a_refusal_has_words() -> None:
    wired = Wired(publishes=True)
    wired.server.refuse("NetStream.Publish.Denied", "wrong key")
    wired.run()
    assert wired.told == [PeerRefused("NetStream.Publish.Denied", "wrong key")]


@pytest.mark.parametrize(
    "calls",
    [
        [CREATE],
        [command("publish", 3, None, "show", "live", stream_id=1)],
        [CONNECT, CONNECT],
        [CONNECT, command("publish", 3, None, "show", "live", stream_id=1)],
        [CONNECT, CREATE, command("publish", 3, None, 5.0, stream_id=1)],
        [CONNECT, *[CREATE] * 9],
        [CONNECT, *[command("_checkbw", 3, None)] * 300],
        [command("connect", 1, None)],
        [command(1.0)],
    ],
    ids=[
        "create first",
        "publish first",
        "twice",
        "no stream",
        "no name",
        "nine streams",
        "flood",
        "no app",
        "nameless",
    ],
)
def test_commands_out_of_order_end_the_connection(calls: list[bytes]) -> None:
    with pytest.raises(RemoteProtocolError):
        said(shaken(), *calls)


def test_an_unknown_call_is_answered_with_an_error_and_harms_nothing() -> None:
    server = shaken()
    assert said(server, CONNECT, command("fly", 7, None)) == []
    assert b"_error" in server.data_to_send()


def test_a_live_stream_has_a_length_of_nothing() -> None:
    server = shaken()
    said(server, CONNECT, command("getStreamLength", 5, None, "show"))
    assert encode("_result", 5, None, 0) in server.data_to_send()


def test_commands_of_type_17_are_amf0_behind_a_zero() -> None:
    body = b"\x00" + encode("connect", 1, {"app": "live"})
    server = shaken()
    assert said(server, b"".join(split(Message(17, 0, 0, body), 3, 128))) == []
    assert server.app == "live"


def test_media_before_publish_is_dropped_and_much_of_it_ends_the_connection() -> None:
    server = shaken()
    picture = b"".join(split(Message(9, 1, 0, b"x" * 60_000), 6, 128))
    assert said(server, CONNECT, CREATE, picture) == []
    with pytest.raises(RemoteProtocolError):
        said(server, picture)


def test_a_publisher_may_leave_and_publish_again_on_the_same_connection() -> None:
    server = shaken()
    publish = command("publish", 3, None, "show", "live", stream_id=1)
    (asked,) = said(server, CONNECT, CREATE, publish)
    server.accept_publish()
    assert said(server, command("FCUnpublish", 4, None, "show"), publish) == [PublishEnded(), asked]


def picture(size: int) -> bytes:
    return b"".join(split(Message(9, 1, 40, b"p" * size), 6, 65_536))


def publishing() -> ServerSession:
    server = shaken()
    said(server, CONNECT, CREATE, command("publish", 3, None, "show", "live", stream_id=1))
    server.accept_publish()
    said(server, b"".join(split(set_chunk_size(65_536), 2, 128)))
    return server


def test_each_event_is_answered_before_the_next_even_of_one_read() -> None:
    server = shaken()
    publish, leave = command("publish", 3, None, "show", stream_id=1), command("FCUnpublish", 4, None, "show")
    got: list[object] = []
    for event in read_events(server, CONNECT + CREATE + picture(1) + publish + picture(2) + leave + picture(3)):
        if isinstance(event, PublishRequested):
            server.accept_publish()
        got.append(event)
    assert got == [PublishRequested(1, "live", "show", {}), Message(9, 1, 40, b"pp"), PublishEnded()]


@pytest.mark.parametrize("sizes", [[0], [2, 0], [0, 2], [2, 0, 3]])
def test_media_without_a_byte_is_nothing_for_either_end(sizes: list[int]) -> None:
    data = b"".join(map(picture, sizes))
    wired = Wired(publishes=False)
    whole = [Message(9, 1, 40, b"p" * size) for size in sizes if size]
    assert said(publishing(), data) == whole
    assert list(wired.client.receive_data(data)) == whole


def test_what_came_while_it_was_published_does_not_count_against_a_peer() -> None:
    server = publishing()
    said(server, *[picture(60_000)] * 3)
    assert said(server, command("FCUnpublish", 4, None, "show")) == [PublishEnded()]
    assert said(server, picture(60_000)) == []
    with pytest.raises(RemoteProtocolError, match="too many bytes"):
        said(server, picture(60_000))


def test_a_publisher_may_leave_in_the_same_read_as_much_of_its_media() -> None:
    server = publishing()
    leave = command("FCUnpublish", 4, None, "show") + command("deleteStream", 0, None, 1)
    assert said(server, picture(60_000) * 3 + leave) == [Message(9, 1, 40, b"p" * 60_000)] * 3 + [PublishEnded()]


def test_a_request_is_the_last_event_of_its_call_and_the_rest_is_read_after_its_answer() -> None:
    server = shaken()
    said(server, CONNECT, CREATE)
    publish = command("publish", 3, None, "show", stream_id=1)
    assert list(server.receive_data(publish + picture(1))) == [PublishRequested(1, "live", "show", {})]
    assert server.has_more
    server.accept_publish()
    assert list(server.receive_data(b"")) == [Message(9, 1, 40, b"p")] and not server.has_more


def test_the_events_before_a_message_that_breaks_the_rules_are_not_lost() -> None:
    server = publishing()
    events = read_events(server, picture(1) + CONNECT)
    assert next(events) == Message(9, 1, 40, b"p")
    with pytest.raises(RemoteProtocolError):
        next(events)


def test_flow_control_between_media_is_obeyed_and_not_told() -> None:
    server = publishing()
    server.data_to_send()
    window, acknowledgement = (Message(type_id, 0, 0, (1 << 16).to_bytes(4, "big")) for type_id in (5, 3))
    flow = b"".join(chunk for message in (window, acknowledgement) for chunk in split(message, 2, 128))
    assert said(server, picture(10) + flow + picture(65_536)) == [
        Message(9, 1, 40, b"p" * size) for size in (10, 65_536)
    ]
    assert server.data_to_send()[7] == 3


ANOTHERS = {
    "deleteStream": command("deleteStream", 0, None, 2),
    "deleteStream of an id that was never given": command("deleteStream", 4, None, 77, stream_id=1),
    "closeStream": command("closeStream", 0, None, stream_id=2),
    "FCUnpublish": command("FCUnpublish", 4, None, "other?key=secret"),
}
OURS = {
    "deleteStream": command("deleteStream", 0, None, 1),
    "deleteStream of nothing": command("deleteStream", 0, None),
    "deleteStream of null": command("deleteStream", 0, None, None),
    "deleteStream of a string": command("deleteStream", 0, None, "1"),
    "deleteStream of the connection": command("deleteStream", 0, None, 0),
    "deleteStream of a fraction": command("deleteStream", 0, None, 1.5),
    "deleteStream of no number": command("deleteStream", 0, None, float("nan")),
    "closeStream": command("closeStream", 0, None, stream_id=1),
    "closeStream on the connection": command("closeStream", 0, None),
    "FCUnpublish": command("FCUnpublish", 4, None, "show"),
    "FCUnpublish with a query": command("FCUnpublish", 4, None, "show?key=secret"),
    "FCUnpublish of nothing": command("FCUnpublish", 4, None),
    "FCUnpublish of a number": command("FCUnpublish", 4, None, 1),
}


@pytest.mark.parametrize("name", ANOTHERS)
def test_the_end_of_another_stream_ends_neither_a_publish_nor_a_play(name: str) -> None:
    assert said(publishing(), ANOTHERS[name], picture(1)) == [Message(9, 1, 40, b"p")]
    player = shaken()
    said(player, CONNECT, CREATE, command("play", 3, None, "show", stream_id=1))
    player.accept_play(4096)
    assert said(player, ANOTHERS[name]) == []


@pytest.mark.parametrize("name", OURS)
def test_the_end_of_the_stream_or_of_none_that_can_be_told_ends_the_publish(name: str) -> None:
    assert said(publishing(), OURS[name], picture(1)) == [PublishEnded()]


def test_the_late_end_of_a_stream_does_not_end_the_one_that_replaced_it() -> None:
    server = publishing()
    events = said(server, command("createStream", 4, None), command("publish", 5, None, "next", stream_id=2))
    assert events == [PublishEnded(), PublishRequested(2, "live", "next", {})]
    server.accept_publish()
    late = command("FCUnpublish", 6, None, "show") + OURS["deleteStream"]
    assert said(server, late, picture(1)) == [Message(9, 1, 40, b"p")]
    assert said(server, command("deleteStream", 7, None, 2)) == [PublishEnded()]


def test_a_player_may_pause_and_leave() -> None:
    server = shaken()
    said(server, CONNECT, CREATE, command("play", 3, None, "show", stream_id=1))
    server.accept_play(4096)
    events = said(
        server, command("pause", 4, None, True, 0.0, stream_id=1), command("closeStream", 0, None, stream_id=1)
    )
    assert events == [Paused(True), PlayEnded()]


def test_metadata_that_makes_no_sense_does_not_end_a_broadcast() -> None:
    server = shaken()
    said(server, CONNECT, CREATE, command("publish", 3, None, "show", "live", stream_id=1))
    server.accept_publish()
    assert said(server, b"".join(split(Message(18, 1, 0, b"\x07\xff"), 4, 128))) == []


def test_a_ping_is_answered() -> None:
    server = shaken()
    said(server, b"".join(split(user_control(6, 1234), 2, 128)))
    assert b"\x00\x07" + (1234).to_bytes(4, "big") in server.data_to_send()


@pytest.mark.parametrize("window", [0, 1, 0xFFFFFFFF])
def test_any_acknowledgement_window_is_survived(window: int) -> None:
    server = shaken()
    said(server, b"".join(split(Message(5, 0, 0, window.to_bytes(4, "big")), 2, 128)), CONNECT)
    assert len(server.data_to_send()) < 1000


def test_an_aggregate_is_placed_on_the_time_line_of_its_message() -> None:
    def sub(type_id: int, time_ms: int, body: bytes) -> bytes:
        return bytes([type_id]) + len(body).to_bytes(3, "big") + time_ms.to_bytes(3, "big") + bytes(4) + body + bytes(4)

    body = sub(9, 700, b"p") + sub(8, 720, b"s") + b"\x09\xff\xff\xff"
    assert [(m.type_id, m.timestamp_ms, m.body) for m in sub_messages(Message(22, 1, 50, body))] == [
        (9, 50, b"p"),
        (8, 70, b"s"),
    ]


@pytest.mark.parametrize(
    ("start", "hint"), [(b"GET / HTTP/1.1", "HTTP"), (b"\x16\x03\x01", "TLS"), (b"\x06", "RTMPE"), (b"\xff", "0xff")]
)
def test_who_speaks_something_else_is_told_apart(start: bytes, hint: str) -> None:
    with pytest.raises(RemoteProtocolError, match=hint):
        said(ServerSession(b"server"), start)


def test_an_answer_without_a_question_is_our_own_fault() -> None:
    with pytest.raises(LocalProtocolError):
        shaken().accept_publish()


def test_a_session_that_comes_a_byte_at_a_time_is_the_same() -> None:
    server = ServerSession(b"server")
    data = b"\x03" + bytes(2 * 1536) + CONNECT + CREATE + command("publish", 3, None, "show", stream_id=1)
    assert said(server, *bytes_of(data)) == [PublishRequested(1, "live", "show", {})]


def bytes_of(data: bytes) -> Iterable[bytes]:
    return (data[at : at + 1] for at in range(len(data)))
