"""A reference implementation of the chunk stream: one chunk at a time, from a complete buffer."""

from __future__ import annotations

from attrs import define, field

from livestream.rtmp.chunks import EXTENDED, LARGEST_CHUNK_BYTES, ChunkLimits, Message
from livestream.rtmp.message_types import ABORT, AGGREGATE, COMMANDS, CONTROL, MEDIA, PUBLISHED, SET_CHUNK_SIZE

_HEADER_BYTES = (11, 7, 3, 0)


class Violation(Exception):
    """The bytes violate RTMP 1.0, 5.3, or a limit."""


class _Short(Exception):
    """The buffer ends within a chunk."""


@define(eq=False)
class _Stream:
    length: int = 0
    type_id: int = 0
    stream_id: int = 0
    time_ms: int = 0
    delta_ms: int = 0
    extended: bytes = b""
    body: bytes | None = None
    is_wanted: bool = True


@define(eq=False)
class ReferenceReader:
    """Reads a chunk stream: ``messages`` up to its end, or up to the violation if it ``is_broken``."""

    limits: ChunkLimits
    chunk_bytes: int = 128
    takes_media: bool = True
    messages: list[Message] = field(factory=list, init=False)
    is_broken: bool = field(default=False, init=False)
    _data: bytes = field(default=b"", init=False)
    _at: int = field(default=0, init=False)
    _streams: dict[int, _Stream] = field(factory=dict, init=False)

    def read(self, data: bytes) -> None:
        """Read all of ``data``."""
        self._data = data
        try:
            while self._at < len(data):
                self._chunk()
        except Violation:
            self.is_broken = True
        except _Short:
            pass

    def _take(self, count: int) -> bytes:
        taken = self._data[self._at : self._at + count]
        self._at += len(taken)
        if len(taken) < count:
            raise _Short
        return taken

    def _chunk(self) -> None:
        kind, csid = divmod(self._take(1)[0], 64)
        if csid < 2:
            csid = 64 + int.from_bytes(self._take(1 + csid), "little")
        header = self._take(_HEADER_BYTES[kind])
        stream = self._streams.get(csid)
        if stream is None and (kind > 1 or len(self._streams) >= self.limits.chunk_streams):
            raise Violation
        stream = stream or _Stream()
        self._header(stream, kind, header)
        self._streams[csid] = stream
        if stream.body is None:
            self._begin(stream)
        assert stream.body is not None
        size = min(self.chunk_bytes, stream.length - len(stream.body))
        left = self._data[self._at : self._at + size]
        self._at += len(left)
        stream.body += left
        if len(left) < size:
            raise _Short
        if len(stream.body) == stream.length:
            body, stream.body = stream.body, None
            self._complete(stream, body)

    def _header(self, stream: _Stream, kind: int, header: bytes) -> None:
        if kind == 3:
            if stream.extended:
                repeated = self._data[self._at : self._at + 4]
                if len(repeated) < 4 and stream.extended.startswith(repeated):
                    raise _Short
                self._at += 4 if repeated == stream.extended else 0
            return
        delta_ms, extended = int.from_bytes(header[:3], "big"), b""
        if delta_ms == EXTENDED:
            extended = self._take(4)
            delta_ms = int.from_bytes(extended, "big")
        length = int.from_bytes(header[3:6], "big") if kind < 2 else stream.length
        if stream.body is not None:
            if kind == 0 or length != stream.length:
                raise Violation
            return
        stream.extended, stream.delta_ms, stream.length = extended, delta_ms, length
        if kind < 2:
            stream.type_id = header[6]
        if kind == 0:
            stream.time_ms, stream.stream_id = 0, int.from_bytes(header[7:11], "little")

    def _begin(self, stream: _Stream) -> None:
        wanted = (*CONTROL, *COMMANDS, *PUBLISHED) if self.takes_media else (*CONTROL, *COMMANDS)
        stream.is_wanted = stream.type_id in wanted
        is_large = stream.type_id in (*MEDIA, AGGREGATE)
        if stream.is_wanted and stream.length > (self.limits.message_bytes if is_large else self.limits.command_bytes):
            raise Violation
        stream.time_ms = (stream.time_ms + stream.delta_ms) & 0xFFFFFFFF
        stream.body = b""

    def _complete(self, stream: _Stream, body: bytes) -> None:
        number = int.from_bytes(body[:4], "big")
        if stream.type_id not in (SET_CHUNK_SIZE, ABORT):
            if body and stream.is_wanted:
                self.messages.append(Message(stream.type_id, stream.stream_id, stream.time_ms, body))
        elif len(body) < 4:
            raise Violation
        elif stream.type_id == ABORT:
            if number in self._streams:
                self._streams[number].body = None
        elif not 0 < number < 1 << 31:
            raise Violation
        else:
            self.chunk_bytes = min(number, LARGEST_CHUNK_BYTES)
