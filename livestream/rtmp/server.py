"""The server's end of an RTMP session (specification 1.0, 7.2), without I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from attrs import define, field

from livestream.rtmp import message_types as types
from livestream.rtmp import messages
from livestream.rtmp.amf0 import encode
from livestream.rtmp.chunks import ALL_STEPS, ChunkLimits, Message
from livestream.rtmp.errors import LocalProtocolError, RemoteProtocolError
from livestream.rtmp.events import (
    Answered,
    DataReceived,
    Paused,
    PlayEnded,
    PlayRequested,
    PublishEnded,
    PublishRequested,
    ServerEvent,
)
from livestream.rtmp.handshake import ServerHandshake
from livestream.rtmp.wire import Wire, are_media, ping_time, values_of

HANDSHAKE_BYTES = 1 + 2 * 1536
WINDOW_BYTES = 2_500_000
CHUNK_BYTES = 65_536
"""ffmpeg as a publisher adopts our chunk size for its own chunks: large ones cost it and us less."""
UNASKED_BYTES = 64 << 10
"""A peer that is not allowed to publish or play (yet, or any more) may send this much after the handshake."""
PLAYER_BYTES = 1 << 20
"""A player has nothing to send but acknowledgements and answers to pings: in a period it may send this much."""
STREAMS = 8
QUERY_FIELDS = 32
RECONNECT = 0x01
"""The bit of ``capsEx`` by which a peer says that it obeys a request to reconnect (Enhanced RTMP 2)."""
COMMANDS = 200
"""So many commands and pings are enough for any program, until it is served, and then between two periods."""


class State(Enum):
    """What a session is at."""

    CONNECTING = "before connect"
    CONNECTED = "before publish or play"
    ASKING_PUBLISH = "publish awaits its answer"
    ASKING_PLAY = "play awaits its answer"
    PUBLISHING = "publishing"
    PLAYING = "playing"


_PUBLISHING = State.PUBLISHING  # to look a member up takes ten times as long


@define(eq=False)
class ServerSession:
    """
    Speaks with one peer: :meth:`receive_data` gives events, :meth:`data_to_send` the bytes to write.

    ``nonce`` is random; it goes into the handshake. One stream of a connection publishes or plays at a time.
    """

    nonce: bytes
    limits: ChunkLimits = field(factory=ChunkLimits)
    state: State = field(default=State.CONNECTING, init=False)
    app: str = field(default="", init=False)
    _reconnects: bool = field(default=False, init=False)
    _wire: Wire = field(init=False)
    _streams: int = field(default=0, init=False)
    _stream_id: int = field(default=0, init=False)
    _commands: int = field(default=0, init=False)
    _asked_bytes: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._wire = Wire(ServerHandshake(self.nonce), self.limits)
        self._wire.takes_media = False

    def receive_data(self, data: bytes, steps: int = ALL_STEPS) -> Iterable[ServerEvent]:
        """
        Take bytes and give what they mean, one event after the other; answer each before taking the next.

        After about so many ``steps`` the rest is left, and is taken with the next call; see :attr:`has_more`.

        :raises RemoteProtocolError: the peer breaks the protocol or passes a limit; now, or among the events.
        """
        wire = self._wire
        last_step = wire.steps + steps
        received = wire.receive(data, steps)
        if self.state is _PUBLISHING and are_media(received) and (not wire.has_more or wire.steps >= last_step):
            self._asked_bytes = wire.received_bytes
            return received
        return self._events(received, last_step)

    def _events(self, received: list[Message], last_step: int) -> Iterator[ServerEvent]:
        """Read on only when all before has been dealt with: an answer to it may change what is read."""
        wire = self._wire
        while True:
            for message in received:
                yield from self._event(message)
            if not wire.has_more or wire.steps >= last_step:
                break
            received = wire.receive(b"", last_step - wire.steps)
        if self.state is State.PUBLISHING:
            self._asked_bytes = wire.received_bytes
        elif wire.received_bytes - self._asked_bytes > self._most_bytes:
            raise RemoteProtocolError(f"too many bytes {self.state.value}", "unasked_bytes")

    def _event(self, message: Message) -> Iterator[ServerEvent]:
        if message.type_id in types.MEDIA:
            if self.state is State.PUBLISHING:
                yield message
        elif message.type_id in types.PUBLISHED:
            yield from self._data(message)
        elif message.type_id in types.COMMANDS:
            yield from self._command(message)
        elif message.type_id == types.USER_CONTROL:
            yield from self._user_control(message)

    @property
    def _most_bytes(self) -> int:
        """How much a peer may send that does not publish."""
        return PLAYER_BYTES if self.state is State.PLAYING else HANDSHAKE_BYTES + UNASKED_BYTES

    @property
    def has_more(self) -> bool:
        """Whether there is more to read without any new bytes."""
        return self._wire.has_more

    @property
    def steps(self) -> int:
        """How much work has been done with what the peer sent: chunks, and messages, which count for several."""
        return self._wire.steps

    @property
    def held_bytes(self) -> int:
        """What is held for the peer, in bytes."""
        return self._wire.held_bytes

    def clear(self) -> None:
        """Hold nothing any more: the peer is gone."""
        self._wire.clear()

    def data_to_send(self) -> bytes:
        """The bytes that the peer is owed now."""
        return self._wire.data_to_send()

    @property
    def has_shaken_hands(self) -> bool:
        return self._wire.handshake.done

    # The application's answers

    def accept_publish(self) -> None:
        """Let the peer publish."""
        self._expect(State.ASKING_PUBLISH)
        self.state = State.PUBLISHING
        self._wire.takes_media = True
        self._wire.send(messages.user_control(messages.STREAM_BEGIN, self._stream_id))
        self._status("status", "NetStream.Publish.Start", "publishing")

    def accept_play(self, chunk_bytes: int) -> None:
        """Let the peer play; media is to be sent in chunks of ``chunk_bytes``, with message stream id 1."""
        self._expect(State.ASKING_PLAY)
        self.state = State.PLAYING
        self._asked_bytes = self._wire.received_bytes
        self._wire.send(messages.user_control(messages.STREAM_BEGIN, self._stream_id))
        self._status("status", "NetStream.Play.Reset", "playing")
        self._status("status", "NetStream.Play.Start", "playing")
        self._wire.send(Message(types.DATA, self._stream_id, 0, encode("|RtmpSampleAccess", True, True)), 5)
        self._wire.set_chunk_size(chunk_bytes)

    def refuse(self, code: str, description: str) -> None:
        """Say why not, in words that the peer's program shows. The connection is then to be closed."""
        self._status("error", code, description)

    def end_play(self) -> None:
        """The broadcast is really over: programs close on this."""
        self._wire.send(messages.user_control(messages.STREAM_EOF, self._stream_id))
        self._status("status", "NetStream.Play.UnpublishNotify", "the broadcast is over")

    def redirect(self, url: str, stream: str) -> None:
        """
        Refuse a play, because it is to be had at ``url``, ``rtmp://HOST:PORT/APP``.

        This is how SRS and Flash Media Server say it; to a program that does not follow it is an error like another.
        """
        there = {"code": 302, "redirect": url, "redirect2": f"{url}/{stream}"}
        self._status("error", "NetConnection.Connect.Rejected", f"play it at {url}", ex=there)

    def move(self, url: str, stream: str) -> None:
        """
        Have a player go on at ``url``. The connection is then to be closed, but not at once.

        One that knows how connects there, plays here until it can there, and leaves (Enhanced RTMP 2, "Reconnect
        Request"); any other is told as at a new play.
        """
        if not self._reconnects:
            self.redirect(url, stream)
            return
        info = {
            "level": "status",
            "code": "NetConnection.Connect.ReconnectRequest",
            "description": "this node is going away",
            "tcUrl": url,
        }
        self._wire.command(0, "onStatus", 0, None, info)

    def ping(self, time_ms: int) -> None:
        """Ask the peer for a sign of life."""
        self._wire.send(messages.user_control(messages.PING_REQUEST, time_ms & 0xFFFFFFFF))

    def begin_period(self) -> None:
        """Some time has passed: the peer may say as much again."""
        self._commands = 0
        if self.state is State.PLAYING:
            self._asked_bytes = self._wire.received_bytes

    def _expect(self, state: State) -> None:
        if self.state is not state:
            raise LocalProtocolError(f"not while {self.state.value}")

    def _status(self, level: str, code: str, description: str, **more: Any) -> None:
        info = {"level": level, "code": code, "description": description, **more}
        self._wire.command(self._stream_id, "onStatus", 0, None, info)

    # The peer's messages

    def _data(self, message: Message) -> Iterator[ServerEvent]:
        if self.state is not State.PUBLISHING:
            return
        try:
            values = values_of(message)
        except RemoteProtocolError:
            return  # metadata that makes no sense is no reason to end a broadcast
        if values[0] == "@setDataFrame" and len(values) > 1 and isinstance(values[1], str):
            values = values[1:]
        yield DataReceived(message.timestamp_ms, values[0], values[1:])

    def _user_control(self, message: Message) -> Iterator[ServerEvent]:
        event, value = ping_time(message)
        if event == messages.PING_REQUEST:
            self._count()
            self._wire.send(messages.user_control(messages.PING_RESPONSE, value))
        elif event == messages.PING_RESPONSE:
            yield Answered()

    def _count(self) -> None:
        self._commands += 1
        if self._commands > COMMANDS:
            raise RemoteProtocolError("too many commands", "commands")

    def _command(self, message: Message) -> Iterator[ServerEvent]:
        self._count()
        name, *values = values_of(message)
        transaction = values[0] if values and isinstance(values[0], float) and values[0] == values[0] else 0
        arguments = values[2:]
        answer = self._COMMANDS.get(name)
        if answer is not None:
            yield from answer(self, message, transaction, values[1:])
        elif name in ("publish", "play"):
            yield from self._ask(name, message, arguments)
        elif name in ("FCUnpublish", "deleteStream", "closeStream"):
            yield from self._leave()
        elif name in ("pause", "pauseRaw"):
            if self.state is State.PLAYING:
                yield self._pause(arguments)
        elif name == "seek":
            if self.state is State.PLAYING:
                self._status("status", "NetStream.Seek.Notify", "live: there is nothing to seek in")
        elif transaction:
            info = {"level": "error", "code": "NetConnection.Call.Failed", "description": "no such call"}
            self._wire.command(0, "_error", transaction, None, info)

    def _connect(self, _: Message, transaction: float, values: list[Any]) -> Iterator[ServerEvent]:
        asked = values[0] if values and isinstance(values[0], dict) else {}
        app = asked.get("app")
        if self.state is not State.CONNECTING or not isinstance(app, str):
            raise RemoteProtocolError("a connect without an app, or a second one")
        self.app = app.partition("?")[0].strip("/")
        self.state = State.CONNECTED
        self._wire.send(messages.control(types.WINDOW_ACK_SIZE, WINDOW_BYTES))
        self._wire.send(messages.control(types.SET_PEER_BANDWIDTH, WINDOW_BYTES, b"\x02"))
        self._wire.set_chunk_size(CHUNK_BYTES)
        info: dict[str, Any] = {
            "level": "status",
            "code": "NetConnection.Connect.Success",
            "description": "Connected",
            "objectEncoding": 0,
        }
        if "fourCcList" in asked or "videoFourCcInfoMap" in asked:
            info["fourCcList"] = ["avc1", "hvc1", "av01", "vp09", "mp4a", "Opus"]
        capabilities = asked.get("capsEx")
        if isinstance(capabilities, float) and capabilities.is_integer() and int(capabilities) & RECONNECT:
            self._reconnects = True
            info["capsEx"] = RECONNECT
        self._wire.command(0, "_result", transaction, {"fmsVer": "FMS/3,0,1,123", "capabilities": 31}, info)
        return iter(())

    def _create_stream(self, _: Message, transaction: float, values: list[Any]) -> Iterator[ServerEvent]:
        if self.state is State.CONNECTING or self._streams >= STREAMS:
            raise RemoteProtocolError("createStream before connect, or too often")
        self._streams += 1
        self._wire.command(0, "_result", transaction, None, self._streams)
        return iter(())

    def _acknowledge(self, _: Message, transaction: float, values: list[Any]) -> Iterator[ServerEvent]:
        """Calls that encoders make and nothing waits for."""
        if transaction:
            self._wire.command(0, "_result", transaction, None, None)
        return iter(())

    def _stream_length(self, _: Message, transaction: float, values: list[Any]) -> Iterator[ServerEvent]:
        """A live stream has no length; ffmpeg as a player warns unless it is told so by a number."""
        self._wire.command(0, "_result", transaction, None, 0)
        return iter(())

    def _ask(self, name: str, message: Message, arguments: list[Any]) -> Iterator[ServerEvent]:
        if self.state is State.CONNECTING or not self._streams:
            raise RemoteProtocolError(f"{name} before connect and createStream")
        if self.state is not State.CONNECTED:
            yield from self._leave()
        if not arguments or not isinstance(arguments[0], str):
            raise RemoteProtocolError(f"{name} without a name")
        stream, _, query = arguments[0].partition("?")
        self._stream_id = message.stream_id or 1
        fields = _fields(query)
        if name == "publish":
            self.state = State.ASKING_PUBLISH
            yield PublishRequested(self._stream_id, self.app, stream, fields)
        else:
            self.state = State.ASKING_PLAY
            yield PlayRequested(self._stream_id, self.app, stream, fields)

    def _leave(self) -> Iterator[ServerEvent]:
        state = self.state
        if state is State.CONNECTING:
            return
        self.state = State.CONNECTED
        self._wire.takes_media = False
        if state is State.PUBLISHING:
            self._status("status", "NetStream.Unpublish.Success", "unpublished")
            yield PublishEnded()
        elif state in (State.PLAYING, State.ASKING_PLAY):
            yield PlayEnded()

    def _pause(self, arguments: list[Any]) -> Paused:
        is_paused = bool(arguments and arguments[0])
        word = "Pause" if is_paused else "Unpause"
        self._status("status", f"NetStream.{word}.Notify", "paused" if is_paused else "goes on")
        return Paused(is_paused)

    _COMMANDS: ClassVar[dict[str, Callable[[ServerSession, Message, float, list[Any]], Iterator[ServerEvent]]]] = {
        "connect": _connect,
        "createStream": _create_stream,
        "getStreamLength": _stream_length,
        **dict.fromkeys(
            ("releaseStream", "FCPublish", "FCSubscribe", "_checkbw", "initStream", "getMovLen"),
            _acknowledge,
        ),
    }


def _fields(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, max_num_fields=QUERY_FIELDS))
    except ValueError:
        raise RemoteProtocolError(f"a name with more than {QUERY_FIELDS} fields") from None
