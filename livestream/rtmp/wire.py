"""What both ends of a session share: handshake, chunks in and out, acknowledgements and pings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import define, field

from livestream.rtmp import message_types as types
from livestream.rtmp import messages
from livestream.rtmp.amf0 import decode, encode
from livestream.rtmp.chunks import (
    ALL_STEPS,
    DEFAULT_CHUNK_BYTES,
    MESSAGE_STEPS,
    ChunkLimits,
    ChunkReader,
    Message,
    split,
)
from livestream.rtmp.errors import RemoteProtocolError
from livestream.rtmp.handshake import ClientHandshake, ServerHandshake

_AGGREGATED = (*types.MEDIA, types.DATA)
ACK_BYTES = 1 << 20
"""The most bytes between two acknowledgements, whatever window the peer asks for."""
LEAST_ACK_BYTES = 1 << 16
"""The fewest bytes between two: a window of one byte must not have us answer every byte."""


@define(eq=False)
class Wire:
    """The bytes of one connection: messages out of those received, and those to send out of messages."""

    handshake: ServerHandshake | ClientHandshake
    limits: ChunkLimits = field(factory=ChunkLimits)
    reader: ChunkReader = field(init=False)
    chunk_bytes: int = field(default=DEFAULT_CHUNK_BYTES, init=False)
    received_bytes: int = field(default=0, init=False)
    _out: list[bytes] = field(factory=list, init=False)
    _ack_bytes: int = field(default=ACK_BYTES, init=False)
    _acknowledged: int = field(default=0, init=False)
    _aggregated: Iterator[Message] | None = field(default=None, init=False)
    _next: Message | None = field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self.reader = ChunkReader(self.limits)

    @property
    def has_more(self) -> bool:
        """Whether there is more to read without any new bytes."""
        return self._next is not None or self._aggregated is not None or self.reader.has_more

    @property
    def held_bytes(self) -> int:
        """The memory held for the peer."""
        return self.reader.held_bytes + (0 if self._next is None else len(self._next.body))

    def receive(self, data: bytes, steps: int = ALL_STEPS) -> list[Message]:
        """
        Take the peer's bytes and return its next messages: a run of audio and video, or one message of another kind.

        Those of flow control are obeyed here and left out. The rest is for the next call, as is what is left after so
        many ``steps``; see :attr:`has_more`.

        :raises RemoteProtocolError: the peer breaks the protocol or passes a limit.
        """
        self.received_bytes += len(data)
        if not self.handshake.done:
            self._out.append(self.handshake.receive(data))
            data, self.handshake.rest = self.handshake.rest, b""
        if self._next is not None or self._aggregated is not None:
            self.reader.receive(data, 0)
            return self._left_over(steps)
        received = self.reader.receive(data, steps)
        if received and received[-1].type_id not in types.MEDIA:
            received += self._obey(received.pop(), steps)
            received = self._split_off_other(received)
        if self.received_bytes - self._acknowledged >= self._ack_bytes:
            self._acknowledged = self.received_bytes
            self.send(messages.control(types.ACKNOWLEDGEMENT, self.received_bytes & 0xFFFFFFFF))
        return received

    def _left_over(self, steps: int) -> list[Message]:
        """The next of the messages that the chunk reader has given already."""
        message, self._next = self._next, None
        return self._split_off_other(self._disaggregate(steps)) if message is None else [message]

    def _split_off_other(self, received: list[Message]) -> list[Message]:
        """Keep a message of another kind for the next call if audio or video comes before it."""
        if len(received) > 1 and received[-1].type_id not in types.MEDIA:
            self._next = received.pop()
        return received

    def _obey(self, message: Message, steps: int) -> list[Message]:
        """Obey a message of flow control, or return what a message is to the session."""
        if message.type_id == types.WINDOW_ACK_SIZE:
            self._ack_bytes = min(max(int.from_bytes(message.body[:4], "big"), LEAST_ACK_BYTES), ACK_BYTES)
        elif message.type_id == types.AGGREGATE:
            self._aggregated = messages.sub_messages(message)
            return self._disaggregate(steps)
        elif message.type_id not in (types.ACKNOWLEDGEMENT, types.SET_PEER_BANDWIDTH):
            return [message]
        return []

    def _disaggregate(self, steps: int) -> list[Message]:
        """Messages of an aggregate one, up to the first that is neither audio nor video."""
        taken: list[Message] = []
        last_step = self.reader.steps + steps
        for message in self._aggregated or ():
            self.reader.steps += 1
            if message.body and message.type_id in _AGGREGATED:
                self.reader.steps += MESSAGE_STEPS
                taken.append(message)
            if self.reader.steps >= last_step or (taken and taken[-1].type_id not in types.MEDIA):
                return taken
        self._aggregated = None
        return taken

    def clear(self) -> None:
        """Release all memory: the peer is gone."""
        self.reader.clear()
        self._aggregated = self._next = None
        self._out.clear()

    def send(self, message: Message, csid: int = messages.CONTROL_CSID) -> None:
        """Queue a message."""
        self._out += split(message, csid, self.chunk_bytes)

    def send_raw(self, data: bytes) -> None:
        """Queue bytes that are not chunks."""
        self._out.append(data)

    def set_chunk_size(self, chunk_bytes: int) -> None:
        """Announce the size of our chunks, and keep to it."""
        self.send(messages.set_chunk_size(chunk_bytes))
        self.chunk_bytes = chunk_bytes

    def command(self, stream_id: int, *values: Any) -> None:
        """Queue a command."""
        csid = messages.STATUS_CSID if stream_id else messages.COMMAND_CSID
        self.send(Message(types.COMMAND, stream_id, 0, encode(*values)), csid)

    def data_to_send(self) -> bytes:
        """The bytes to send now."""
        if not self._out:
            return b""
        data = b"".join(self._out)
        self._out.clear()
        return data


def decode_values(message: Message) -> list[Any]:
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


def user_control_event(message: Message) -> tuple[int, int]:
    """The event and first number of a user control message; (-1, 0) for one that is cut short."""
    if len(message.body) < 6:
        return -1, 0
    return int.from_bytes(message.body[:2], "big"), int.from_bytes(message.body[2:6], "big")
