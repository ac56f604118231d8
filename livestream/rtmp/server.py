"""The server's end of an RTMP session (specification 1.0, 7.2), without I/O."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qsl

from attrs import define, field

from livestream.rtmp import message_types as types
from livestream.rtmp import messages
from livestream.rtmp.amf0 import encode
from livestream.rtmp.chunks import ALL_STEPS, ChunkLimits, Message
from livestream.rtmp.errors import LocalProtocolError, RemoteProtocolError, RtmpError
from livestream.rtmp.events import (
    DataReceived,
    Paused,
    PingAnswered,
    PlayEnded,
    PlayRequested,
    PublishEnded,
    PublishRequested,
    ServerEvent,
)
from livestream.rtmp.handshake import ServerHandshake
from livestream.rtmp.states import SERVER_TRANSITIONS, Outcome, ServerInput, ServerState
from livestream.rtmp.wire import Wire, decode_values, user_control_event

HANDSHAKE_BYTES = 1 + 2 * 1536
WINDOW_BYTES = 2_500_000
CHUNK_BYTES = 65_536
"""The size of our chunks before a play. ffmpeg as a publisher adopts it for its own: large chunks cost less."""
UNASKED_BYTES = 64 << 10
"""The most that a client may send after the handshake without publishing or playing."""
PLAYER_BYTES = 1 << 20
"""The most that a player may send in a period: it has only acknowledgements and answers to pings to send."""
STREAMS = 8
QUERY_FIELDS = 32
RECONNECT = 0x01
"""The bit of ``capsEx`` of a client that supports the reconnect request (Enhanced RTMP 2)."""
COMMANDS = 200
"""The most commands and pings until a client publishes or plays, and then in each period."""

_PUBLISHING = ServerState.PUBLISHING  # to look a member up takes ten times as long

Events = Sequence[ServerEvent]


@define(eq=False)
class ServerSession:
    """
    One client's connection: :meth:`receive_data` gives events, :meth:`data_to_send` the bytes to write.

    ``nonce`` is random; it goes into the handshake. One stream of a connection publishes or plays at a time. What is
    allowed in which ``state`` is in `livestream.rtmp.states`.
    """

    nonce: bytes
    limits: ChunkLimits = field(factory=ChunkLimits)
    state: ServerState = field(default=ServerState.CONNECTING, init=False)
    app: str = field(default="", init=False)
    steps: int = field(default=0, init=False)
    """The work that has been done with what the peer sent, in the steps of `livestream.rtmp.chunks`."""
    has_more: bool = field(default=False, init=False)
    """Whether there is more to read without any new bytes."""
    _reconnects: bool = field(default=False, init=False)
    _wire: Wire = field(init=False)
    _streams: int = field(default=0, init=False)
    _stream_id: int = field(default=0, init=False)
    _stream_name: str = field(default="", init=False)
    _commands: int = field(default=0, init=False)
    _exempt_bytes: int = field(default=0, init=False)  # received while more was allowed

    def __attrs_post_init__(self) -> None:
        self._wire = Wire(ServerHandshake(self.nonce), self.limits)
        self._wire.reader.takes_media = False

    def receive_data(self, data: bytes, steps: int = ALL_STEPS) -> Sequence[ServerEvent]:
        """
        Take bytes and return the next events: those of a run of audio and video, or of one other message.

        Act on the events, answer a request if it can be answered, and then read on with ``receive_data(b"")`` while
        :attr:`has_more`. A call ends early after about so many ``steps`` of work, which :attr:`steps` counts: a caller
        that reads on passes what is left of its budget, or goes on later.

        :raises RemoteProtocolError: the peer breaks the protocol or passes a limit. What this call would have returned
            is lost, and the session is over.
        """
        last_step = self.steps + steps
        wire = self._wire
        received = wire.receive(data, steps)
        self.steps, self.has_more = wire.reader.steps, wire.has_more
        if self.state is not _PUBLISHING:
            if not self.has_more or self.steps >= last_step:
                self._limit_unasked()
        elif not received or received[0].type_id in types.MEDIA:
            return received
        return self._other_events(received)

    def _other_events(self, received: list[Message]) -> Events:
        """The events of one message, if any, that is not media of a publisher."""
        if not received:
            return ()
        message = received[0]
        if message.type_id in types.PUBLISHED:
            if not self._advance(ServerInput.MEDIA):
                return ()
            return received if message.type_id in types.MEDIA else self._data(message)
        if message.type_id in types.COMMANDS:
            return self._command(message)
        if message.type_id == types.USER_CONTROL:
            return self._user_control(message)
        return ()

    def _advance(self, given: ServerInput, fault: type[RtmpError] = RemoteProtocolError) -> bool:
        """
        Go to the state that follows; return whether the input means anything in this one.

        :raises RtmpError: it is not allowed: the ``fault`` is the peer's, or our own.
        """
        to = SERVER_TRANSITIONS[self.state, given]
        if to is Outcome.REFUSED:
            raise fault(f"{given.value} is not allowed {self.state.value}")
        if not isinstance(to, ServerState):
            return False
        if self.state is ServerState.PUBLISHING:
            self._exempt_bytes = self._wire.received_bytes
        self.state = to
        self._wire.reader.takes_media = to is ServerState.PUBLISHING
        return True

    def _limit_unasked(self) -> None:
        most = PLAYER_BYTES if self.state is ServerState.PLAYING else HANDSHAKE_BYTES + UNASKED_BYTES
        if self._wire.received_bytes - self._exempt_bytes > most:
            raise RemoteProtocolError(f"too many bytes {self.state.value}", "unasked_bytes")

    @property
    def held_bytes(self) -> int:
        """The memory held for the peer."""
        return self._wire.held_bytes

    def clear(self) -> None:
        """Release all memory: the peer is gone."""
        self._wire.clear()
        self.has_more = False

    def data_to_send(self) -> bytes:
        """The bytes to send now."""
        return self._wire.data_to_send()

    @property
    def has_shaken_hands(self) -> bool:
        return self._wire.handshake.done

    # The application's answers

    def accept_publish(self) -> None:
        """
        Let the client publish.

        :raises LocalProtocolError: it has not asked to. So do the other answers when the state does not allow them.
        """
        self._advance(ServerInput.ACCEPT_PUBLISH, LocalProtocolError)
        self._wire.send(messages.user_control(messages.STREAM_BEGIN, self._stream_id))
        self._status("status", "NetStream.Publish.Start", "publishing")

    def accept_play(self, chunk_bytes: int) -> None:
        """Let the client play; media is to be sent in chunks of ``chunk_bytes``, with message stream id 1."""
        self._advance(ServerInput.ACCEPT_PLAY, LocalProtocolError)
        self._exempt_bytes = self._wire.received_bytes
        self._wire.send(messages.user_control(messages.STREAM_BEGIN, self._stream_id))
        self._status("status", "NetStream.Play.Reset", "playing")
        self._status("status", "NetStream.Play.Start", "playing")
        access = encode("|RtmpSampleAccess", True, True)
        self._wire.send(Message(types.DATA, self._stream_id, 0, access), messages.STATUS_CSID)
        self._wire.set_chunk_size(chunk_bytes)

    def warn(self, description: str) -> None:
        """
        Tell a publisher that something of its media is not served; it continues.

        RTMP has the level, and no code for it: librtmp and ffmpeg pass over a code that they do not know.
        """
        self._advance(ServerInput.WARN, LocalProtocolError)
        self._status("warning", "NetStream.Publish.Warning", description)

    def refuse(self, code: str, description: str) -> None:
        """Refuse or end a publish or play; the client shows the description. Close the connection then."""
        self._advance(ServerInput.REFUSE, LocalProtocolError)
        self._status("error", code, description)

    def end_play(self) -> None:
        """Announce that the broadcast is over: players close on this."""
        self._advance(ServerInput.END_PLAY, LocalProtocolError)
        self._wire.send(messages.user_control(messages.STREAM_EOF, self._stream_id))
        self._status("status", "NetStream.Play.UnpublishNotify", "the broadcast is over")

    def redirect(self, url: str, stream: str) -> None:
        """
        Redirect a player to ``url``, ``rtmp://HOST:PORT/APP``.

        The message is that of SRS and Flash Media Server; a player that does not know it shows an error.
        """
        self._advance(ServerInput.REDIRECT, LocalProtocolError)
        there = {"code": 302, "redirect": url, "redirect2": f"{url}/{stream}"}
        self._status("error", "NetConnection.Connect.Rejected", f"play it at {url}", ex=there)

    def request_reconnect(self, url: str, stream: str) -> None:
        """
        Have a player reconnect to ``url``. The connection is then to be closed, but not at once.

        A player that supports it connects there, plays here until it can there, and leaves (Enhanced RTMP 2, "Reconnect
        Request"); any other is redirected as at a new play.
        """
        if not self._reconnects:
            self.redirect(url, stream)
            return
        self._advance(ServerInput.REDIRECT, LocalProtocolError)
        info = {
            "level": "status",
            "code": "NetConnection.Connect.ReconnectRequest",
            "description": "this node is draining",
            "tcUrl": url,
        }
        self._wire.command(0, "onStatus", 0, None, info)

    def ping(self, time_ms: int) -> None:
        """Send a ping, which the client answers."""
        self._wire.send(messages.user_control(messages.PING_REQUEST, time_ms & 0xFFFFFFFF))

    def begin_period(self) -> None:
        """Begin the next period of the limits of a client that publishes or plays."""
        self._commands = 0
        if self.state is ServerState.PLAYING:
            self._exempt_bytes = self._wire.received_bytes

    def _status(self, level: str, code: str, description: str, **more: Any) -> None:
        info = {"level": level, "code": code, "description": description, **more}
        self._wire.command(self._stream_id, "onStatus", 0, None, info)

    # The client's messages

    def _data(self, message: Message) -> Events:
        try:
            values = decode_values(message)
        except RemoteProtocolError:
            return ()  # metadata that makes no sense is no reason to end a broadcast
        if values[0] == "@setDataFrame" and len(values) > 1 and isinstance(values[1], str):
            values = values[1:]
        return (DataReceived(message.timestamp_ms, values[0], values[1:]),)

    def _user_control(self, message: Message) -> Events:
        event, value = user_control_event(message)
        if event == messages.PING_REQUEST:
            self._count()
            self._wire.send(messages.user_control(messages.PING_RESPONSE, value))
        return (PingAnswered(),) if event == messages.PING_RESPONSE else ()

    def _count(self) -> None:
        self._commands += 1
        if self._commands > COMMANDS:
            raise RemoteProtocolError("too many commands", "commands")

    def _command(self, message: Message) -> Events:
        self._count()
        name, *values = decode_values(message)
        transaction = values[0] if values and isinstance(values[0], float) and values[0] == values[0] else 0
        run = self._COMMANDS.get(name)
        if run is not None:
            return run(self, message, transaction, values[1:])
        if transaction:
            info = {"level": "error", "code": "NetConnection.Call.Failed", "description": "no such call"}
            self._wire.command(0, "_error", transaction, None, info)
        return ()

    def _connect(self, _: Message, transaction: float, values: list[Any]) -> Events:
        self._advance(ServerInput.CONNECT)
        asked = values[0] if values and isinstance(values[0], dict) else {}
        app = asked.get("app")
        if not isinstance(app, str):
            raise RemoteProtocolError("a connect without an app")
        self.app = app.partition("?")[0].strip("/")
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
        return ()

    def _create_stream(self, _: Message, transaction: float, values: list[Any]) -> Events:
        self._advance(ServerInput.CREATE_STREAM)
        if self._streams >= STREAMS:
            raise RemoteProtocolError(f"more than {STREAMS} streams")
        self._streams += 1
        self._wire.command(0, "_result", transaction, None, self._streams)
        return ()

    def _acknowledge(self, _: Message, transaction: float, values: list[Any]) -> Events:
        """Answer a call that encoders make and that has no effect here."""
        if transaction:
            self._wire.command(0, "_result", transaction, None, None)
        return ()

    def _stream_length(self, _: Message, transaction: float, values: list[Any]) -> Events:
        """Answer zero, for a live stream has no length; ffmpeg as a player warns without an answer."""
        self._wire.command(0, "_result", transaction, None, 0)
        return ()

    def _publish(self, message: Message, _: float, values: list[Any]) -> Events:
        ended = self._leave(ServerInput.PUBLISH)
        stream, fields = self._requested("publish", message, values)
        return (*ended, PublishRequested(self._stream_id, self.app, stream, fields))

    def _play(self, message: Message, _: float, values: list[Any]) -> Events:
        ended = self._leave(ServerInput.PLAY)
        stream, fields = self._requested("play", message, values)
        return (*ended, PlayRequested(self._stream_id, self.app, stream, fields))

    def _requested(self, command: str, message: Message, values: list[Any]) -> tuple[str, dict[str, str]]:
        """The name and the query of the stream that is asked for; take its message stream id."""
        if len(values) < 2 or not isinstance(values[1], str):
            raise RemoteProtocolError(f"{command} without a name")
        stream, _, query = values[1].partition("?")
        fields = _fields(query)
        self._stream_id, self._stream_name = message.stream_id or 1, stream
        return stream, fields

    def _close_stream(self, message: Message, transaction: float, values: list[Any]) -> Events:
        """End what is published or played on the message stream that this came on; 0 is the connection's own."""
        return self._leave_if(message.stream_id in (0, self._stream_id))

    def _delete_stream(self, _: Message, transaction: float, values: list[Any]) -> Events:
        """The same for the message stream whose id this carries (7.2.2.3). Some encoders send none, or no number."""
        stream_id = values[1] if len(values) > 1 else None
        is_id = isinstance(stream_id, float) and stream_id.is_integer() and 0 < stream_id < 1 << 32
        return self._leave_if(not is_id or stream_id == self._stream_id)

    def _unpublish(self, _: Message, transaction: float, values: list[Any]) -> Events:
        """The same for the stream that this names, with or without its query."""
        name = values[1] if len(values) > 1 else None
        stream = name.partition("?")[0] if isinstance(name, str) else ""
        return self._leave_if(stream in ("", self._stream_name))

    def _leave_if(self, is_meant: bool) -> Events:
        """End what is published or played, if that is what is to be closed and not another stream."""
        return self._leave(ServerInput.CLOSE_STREAM) if is_meant else ()

    def _leave(self, given: ServerInput) -> Events:
        """Go to the state that follows, and end what was published or played till now."""
        before = self.state
        self._advance(given)
        if before is ServerState.PUBLISHING:
            self._status("status", "NetStream.Unpublish.Success", "unpublished")
            return (PublishEnded(),)
        return (PlayEnded(),) if before in (ServerState.PLAYING, ServerState.PLAY_ASKED) else ()

    def _pause(self, _: Message, transaction: float, values: list[Any]) -> Events:
        if not self._advance(ServerInput.CONTROL_PLAY):
            return ()
        is_paused = bool(len(values) > 1 and values[1])
        word = "Pause" if is_paused else "Unpause"
        self._status("status", f"NetStream.{word}.Notify", "paused" if is_paused else "goes on")
        return (Paused(is_paused),)

    def _seek(self, _: Message, transaction: float, values: list[Any]) -> Events:
        if self._advance(ServerInput.CONTROL_PLAY):
            self._status("status", "NetStream.Seek.Notify", "live: there is nothing to seek in")
        return ()

    _COMMANDS: ClassVar[dict[str, Callable[[ServerSession, Message, float, list[Any]], Events]]] = {
        "connect": _connect,
        "createStream": _create_stream,
        "publish": _publish,
        "play": _play,
        "seek": _seek,
        "getStreamLength": _stream_length,
        **dict.fromkeys(("pause", "pauseRaw"), _pause),
        "closeStream": _close_stream,
        "deleteStream": _delete_stream,
        "FCUnpublish": _unpublish,
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
