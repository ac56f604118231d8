"""The client's end of an RTMP session, without I/O: it publishes one stream, or plays one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define, field

from livestream.rtmp import message_types as types
from livestream.rtmp import messages
from livestream.rtmp.chunks import ChunkLimits, Message
from livestream.rtmp.errors import LocalProtocolError, RemoteProtocolError, RtmpError
from livestream.rtmp.events import ClientEvent, DataReceived, PeerRefused, PingAnswered, Started, StreamEnded
from livestream.rtmp.handshake import ClientHandshake
from livestream.rtmp.states import CLIENT_TRANSITIONS, ClientInput, ClientState, Outcome
from livestream.rtmp.wire import Wire, decode_values, user_control_event

CHUNK_BYTES = 65_536
CONNECT, CREATE_STREAM = 1, 2
_STARTED = ClientState.STARTED

Events = Sequence[ClientEvent]


@define(eq=False)
class ClientSession:
    """
    Connects to ``app`` and publishes, or else plays, ``name`` (with its query).

    The bytes to write first are those of :meth:`data_to_send` right after construction. What is allowed in which
    ``state`` is in `livestream.rtmp.states`.
    """

    nonce: bytes
    app: str
    tc_url: str
    name: str
    publishes: bool = False
    limits: ChunkLimits = field(factory=ChunkLimits)
    state: ClientState = field(default=ClientState.CONNECTING, init=False)
    _wire: Wire = field(init=False)
    _stream_id: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        handshake = ClientHandshake(self.nonce)
        self._wire = Wire(handshake, self.limits)
        self._wire.send_raw(handshake.hello())

    def receive_data(self, data: bytes) -> Sequence[ClientEvent]:
        """
        Take bytes and return all their events, oldest first.

        :raises RemoteProtocolError: the server breaks the protocol or passes a limit. The events of the same bytes are
            lost, and the session is over.
        """
        wire = self._wire
        is_new = not wire.handshake.done
        received = wire.receive(data)
        if is_new and wire.handshake.done:
            self._connect()
        events: list[ClientEvent] = []
        while True:
            if self.state is _STARTED and received and received[0].type_id in types.MEDIA:
                events += received
            else:
                for message in received:
                    events += self._message(message)
            if not wire.has_more:
                return events
            received = wire.receive(b"")

    def _connect(self) -> None:
        self._wire.set_chunk_size(CHUNK_BYTES)
        asked = {"app": self.app, "type": "nonprivate", "flashVer": "livestream", "tcUrl": self.tc_url}
        self._wire.command(0, "connect", CONNECT, asked)

    def _advance(self, given: ClientInput, fault: type[RtmpError] = RemoteProtocolError) -> bool:
        """
        Go to the state that follows; return whether the input means anything in this one.

        :raises RtmpError: it is not allowed: the ``fault`` is the server's, or our own.
        """
        to = CLIENT_TRANSITIONS[self.state, given]
        if to is Outcome.REFUSED:
            raise fault(f"{given.value} is not allowed {self.state.value}")
        if not isinstance(to, ClientState):
            return False
        self.state = to
        return True

    def _message(self, message: Message) -> Events:
        if message.type_id in types.PUBLISHED:
            return self._media(message)
        if message.type_id in types.COMMANDS:
            return self._command(decode_values(message))
        return self._user_control(message) if message.type_id == types.USER_CONTROL else ()

    def _media(self, message: Message) -> Events:
        if not self._advance(ClientInput.MEDIA):
            return ()
        if message.type_id in types.MEDIA:
            return (message,)
        name, *values = decode_values(message)
        return (DataReceived(message.timestamp_ms, name, values),)

    def data_to_send(self) -> bytes:
        """The bytes to send now."""
        return self._wire.data_to_send()

    def send_media(self, type_id: int, timestamp_ms: int, body: bytes) -> None:
        """
        Have audio (8), video (9) or data (18) sent.

        :raises LocalProtocolError: our publish has not started.
        """
        self._advance(ClientInput.SEND_MEDIA, LocalProtocolError)
        csid = messages.VIDEO_CSID if type_id == types.VIDEO else messages.AUDIO_CSID
        self._wire.send(Message(type_id, self._stream_id, timestamp_ms & 0xFFFFFFFF, body), csid)

    def ping(self, time_ms: int) -> None:
        """Send a ping, which the server answers."""
        self._wire.send(messages.user_control(messages.PING_REQUEST, time_ms & 0xFFFFFFFF))

    def _user_control(self, message: Message) -> Events:
        event, value = user_control_event(message)
        if event == messages.PING_REQUEST:
            self._wire.send(messages.user_control(messages.PING_RESPONSE, value))
        elif event == messages.PING_RESPONSE:
            return (PingAnswered(),)
        elif event == messages.STREAM_EOF and self._advance(ClientInput.END_OF_STREAM):
            return (StreamEnded(),)
        return ()

    def _command(self, values: list[Any]) -> Events:
        name, transaction = values[0], values[1] if len(values) > 1 else 0
        info = values[3] if len(values) > 3 else None
        if name == "_result":
            self._result(transaction, info)
        elif name == "_error":
            return self._refused(info)
        elif name == "onStatus" and isinstance(info, dict):
            return self._status(info)
        return ()

    def _result(self, transaction: object, info: object) -> None:
        if transaction == CONNECT and self._advance(ClientInput.CONNECT_RESULT):
            self._wire.command(0, "createStream", CREATE_STREAM, None)
        elif transaction == CREATE_STREAM and self._advance(ClientInput.STREAM_RESULT):
            self._stream_id = int(info) if isinstance(info, float) and 0 < info < 1 << 31 else 1
            if self.publishes:
                self._wire.command(self._stream_id, "publish", 0, None, self.name, "live")
            else:
                self._wire.command(self._stream_id, "play", 0, None, self.name, -1000)

    def _status(self, info: dict[str, Any]) -> Events:
        if info.get("level") == "error":
            return self._refused(info)
        is_start = info.get("code") in ("NetStream.Publish.Start", "NetStream.Play.Start")
        return (Started(),) if is_start and self._advance(ClientInput.START) else ()

    def _refused(self, info: object) -> Events:
        if not self._advance(ClientInput.ERROR):
            return ()
        fields = info if isinstance(info, dict) else {}
        return (PeerRefused(str(fields.get("code", "")), str(fields.get("description", ""))),)
