"""What both ends of a session share: handshake, chunks in and out, acknowledgements and pings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from attrs import define, field

from livestream.rtmp import messages
from livestream.rtmp.amf0 import decode, encode
from livestream.rtmp.chunks import ChunkLimits, ChunkReader, Message, split
from livestream.rtmp.errors import RemoteProtocolError
from livestream.rtmp.handshake import ClientHandshake, ServerHandshake

_MEDIA = (messages.AUDIO, messages.VIDEO)
ACK_BYTES = 1 << 20
"""We acknowledge this often at the latest, whatever window the peer wants."""
LEAST_ACK_BYTES = 1 << 16
"""And no more often than this: a window of one byte must not make us answer every one."""


@define(eq=False)
class Wire:
    """The bytes of one connection: messages out of those received, and those to send out of messages."""

    handshake: ServerHandshake | ClientHandshake
    limits: ChunkLimits = field(factory=ChunkLimits)
    chunk_bytes: int = field(default=128, init=False)
    received_bytes: int = field(default=0, init=False)
    _reader: ChunkReader = field(init=False)
    _out: list[bytes] = field(factory=list, init=False)
    _ack_bytes: int = field(default=ACK_BYTES, init=False)
    _acknowledged: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self._reader = ChunkReader(self.limits)

    def receive(self, data: bytes) -> list[Message]:
        """
        Take the peer's bytes and return its messages, those of flow control left out: they are obeyed here.

        :raises RemoteProtocolError: the peer breaks the protocol or passes a limit.
        """
        self.received_bytes += len(data)
        if not self.handshake.done:
            self._out.append(self.handshake.receive(data))
            if not self.handshake.done:
                return []
            data = self.handshake.rest
        received = self._reader.receive(data)
        if not are_media(received):
            received = list(self._obeyed(received))
        if self.received_bytes - self._acknowledged >= self._ack_bytes:
            self._acknowledged = self.received_bytes
            self.send(messages.control(messages.ACKNOWLEDGEMENT, self.received_bytes & 0xFFFFFFFF))
        return received

    def _obeyed(self, received: list[Message]) -> Iterator[Message]:
        for message in received:
            if message.type_id == messages.WINDOW_ACK_SIZE:
                self._ack_bytes = min(max(int.from_bytes(message.body[:4], "big"), LEAST_ACK_BYTES), ACK_BYTES)
            elif message.type_id == messages.AGGREGATE:
                yield from messages.sub_messages(message)
            elif message.type_id not in (messages.ACKNOWLEDGEMENT, messages.SET_PEER_BANDWIDTH):
                yield message

    def send(self, message: Message, csid: int = messages.CONTROL_CSID) -> None:
        """Have a message sent."""
        self._out += split(message, csid, self.chunk_bytes)

    def send_raw(self, data: bytes) -> None:
        """Have bytes sent that are no chunks."""
        self._out.append(data)

    def set_chunk_size(self, chunk_bytes: int) -> None:
        """Announce the size of our chunks, and keep to it."""
        self.send(messages.set_chunk_size(chunk_bytes))
        self.chunk_bytes = chunk_bytes

    def command(self, stream_id: int, *values: Any) -> None:
        """Have a command sent."""
        csid = messages.STATUS_CSID if stream_id else messages.COMMAND_CSID
        self.send(Message(messages.COMMAND, stream_id, 0, encode(*values)), csid)

    def data_to_send(self) -> bytes:
        """The bytes that the peer is owed now."""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        return data


def are_media(received: Sequence[Message]) -> bool:
    """Whether all of these are audio and video that is not empty, as nearly all are that a peer sends."""
    for message in received:  # noqa: SIM110 -- all() takes twice as long
        if message.type_id not in _MEDIA or not message.body:
            return False
    return True


def values_of(message: Message) -> list[Any]:
    """
    The values of a command or of a data message, of which those of type 15 and 17 may have a zero byte first.

    :raises RemoteProtocolError: they are not AMF0.
    """
    body = message.body
    if message.type_id in (messages.DATA_AMF3, messages.COMMAND_AMF3) and body[:1] == b"\x00":
        body = body[1:]
    values = decode(body)
    if not values or not isinstance(values[0], str):
        raise RemoteProtocolError("a command without a name")
    return values


def ping_time(message: Message) -> tuple[int, int]:
    """The event and first number of a user control message; (-1, 0) for one that is cut short."""
    if len(message.body) < 6:
        return -1, 0
    return int.from_bytes(message.body[:2], "big"), int.from_bytes(message.body[2:6], "big")
