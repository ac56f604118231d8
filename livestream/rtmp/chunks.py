"""
The chunk stream (RTMP specification 1.0, 5.3): messages cut into chunks, and put together again.

A message takes memory for the bytes that have been received, never for the length that was announced, and not for each
chunk either. Messages that are not wanted of a peer are dropped as their bytes are received.

The work of reading is counted in steps, roughly a chunk each, so that a caller can bound what it does at once for one
peer, and what a peer may cause over time.
"""

from __future__ import annotations

from struct import Struct

from attrs import define, field, frozen

from livestream.rtmp.errors import RemoteProtocolError
from livestream.rtmp.message_types import (
    ABORT,
    AGGREGATE,
    COMMANDS,
    CONTROL,
    MEDIA,
    PUBLISHED,
    SET_CHUNK_SIZE,
)

DEFAULT_CHUNK_BYTES = 128
LARGEST_CHUNK_BYTES = 0xFFFFFF
EXTENDED = 0xFFFFFF
RUN_CHUNKS = 256
"""The most chunks of one message that are joined at once."""
RUN_STEPS = 3
"""The steps of such a run, however short its chunks are; any other chunk is one step."""
IN_FLIGHT_BYTES = 1 << 20
"""The most bytes of unfinished messages, beside one message of the largest length."""
MESSAGE_STEPS = 16
"""The steps of a whole message, beside those of its chunks: its receiver has work with it."""
STEP_BYTES = 512
"""The bytes of a message that are one more step: they are copied, hashed and stored."""
VALUE_BYTES = 2
"""The bytes of a command or of data that are one more step: each two of them may be a value."""
ALL_STEPS = 1 << 62
"""As many steps as there is work for."""
STREAM_BYTES = 512
"""The memory of a chunk stream's state, beside the bytes that it holds."""

LONGEST_HEADER = 12
_read_two = Struct(">II").unpack_from
"""Of a chunk whose basic header has one byte: that byte and the timestamp, and then the length and the type."""
_read_stream_id = Struct("<I").unpack_from


@define
class Message:
    """
    One RTMP message; ``timestamp_ms`` is modulo 2^32.

    Treat it as immutable. It is not frozen, because a frozen one takes three times as long to construct.
    """

    type_id: int
    stream_id: int
    timestamp_ms: int
    body: bytes


@frozen
class ChunkLimits:
    """What a reader accepts from an untrusted peer."""

    message_bytes: int = 8 << 20
    command_bytes: int = 64 << 10
    chunk_streams: int = 64


@define(eq=False)
class _ChunkStream:
    """The last header of a chunk stream, and the message that it is part of."""

    type_id: int = 0
    stream_id: int = 0
    length: int = 0
    timestamp_ms: int = 0
    delta_ms: int = 0
    extended: bytes = b""
    following: bytes = b""
    """The type 3 header, if it has one byte only."""
    body: bytearray | None = None
    """What has been received of an unfinished message; ``None`` if nothing has, or it is dropped."""
    missing: int = 0
    is_dropped: bool = False


