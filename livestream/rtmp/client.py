"""The client's end of an RTMP session, without I/O: it publishes one stream, or plays one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from attrs import define, field

from livestream.rtmp import message_types as types
from livestream.rtmp import messages
from livestream.rtmp.chunks import ChunkLimits, Message
from livestream.rtmp.events import Answered, ClientEvent, DataReceived, PeerRefused, Started, StreamEnded
from livestream.rtmp.handshake import ClientHandshake
from livestream.rtmp.wire import Wire, are_media, ping_time, values_of

CHUNK_BYTES = 65_536
CONNECT, CREATE_STREAM = 1, 2
AUDIO_CSID, VIDEO_CSID = 4, 6


@define(eq=False)
class ClientSession:
    """
    Connects to ``app`` and publishes, or else plays, ``name`` (with its query).

    The bytes to write first are those of :meth:`data_to_send` right after construction.
    """

    nonce: bytes
    app: str
    tc_url: str
    name: str
    publishes: bool = False
    limits: ChunkLimits = field(factory=ChunkLimits)
    _wire: Wire = field(init=False)
    _stream_id: int = field(default=0, init=False)
    _connected: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        handshake = ClientHandshake(self.nonce)
        self._wire = Wire(handshake, self.limits)
        self._wire.send_raw(handshake.hello())

    def receive_data(self, data: bytes) -> Iterable[ClientEvent]:
        """
        Take bytes and give what they mean.

        :raises RemoteProtocolError: the server breaks the protocol or passes a limit; now, or among the events.
        """
        received = self._wire.receive(data)
        if self._connected and are_media(received) and not self._wire.has_more:
            return received
        return self._events(received)

    def _events(self, received: list[Message]) -> Iterator[ClientEvent]:
        while True:
            for message in received:
                yield from self._event(message)
            if not self._wire.has_more:
                break
            received = self._wire.receive(b"")
        if self._wire.handshake.done and not self._connected:
            self._connected = True
            self._wire.set_chunk_size(CHUNK_BYTES)
            asked = {"app": self.app, "type": "nonprivate", "flashVer": "livestream", "tcUrl": self.tc_url}
            self._wire.command(0, "connect", CONNECT, asked)

    def _event(self, message: Message) -> Iterator[ClientEvent]:
        if message.type_id in types.MEDIA:
            yield message
        elif message.type_id in types.PUBLISHED:
            name, *values = values_of(message)
            yield DataReceived(message.timestamp_ms, name, values)
        elif message.type_id in types.COMMANDS:
            yield from self._command(values_of(message))
        elif message.type_id == types.USER_CONTROL:
            yield from self._user_control(message)

    def data_to_send(self) -> bytes:
        """The bytes that the server is owed now."""
        return self._wire.data_to_send()

    def send_media(self, type_id: int, timestamp_ms: int, body: bytes) -> None:
        """Have audio (8), video (9) or data (18) sent, once our publish has started."""
        csid = VIDEO_CSID if type_id == types.VIDEO else AUDIO_CSID
        self._wire.send(Message(type_id, self._stream_id, timestamp_ms & 0xFFFFFFFF, body), csid)

    def ping(self, time_ms: int) -> None:
        """Ask the server for a sign of life."""
        self._wire.send(messages.user_control(messages.PING_REQUEST, time_ms & 0xFFFFFFFF))

    def _user_control(self, message: Message) -> Iterator[ClientEvent]:
        event, value = ping_time(message)
        if event == messages.PING_REQUEST:
            self._wire.send(messages.user_control(messages.PING_RESPONSE, value))
        elif event == messages.PING_RESPONSE:
            yield Answered()
        elif event == messages.STREAM_EOF:
            yield StreamEnded()

    def _command(self, values: list[Any]) -> Iterator[ClientEvent]:
        name, transaction = values[0], values[1] if len(values) > 1 else 0
        info = values[3] if len(values) > 3 else None
        if name == "_result" and transaction == CONNECT:
            self._wire.command(0, "createStream", CREATE_STREAM, None)
        elif name == "_result" and transaction == CREATE_STREAM:
            self._stream_id = int(info) if isinstance(info, float) and 0 < info < 1 << 31 else 1
            if self.publishes:
                self._wire.command(self._stream_id, "publish", 0, None, self.name, "live")
            else:
                self._wire.command(self._stream_id, "play", 0, None, self.name, -1000)
        elif name == "_error":
            yield _refusal(info)
        elif name == "onStatus" and isinstance(info, dict):
            yield from self._status(info)

    def _status(self, info: dict[str, Any]) -> Iterator[ClientEvent]:
        code = info.get("code")
        if info.get("level") == "error":
            yield _refusal(info)
        elif code in ("NetStream.Publish.Start", "NetStream.Play.Start"):
            yield Started()


def _refusal(info: object) -> PeerRefused:
    fields = info if isinstance(info, dict) else {}
    return PeerRefused(str(fields.get("code", "")), str(fields.get("description", "")))
