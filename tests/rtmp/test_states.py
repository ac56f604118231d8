"""Both tables of states, pair by pair: either end, brought into a state by real bytes, does what its table says."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from itertools import product
from typing import Any

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
from livestream.rtmp.messages import STREAM_EOF, user_control
from livestream.rtmp.server import ServerSession
from livestream.rtmp.states import (
    CLIENT_TRANSITIONS,
    SERVER_TRANSITIONS,
    ClientInput,
    ClientState,
    Outcome,
    ServerInput,
    ServerState,
)

HANDSHAKE = b"\x03" + bytes(2 * 1536)


def chunked(message: Message) -> bytes:
    return b"".join(split(message, 3, 128))


def command(*values: object) -> bytes:
    return chunked(Message(20, 1, 0, encode(*values)))


AUDIO, VIDEO = chunked(Message(8, 1, 40, b"a")), chunked(Message(9, 1, 40, b"v"))
METADATA = chunked(Message(18, 1, 0, encode("onMetaData", {})))

SERVER_INPUTS: dict[ServerInput, list[bytes] | Callable[[ServerSession], None]] = {
    ServerInput.CONNECT: [command("connect", 1, {"app": "live"})],
    ServerInput.CREATE_STREAM: [command("createStream", 2, None)],
    ServerInput.PUBLISH: [command("publish", 3, None, "show", "live")],
    ServerInput.PLAY: [command("play", 3, None, "show")],
    ServerInput.CLOSE_STREAM: [
        command("FCUnpublish", 4, None, "show"),
        command("deleteStream", 4, None, 1),
        command("closeStream", 0, None),
    ],
    ServerInput.CONTROL_PLAY: [
        command("pause", 5, None, True),
        command("pauseRaw", 5, None, True),
        command("seek", 5, None, 7),
    ],
    ServerInput.MEDIA: [AUDIO, VIDEO, METADATA],
    ServerInput.ACCEPT_PUBLISH: ServerSession.accept_publish,
    ServerInput.ACCEPT_PLAY: lambda server: server.accept_play(4096),
    ServerInput.WARN: lambda server: server.warn("audio: it has no sequence header"),
    ServerInput.REFUSE: lambda server: server.refuse("NetStream.Failed", "no"),
    ServerInput.REDIRECT: lambda server: server.request_reconnect("rtmp://edge-2/live", "show"),
    ServerInput.END_PLAY: ServerSession.end_play,
}
CLIENT_INPUTS: dict[ClientInput, list[bytes] | Callable[[ClientSession], None]] = {
    ClientInput.CONNECT_RESULT: [command("_result", 1, None, None)],
    ClientInput.STREAM_RESULT: [command("_result", 2, None, 1)],
    ClientInput.START: [
        command("onStatus", 0, None, {"code": "NetStream.Publish.Start"}),
        command("onStatus", 0, None, {"code": "NetStream.Play.Start"}),
    ],
    ClientInput.ERROR: [command("_error", 1, None, {}), command("onStatus", 0, None, {"level": "error"})],
    ClientInput.MEDIA: [AUDIO, VIDEO, METADATA],
    ClientInput.END_OF_STREAM: [chunked(user_control(STREAM_EOF, 1))],
    ClientInput.SEND_MEDIA: lambda client: client.send_media(9, 40, b"v"),
}

END: dict[ServerState, list[type]] = {
    ServerState.PUBLISHING: [PublishEnded],
    ServerState.PLAYING: [PlayEnded],
    ServerState.PLAY_ASKED: [PlayEnded],
}  # fmt: skip
REQUEST: dict[ServerInput, list[type]] = {
    ServerInput.PUBLISH: [PublishRequested],
    ServerInput.PLAY: [PlayRequested],
    ServerInput.CLOSE_STREAM: [],
}
GIVES: dict[object, tuple[type, ...]] = {
    ServerInput.CONTROL_PLAY: (Paused,),
    ServerInput.MEDIA: (Message, DataReceived),
    ClientInput.START: (Started,),
    ClientInput.ERROR: (PeerRefused,),
    ClientInput.MEDIA: (Message, DataReceived),
    ClientInput.END_OF_STREAM: (StreamEnded,),
}


def paths(table: Mapping[tuple[Any, Any], object], start: object) -> dict[object, list[Any]]:
    """The shortest way from the first state to each, as inputs."""
    found: dict[object, list[Any]] = {start: []}
    waiting = deque([start])
    while waiting:
        at = waiting.popleft()
        for (state, given), to in table.items():
            if state is at and not isinstance(to, Outcome) and to not in found:
                found[to] = [*found[at], given]
                waiting.append(to)
    return found


SERVER_PATHS = paths(SERVER_TRANSITIONS, ServerState.CONNECTING)
CLIENT_PATHS = paths(CLIENT_TRANSITIONS, ClientState.CONNECTING)


def server_in(state: ServerState) -> ServerSession:
    server = ServerSession(b"server")
    list(server.receive_data(HANDSHAKE))
    for given in SERVER_PATHS[state]:
        give(server, SERVER_INPUTS[given])
    server.data_to_send()
    assert server.state is state
    return server


def client_in(state: ClientState) -> ClientSession:
    client = ClientSession(b"client", "live", "rtmp://host/live", "show")
    list(client.receive_data(HANDSHAKE))
    for given in CLIENT_PATHS[state]:
        give(client, CLIENT_INPUTS[given])
    client.data_to_send()
    assert client.state is state
    return client


def give(session: Any, given: list[bytes] | Callable[[Any], None], choice: int = 0) -> list[type]:
    """The types of the events that come of it."""
    if isinstance(given, list):
        return [type(event) for event in session.receive_data(given[choice])]
    given(session)
    return []


def check(make: Callable[[], Any], given: list[bytes] | Callable[[Any], None], to: object) -> list[list[type]]:
    """The events of each way to give an input, when it does what the table says."""
    all_events = []
    for choice in range(len(given) if isinstance(given, list) else 1):
        session = make()
        state, events = session.state, list[type]()
        if to is Outcome.REFUSED:
            with pytest.raises(RemoteProtocolError if isinstance(given, list) else LocalProtocolError):
                give(session, given, choice)
        else:
            events = give(session, given, choice)
        assert session.state is (state if isinstance(to, Outcome) else to)
        if isinstance(to, Outcome):
            assert events == [] and session.data_to_send() == b""
        all_events.append(events)
    return all_events


def test_the_tables_have_every_pair_and_every_state_can_be_reached() -> None:
    assert set(SERVER_TRANSITIONS) == set(product(ServerState, ServerInput))
    assert set(CLIENT_TRANSITIONS) == set(product(ClientState, ClientInput))
    assert set(SERVER_PATHS) == set(ServerState) and set(CLIENT_PATHS) == set(ClientState)


@pytest.mark.parametrize(("state", "given"), SERVER_TRANSITIONS, ids=lambda each: each.name)
def test_a_server_does_what_its_table_says(state: ServerState, given: ServerInput) -> None:
    to = SERVER_TRANSITIONS[state, given]
    for events in check(lambda: server_in(state), SERVER_INPUTS[given], to):
        if isinstance(to, Outcome):
            continue
        if given in REQUEST:
            assert events == END.get(state, []) + REQUEST[given]
        else:
            assert not events or (len(events) == 1 and events[0] in GIVES[given])


@pytest.mark.parametrize(("state", "given"), CLIENT_TRANSITIONS, ids=lambda each: each.name)
def test_a_client_does_what_its_table_says(state: ClientState, given: ClientInput) -> None:
    to = CLIENT_TRANSITIONS[state, given]
    for events in check(lambda: client_in(state), CLIENT_INPUTS[given], to):
        assert len(events) == (not isinstance(to, Outcome) and given in GIVES)
        assert not events or events[0] in GIVES[given]