@define(eq=False)
class ChunkReader:
    """
    Reads messages from a peer's bytes, and obeys the peer's Set Chunk Size and Abort itself.

    Empty messages mean nothing and are left out. While ``takes_media`` is false only control messages and commands are
    read, and others are dropped. ``steps`` counts the work that has been done.
    """

    limits: ChunkLimits = field(factory=ChunkLimits)
    chunk_bytes: int = field(default=DEFAULT_CHUNK_BYTES, init=False)
    takes_media: bool = field(default=True, init=False)
    steps: int = field(default=0, init=False)
    _streams: dict[int, _ChunkStream] = field(factory=dict, init=False)
    _data: bytes = field(default=b"", init=False)
    _at: int = field(default=0, init=False)
    _is_cut: bool = field(default=False, init=False)
    _current: _ChunkStream | None = field(default=None, init=False)
    _chunk_missing: int = field(default=0, init=False)
    _in_flight: int = field(default=0, init=False)

    @property
    def has_more(self) -> bool:
        """Whether there is more to read without any new bytes."""
        return self._at < len(self._data) and not self._is_cut

    @property
    def held_bytes(self) -> int:
        """The memory held for the peer: bytes not read yet, unfinished messages, and the chunk streams' state."""
        return len(self._data) + self._in_flight + STREAM_BYTES * len(self._streams)

    def receive(self, data: bytes, steps: int = ALL_STEPS) -> list[Message]:
        """
        Take bytes and return messages that they complete, up to the first that is neither audio nor video.

        After so many ``steps`` the rest is left for the next call, as it is after such a message; see :attr:`has_more`.

        :raises RemoteProtocolError: a chunk that breaks the rules, or a limit.
        """
        at = 0
        if self._data:
            at = self._at
            if data:
                data, at = self._data[at:] + data, 0
            else:
                data = self._data
        messages: list[Message] = []
        size, last_step = len(data), self.steps + steps
        self._is_cut = False
        while at < size and self.steps < last_step and not self._is_cut:
            if self._current is None and self.takes_media:
                at = self._take_whole(data, at, messages, last_step)
                if at == size or self.steps >= last_step:
                    break
            at = self._take_chunk(data, at, messages, last_step)
            if messages and messages[-1].type_id not in MEDIA:
                break
        self._data, self._at = (data, at) if at < size else (b"", 0)
        return messages

    def clear(self) -> None:
        """Release all memory: the peer is gone."""
        self._streams.clear()
        self._data, self._at, self._current, self._in_flight = b"", 0, None, 0

    def _take_whole(self, data: bytes, at: int, messages: list[Message], last_step: int) -> int:
        """
        Read audio and video as long as each message is complete, in ordinary chunks that no other chunk interrupts.

        Anything else is left to :meth:`_take_chunk`, with the reader unchanged. Return where that begins.
        """
        streams, chunk_bytes, most, size = self._streams, self.chunk_bytes, self.limits.message_bytes, len(data)
        left = last_step - self.steps
        while at + LONGEST_HEADER <= size and left > 0:
            first, second = _read_two(data, at)
            stream = streams.get(first >> 24 & 63)
            if stream is None or stream.missing or stream.extended:
                break
            kind, delta_ms, length, type_id = first >> 30, first & 0xFFFFFF, second >> 8, second & 0xFF
            if kind > 1:
                length, type_id = stream.length, stream.type_id
                if kind == 3:
                    delta_ms = stream.delta_ms
            begin = at + (12, 8, 4, 1)[kind]
            more_chunks = 0 if length <= chunk_bytes else (length - 1) // chunk_bytes
            end = begin + length + more_chunks
            is_media = type_id in MEDIA and length
            if end > size or delta_ms == EXTENDED or length > most or not is_media or more_chunks > RUN_CHUNKS:
                break
            body = _joined(data, begin, end, chunk_bytes, stream.following) if more_chunks else data[begin:end]
            if len(body) != length:
                break
            if kind == 0:
                stream.timestamp_ms = delta_ms
                (stream.stream_id,) = _read_stream_id(data, at + 8)
            else:
                stream.timestamp_ms = (stream.timestamp_ms + delta_ms) & 0xFFFFFFFF
            stream.delta_ms, stream.length, stream.type_id = delta_ms, length, type_id
            messages.append(Message(type_id, stream.stream_id, stream.timestamp_ms, body))
            left -= MESSAGE_STEPS + length // STEP_BYTES
            at = end
        self.steps = last_step - left
        return at

    def _take_chunk(self, data: bytes, at: int, messages: list[Message], last_step: int) -> int:
        """Read one chunk of any kind, or what there is of it, and the chunks of its message right behind it."""
        self.steps += 1
        stream = self._current
        if stream is None:
            begun = self._begin_chunk(data, at)
            if begun is None:
                self._is_cut = True
                return at
            stream, at = begun
        take = min(self._chunk_missing, len(data) - at)
        if take:
            if not stream.is_dropped:
                self._hold(stream, data[at : at + take])
            stream.missing -= take
            at += take
            self._chunk_missing -= take
        if self._chunk_missing:
            self._current = stream
            return at
        self._current = None
        if stream.missing:
            at = self._take_run(stream, data, at, last_step)
        if not stream.missing:
            self._complete(stream, messages)
        return at

    def _take_run(self, stream: _ChunkStream, data: bytes, at: int, last_step: int) -> int:
        """Read whole chunks of this message, many at once; return where the rest begins."""
        stride = self.chunk_bytes + 1
        while self.steps < last_step and not stream.extended and data.startswith(stream.following, at):
            self.steps += RUN_STEPS
            count = min(stream.missing // self.chunk_bytes, (len(data) - at) // stride, RUN_CHUNKS)
            headers = data[at : at + count * stride : stride]
            count -= len(headers.lstrip(stream.following))
            if not count:
                break
            if not stream.is_dropped:
                run = bytearray(data[at : at + count * stride])
                del run[::stride]
                self._hold(stream, run)
            stream.missing -= count * self.chunk_bytes
            at += count * stride
        return at

    def _hold(self, stream: _ChunkStream, part: bytes | bytearray) -> None:
        """Store a part of a message that may be unfinished."""
        if stream.body is None:
            stream.body = bytearray(part)
        else:
            stream.body += part
        self._in_flight += len(part)
        if self._in_flight > self.limits.message_bytes + IN_FLIGHT_BYTES:
            raise RemoteProtocolError("too many unfinished messages at once", "unfinished_bytes")

    def _complete(self, stream: _ChunkStream, messages: list[Message]) -> None:
        """Append a whole message to ``messages``, unless it is empty or dropped; obey those of the chunk stream."""
        body = b"" if stream.body is None else bytes(stream.body)
        stream.body = None
        self._in_flight -= len(body)
        if stream.type_id == SET_CHUNK_SIZE:
            self._set_chunk_size(body)
        elif stream.type_id == ABORT:
            self._abort(body)
        elif body:
            self.steps += MESSAGE_STEPS + len(body) // STEP_BYTES
            if stream.type_id not in MEDIA and stream.type_id != AGGREGATE:
                self.steps += len(body) // VALUE_BYTES
            messages.append(Message(stream.type_id, stream.stream_id, stream.timestamp_ms, body))

    def _begin_chunk(self, data: bytes, at: int) -> tuple[_ChunkStream, int] | None:
        """Read a chunk's header: its stream and where its data begins, or ``None`` while the header is cut short."""
        kind = data[at] >> 6
        csid = data[at] & 63
        at += 1
        if csid < 2:
            if len(data) < at + 1 + csid:
                return None
            csid, at = int.from_bytes(data[at : at + 1 + csid], "little") + 64, at + 1 + csid
        end = at + (11, 7, 3, 0)[kind]
        if len(data) < end:
            return None
        stream = self._streams.get(csid)
        if stream is None:
            stream = self._new_stream(kind, csid)
        end = self._repeat_extended(stream, data, end) if kind == 3 else self._read_header(stream, kind, data, at, end)
        if end < 0:
            return None
        self._streams[csid] = stream
        if not stream.missing:
            self._begin_message(stream)
        self._chunk_missing = min(stream.missing, self.chunk_bytes)
        return stream, end

    def _new_stream(self, kind: int, csid: int) -> _ChunkStream:
        if kind > 1:
            raise RemoteProtocolError("a chunk stream that begins without a header")
        if len(self._streams) >= self.limits.chunk_streams:
            raise RemoteProtocolError(f"more than {self.limits.chunk_streams} chunk streams", "chunk_streams")
        return _ChunkStream(following=bytes([0xC0 | csid]) if csid < 64 else b"")

    def _read_header(self, stream: _ChunkStream, kind: int, data: bytes, at: int, end: int) -> int:
        """Read a header of type 0, 1 or 2; return where the chunk's data begins, or -1 when it is cut short."""
        delta_ms = int.from_bytes(data[at : at + 3], "big")
        extended = b""
        if delta_ms == EXTENDED:
            extended = data[end : end + 4]
            end += 4
            if len(extended) < 4:
                return -1
            delta_ms = int.from_bytes(extended, "big")
        length = int.from_bytes(data[at + 3 : at + 6], "big") if kind < 2 else stream.length
        if stream.missing and (kind == 0 or length != stream.length):
            raise RemoteProtocolError("a new message inside an unfinished one")
        if stream.missing:
            return end
        stream.extended, stream.delta_ms, stream.length = extended, delta_ms, length
        if kind == 0:
            stream.timestamp_ms = 0
            stream.stream_id = int.from_bytes(data[at + 7 : at + 11], "little")
        if kind < 2:
            stream.type_id = data[at + 6]
        return end

    def _repeat_extended(self, stream: _ChunkStream, data: bytes, end: int) -> int:
        """Skip the extended timestamp of a type 3 header if it is there: encoders disagree on whether to repeat it."""
        if not stream.extended:
            return end
        repeated = data[end : end + 4]
        if len(repeated) < 4 and stream.extended.startswith(repeated):
            return -1
        return end + 4 if repeated == stream.extended else end

    def _begin_message(self, stream: _ChunkStream) -> None:
        type_id = stream.type_id
        is_published = self.takes_media and type_id in PUBLISHED
        stream.is_dropped = not is_published and type_id not in CONTROL and type_id not in COMMANDS
        is_media = type_id in MEDIA or type_id == AGGREGATE
        limit = self.limits.message_bytes if is_media else self.limits.command_bytes
        if stream.length > limit and not stream.is_dropped:
            reason = f"a message of type {stream.type_id} with {stream.length} bytes"
            raise RemoteProtocolError(reason, "message_bytes")
        stream.timestamp_ms = (stream.timestamp_ms + stream.delta_ms) & 0xFFFFFFFF
        stream.missing = stream.length

    def _set_chunk_size(self, body: bytes) -> None:
        chunk_bytes = int.from_bytes(body[:4], "big")
        if len(body) < 4 or not 0 < chunk_bytes < 1 << 31:
            raise RemoteProtocolError(f"a chunk size of {chunk_bytes}")
        self.chunk_bytes = min(chunk_bytes, LARGEST_CHUNK_BYTES)

    def _abort(self, body: bytes) -> None:
        if len(body) < 4:
            raise RemoteProtocolError("an Abort message that is cut short")
        stream = self._streams.get(int.from_bytes(body[:4], "big"))
        if stream is not None:
            self._in_flight -= len(stream.body or b"")
            stream.body, stream.missing = None, 0


def _joined(data: bytes, begin: int, end: int, chunk_bytes: int, header: bytes) -> bytes:
    """The body of chunks of which all but the first begin with that header of one byte; empty if one does not."""
    if data[begin + chunk_bytes : end : chunk_bytes + 1].strip(header):
        return b""
    body = bytearray(data[begin:end])
    del body[chunk_bytes :: chunk_bytes + 1]
    return bytes(body)


def split(message: Message, csid: int, chunk_bytes: int) -> list[bytes]:
    """
    The chunks of a message: a full (type 0) header, then type 3 headers; nothing depends on what was sent before.

    An extended timestamp is repeated in every chunk, as most players expect. ``csid`` is from 2 to 63.
    """
    time = message.timestamp_ms & 0xFFFFFFFF
    extended = time.to_bytes(4, "big") if time >= EXTENDED else b""
    body = message.body
    head = b"%c%b%b%c%b%b" % (
        csid,
        min(time, EXTENDED).to_bytes(3, "big"),
        len(body).to_bytes(3, "big"),
        message.type_id,
        message.stream_id.to_bytes(4, "little"),
        extended,
    )
    chunks = [head + body[:chunk_bytes]]
    if len(body) > chunk_bytes:
        following = b"%c%b" % (0xC0 | csid, extended)
        chunks += [following + body[at : at + chunk_bytes] for at in range(chunk_bytes, len(body), chunk_bytes)]
    return chunks
