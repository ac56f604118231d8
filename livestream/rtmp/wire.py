"""What both ends of a session share: handshake, chunks in and out, acknowledgements and pings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import define, field

from livestream.rtmp import message_types as types
from livestream.rtmp import messages
from livestream.rtmp.amf0 import decode, encode
from livestream.rtmp.chunks import ALL_STEPS, MESSAGE_STEPS, ChunkLimits, ChunkReader, Message, split
from livestream.rtmp.errors import RemoteProtocolError
from livestream.rtmp.handshake import ClientHandshake, ServerHandshake

_AGGREGATED = (*types.MEDIA, types.DATA)
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
    _aggregated: Iterator[Message] | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._reader = ChunkReader(self.limits)

    @property
    def takes_media(self) -> bool:
        """Whether audio, video and data are read; if not, they are dropped as they come."""
        return self._reader.takes_media

    @takes_media.setter
    def takes_media(self, takes: bool) -> None:
        self._reader.takes_media = takes

    @property
    def steps(self) -> int:
        """How much work has been done with what was received."""
        return self._reader.steps

    @property
    def has_more(self) -> bool:
        """Whether there is more to read without any new bytes."""
        return self._aggregated is not None or self._reader.has_more

    @property
    def held_bytes(self) -> int:
        """What is held for the peer."""
        return self._reader.held_bytes

    def receive(self, data: bytes, steps: int = ALL_STEPS) -> list[Message]:
        """
        Take the peer's bytes and return its messages, those of flow control left out: they are obeyed here.

        The last may be of any kind, and those before it are audio and video. What is left after so many ``steps``, or
        after a message of another kind, is for the next call; see :attr:`has_more`.

        :raises RemoteProtocolError: the peer breaks the protocol or passes a limit.
        """
        self.received_bytes += len(data)
        if not self.handshake.done:
            self._out.append(self.handshake.receive(data))
            data, self.handshake.rest = self.handshake.rest, b""
        if self._aggregated is not None:
            self._reader.receive(data, 0)
            return self._disaggregated(steps)
        received = self._reader.receive(data, steps)
        if received and received[-1].type_id not in types.MEDIA:
            received += self._obeyed(received.pop(), steps)
        if self.received_bytes - self._acknowledged >= self._ack_bytes:
            self._acknowledged = self.received_bytes
            self.send(messages.control(types.ACKNOWLEDGEMENT, self.received_bytes & 0xFFFFFFFF))
        return received

    def _obeyed(self, message: Message, steps: int) -> list[Message]:
        """What a message is to those above: nothing, if it is of flow control."""
        if message.type_id == types.WINDOW_ACK_SIZE:
            self._ack_bytes = min(max(int.from_bytes(message.body[:4], "big"), LEAST_ACK_BYTES), ACK_BYTES)
        elif message.type_id == types.AGGREGATE:
            self._aggregated = messages.sub_messages(message)
            return self._disaggregated(steps)
        elif message.type_id not in (types.ACKNOWLEDGEMENT, types.SET_PEER_BANDWIDTH):
            return [message]
        return []

    def _disaggregated(self, steps: int) -> list[Message]:
        """Messages of an aggregate one, up to the first that is neither audio nor video."""
        taken: list[Message] = []
        last_step = self.steps + steps
        for message in self._aggregated or ():
            self._reader.steps += 1
            if message.body and message.type_id in _AGGREGATED:
                self._reader.steps += MESSAGE_STEPS
                taken.append(message)
            if self.steps >= last_step or (taken and taken[-1].type_id not in types.MEDIA):
                return taken
        self._aggregated = None
        return taken

    def clear(self) -> None:
        """Hold nothing any more: the peer is gone."""
        self._reader.clear()
        self._aggregated = None
        self._out.clear()

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
        self.send(Message(types.COMMAND, stream_id, 0, encode(*values)), csid)

    def data_to_send(self) -> bytes:
        """The bytes that the peer is owed now."""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        return data


def are_media(received: list[Message]) -> bool:
    """Whether all that was received at once is audio and video, as nearly all is that a peer sends."""
    return not received or received[-1].type_id in types.MEDIA


def values_of(message: Message) -> list[Any]:
    """
    The values of a command or of a data message, of which those of type 15 and 17 may have a zero byte first.

    :raises RemoteProtocolError: they are not AMF0.
    """
    body = message.body
    if message.type_id in (types.DATA_AMF3, types.COMMAND_AMF3) and body[:1] == b"\x00":
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
