"""Sessions whose peer says anything at all: it is understood, or it is the peer's fault, and never ours."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from livestream.rtmp.amf0 import EcmaArray, encode
from livestream.rtmp.chunks import MESSAGE_STEPS, Message, split
from livestream.rtmp.client import ClientSession
from livestream.rtmp.errors import RemoteProtocolError
from livestream.rtmp.events import PlayRequested, PublishRequested
from livestream.rtmp.messages import user_control
from livestream.rtmp.server import ServerSession
from tests.rtmp.reading import read_events

VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=8), inner, max_size=3)
        | st.dictionaries(st.sampled_from(["app", "code", "level", "description", "fourCcList"]), inner).map(EcmaArray)
    ),
    max_leaves=6,
)
NAMES = st.sampled_from(
    [
        "connect",
        "createStream",
        "publish",
        "play",
        "pause",
        "seek",
        "deleteStream",
        "closeStream",
        "FCPublish",
        "_result",
        "_error",
        "onStatus",
        "@setDataFrame",
        "onMetaData",
        "fly",
    ]
)
BODIES = st.one_of(
    st.binary(max_size=40),
    st.tuples(NAMES, st.lists(VALUES, max_size=5)).map(lambda call: encode(call[0], *call[1])),
)
MESSAGES = st.builds(
    Message, st.sampled_from([*range(1, 24)]), st.integers(0, 2), st.sampled_from([0, 0xFFFFFFFF]), BODIES
)


def chunked(*messages: Message) -> bytes:
    return b"".join(chunk for message in messages for chunk in split(message, 3, 128))


def command(*values: object, stream_id: int = 0) -> Message:
    return Message(20, stream_id, 0, encode(*values))


CONNECT = command("connect", 1, {"app": "live"})
CREATE = command("createStream", 2, None)


def server_after(*messages: Message) -> ServerSession:
    server = ServerSession(b"server")
    assert list(read_events(server, b"\x03" + bytes(2 * 1536) + chunked(*messages))) == []
    server.data_to_send()
    return server


@settings(deadline=None, max_examples=50)
@given(st.lists(MESSAGES, max_size=6), st.booleans())
def test_a_server_understands_what_it_is_told_or_it_is_the_peers_fault(
    messages: list[Message], is_connected: bool
) -> None:
    server = server_after(*([CONNECT, CREATE] if is_connected else []))
    with suppress(RemoteProtocolError):
        for message in messages:
            for event in read_events(server, chunked(message)):
                if isinstance(event, PublishRequested):
                    server.accept_publish()
                elif isinstance(event, PlayRequested):
                    server.accept_play(4096)


@settings(deadline=None, max_examples=50)
@given(st.lists(MESSAGES, max_size=6), st.booleans())
def test_a_client_understands_what_it_is_told_or_it_is_the_servers_fault(messages: list[Message], is_on: bool) -> None:
    client = ClientSession(b"client", "live", "rtmp://host/live", "show")
    answers = [command("_result", 1.0, None, None), command("_result", 2.0, None, 1.0)] if is_on else []
    with suppress(RemoteProtocolError):
        list(client.receive_data(b"\x03" + bytes(2 * 1536)))
        list(client.receive_data(chunked(*answers, *messages)))


@pytest.mark.parametrize("verb", ["publish", "play"])
def test_a_name_with_many_fields_is_the_peers_fault(verb: str) -> None:
    server = server_after(CONNECT, CREATE)
    with pytest.raises(RemoteProtocolError):
        list(read_events(server, chunked(command(verb, 3, None, "show?" + "&".join(["a=1"] * 100), stream_id=1))))


def test_a_second_publish_before_the_first_is_answered_is_what_counts() -> None:
    server = server_after(CONNECT, CREATE)
    events = [
        event
        for name in ("one", "two")
        for event in read_events(server, chunked(command("publish", 3, None, name, stream_id=1)))
    ]
    assert [event.name for event in events if isinstance(event, PublishRequested)] == ["one", "two"]
    server.accept_publish()
    assert list(read_events(server, chunked(Message(9, 1, 0, b"p")))) == [Message(9, 1, 0, b"p")]


def test_a_flood_of_pings_ends_the_connection() -> None:
    server = server_after(CONNECT)
    with pytest.raises(RemoteProtocolError):
        for _ in range(300):
            list(read_events(server, chunked(user_control(6, 1))))
            server.data_to_send()


@pytest.mark.parametrize("body", [b"", b"\x00", b"\x00\x06\x00\x00\x00", b"\x00\x20" + bytes(4), b"\xff" * 6])
def test_user_control_that_is_short_or_unknown_is_nothing(body: bytes) -> None:
    server = server_after(CONNECT)
    assert list(read_events(server, chunked(Message(4, 0, 0, body)))) == []
    assert server.data_to_send() == b""


def test_an_aggregate_inside_an_aggregate_is_left_out_and_their_number_is_bounded() -> None:
    def sub(type_id: int, body: bytes) -> bytes:
        return bytes([type_id]) + len(body).to_bytes(3, "big") + bytes(7) + body + bytes(4)

    nested = sub(22, sub(9, b"p"))
    server = server_after(CONNECT, CREATE)
    list(read_events(server, chunked(command("publish", 3, None, "show", stream_id=1))))
    server.accept_publish()
    aggregate = Message(22, 1, 0, nested + sub(9, b"") + sub(9, b"q") + sub(8, b"r"))
    assert list(read_events(server, chunked(aggregate))) == [Message(9, 1, 0, b"q"), Message(8, 1, 0, b"r")]
    flood = chunked(Message(22, 1, 0, sub(9, b"q") * 10_000))
    assert len(list(read_events(server, flood))) == 4096


def test_an_aggregate_is_read_in_bounded_parts() -> None:
    sub = b"\x09" + (1).to_bytes(3, "big") + bytes(7) + b"p" + bytes(4)
    server = server_after(CONNECT, CREATE)
    list(server.receive_data(chunked(command("publish", 3, None, "show", stream_id=1))))
    server.accept_publish()
    messages = list(server.receive_data(chunked(Message(22, 1, 0, sub * 1000)) + chunked(Message(8, 1, 0, b"s")), 200))
    assert 1 <= len(messages) <= 200 / MESSAGE_STEPS + 1
    while server.has_more:
        before = len(messages)
        messages += server.receive_data(b"", 200)
        assert len(messages) - before <= 200 / MESSAGE_STEPS + 1
    assert messages == [*[Message(9, 1, 0, b"p")] * 1000, Message(8, 1, 0, b"s")]


def test_what_is_received_is_acknowledged_modulo_two_to_the_32() -> None:
    server = server_after(CONNECT, CREATE)
    list(read_events(server, chunked(command("publish", 3, None, "show", stream_id=1))))
    server.accept_publish()
    server.data_to_send()
    picture = chunked(Message(9, 1, 0, b"p" * (1 << 20)))
    list(read_events(server, picture))
    acknowledged = server.data_to_send()
    assert acknowledged[:1] == b"\x02" and acknowledged[7] == 3
    assert int.from_bytes(acknowledged[-4:], "big") > 1 << 20
