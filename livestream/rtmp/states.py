"""
The states of a session, and what each of them allows: the tables by which `server` and `client` decide.

Pings, control messages and commands that nothing depends on are answered in every state, and are not in the tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar


class Outcome(Enum):
    """What becomes of an input that changes nothing."""

    REFUSED = "refused"
    """It breaks the protocol: a `RemoteProtocolError` if it is the peer's, a `LocalProtocolError` if it is ours."""
    IGNORED = "ignored"
    """It means nothing in this state and does no harm: encoders send it out of habit, or from before a change."""


class ServerState(Enum):
    """How far a client has come; a value completes the sentence "not allowed ..."."""

    CONNECTING = "before connect"
    CONNECTED = "before createStream"
    READY = "before publish or play"
    PUBLISH_ASKED = "while a publish awaits its answer"
    PLAY_ASKED = "while a play awaits its answer"
    PUBLISHING = "while publishing"
    PLAYING = "while playing"


BEFORE_REQUEST = (ServerState.CONNECTING, ServerState.CONNECTED, ServerState.READY)
"""The states in which a client neither publishes nor plays, nor has asked to."""


class ServerInput(Enum):
    """What may change a server's state: the client's messages, then the application's answers."""

    CONNECT = "connect"
    CREATE_STREAM = "createStream"
    PUBLISH = "publish"
    PLAY = "play"
    CLOSE_STREAM = "closeStream"
    CONTROL_PLAY = "pause or seek"
    MEDIA = "audio, video or data"
    ACCEPT_PUBLISH = "accept_publish"
    ACCEPT_PLAY = "accept_play"
    WARN = "warn"
    REFUSE = "refuse"
    REDIRECT = "redirect"
    END_PLAY = "end_play"


class ClientState(Enum):
    """How far a server has let our client come."""

    CONNECTING = "before the answer to connect"
    CREATING = "before the answer to createStream"
    REQUESTING = "before the answer to publish or play"
    STARTED = "while publishing or playing"
    REFUSED = "after a refusal"


class ClientInput(Enum):
    """What may change a client's state: the server's messages, then what the application sends."""

    CONNECT_RESULT = "the result of connect"
    STREAM_RESULT = "the result of createStream"
    START = "the start of a publish or play"
    ERROR = "an error"
    MEDIA = "audio, video or data"
    END_OF_STREAM = "the end of the stream"
    SEND_MEDIA = "send_media"


S = TypeVar("S", bound=Enum)
E = TypeVar("E", bound=Enum)
Transitions = Mapping[tuple[S, E], S | Outcome]


def _table(states: type[S], rows: Mapping[E, tuple[S | Outcome, ...]]) -> Transitions[S, E]:
    return {(state, each): to for each, row in rows.items() for state, to in zip(states, row, strict=True)}


def _server_transitions() -> Transitions[ServerState, ServerInput]:
    _, connected, ready, pub_asked, play_asked, publishing, playing = ServerState
    refused, ignored = Outcome
    given = ServerInput
    # fmt: off
    return _table(ServerState, {
        # in the state:        connecting connected  ready       pub_asked   play_asked  publishing  playing
        given.CONNECT:        (connected, refused,   refused,    refused,    refused,    refused,    refused),
        given.CREATE_STREAM:  (refused,   ready,     ready,      pub_asked,  play_asked, publishing, playing),
        given.PUBLISH:        (refused,   refused,   pub_asked,  pub_asked,  pub_asked,  pub_asked,  pub_asked),
        given.PLAY:           (refused,   refused,   play_asked, play_asked, play_asked, play_asked, play_asked),
        given.CLOSE_STREAM:   (ignored,   connected, ready,      ready,      ready,      ready,      ready),
        given.CONTROL_PLAY:   (ignored,   ignored,   ignored,    ignored,    ignored,    ignored,    playing),
        given.MEDIA:          (ignored,   ignored,   ignored,    ignored,    ignored,    publishing, ignored),
        given.ACCEPT_PUBLISH: (refused,   refused,   refused,    publishing, refused,    refused,    refused),
        given.ACCEPT_PLAY:    (refused,   refused,   refused,    refused,    playing,    refused,    refused),
        given.WARN:           (refused,   refused,   refused,    refused,    refused,    publishing, refused),
        given.REFUSE:         (refused,   refused,   refused,    ready,      ready,      ready,      ready),
        given.REDIRECT:       (refused,   refused,   refused,    refused,    play_asked, refused,    playing),
        given.END_PLAY:       (refused,   refused,   refused,    refused,    ready,      refused,    ready),
    })
    # fmt: on


def _client_transitions() -> Transitions[ClientState, ClientInput]:
    _, creating, requesting, started, after = ClientState
    refused, ignored = Outcome
    given = ClientInput
    # fmt: off
    return _table(ClientState, {
        # in the state:        connecting creating    requesting  started    after a refusal
        given.CONNECT_RESULT: (creating,  ignored,    ignored,    ignored,   ignored),
        given.STREAM_RESULT:  (ignored,   requesting, ignored,    ignored,   ignored),
        given.START:          (ignored,   ignored,    started,    started,   ignored),
        given.ERROR:          (after,     after,      after,      after,     ignored),
        given.MEDIA:          (ignored,   ignored,    requesting, started,   ignored),
        given.END_OF_STREAM:  (ignored,   ignored,    requesting, started,   ignored),
        given.SEND_MEDIA:     (refused,   refused,    refused,    started,   refused),
    })
    # fmt: on


SERVER_TRANSITIONS = _server_transitions()
CLIENT_TRANSITIONS = _client_transitions()
