"""
The records on the two pipes of a transcoding child: each is a length, a kind and its fields.

The parent writes a :class:`Setup`, then :class:`Source` frames and sometimes a :class:`Flush`; the child answers with
:class:`Produced` frames, and with a :class:`Done` for every frame and flush that it was given, in order.
:class:`Refused` and :class:`OutOfMemory` explain why there may be fewer frames.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from attrs import define, field, frozen

from livestream.model.frames import Codec, Frame
from livestream.transcode.ladder import Rung

MAX_RECORD_BYTES = 32 << 20
"""More than any source frame; a longer record means that the two ends are out of sync."""

_SIZE = struct.Struct(">I")
_RUNG = struct.Struct(">HI")
_FRAME = struct.Struct(">4sqIidB")
_MEMORY = struct.Struct(">Q")
_CUT = struct.Struct(">q")
_SETUP, _SOURCE, _FLUSH, _PRODUCED, _DONE, _REFUSED, _OUT_OF_MEMORY = b"SFXPDRM"
_KEY, _CONFIG = 1, 2
_NO_CUT = -(1 << 63)


class PipeError(ValueError):
    """Malformed data on a pipe."""


@frozen
class Setup:
    """The rungs to encode, and the x264 preset to use."""

    preset: str
    rungs: tuple[Rung, ...]


@frozen
class Source:
    """A frame of the source. With ``cut_ms`` the first picture at this time or later becomes an IDR picture."""

    frame: Frame
    cut_ms: int | None = None


@frozen
class Flush:
    """Output everything that was given."""


@frozen
class Produced:
    """A frame of a rendition."""

    rendition: str
    frame: Frame


@frozen
class Done:
    """A frame, or with ``flushed`` a flush, has been processed."""

    flushed: bool = False


@frozen
class Refused:
    """The source exceeds a limit, and is not decoded; ``reason`` is for the broadcaster."""

    reason: str


@frozen
class OutOfMemory:
    """The child ends, since it needs more than ``limit_bytes`` of address space."""

    limit_bytes: int


Command = Setup | Source | Flush | Produced | Done | Refused | OutOfMemory


def encode(command: Command) -> bytes:
    """Encode a command as a record."""
    match command:
        case Setup(preset, rungs):
            encoded = (_encode_string(rung.name) + _RUNG.pack(rung.height, rung.video_kbps) for rung in rungs)
            kind, rest = _SETUP, b"".join((_encode_string(preset), *encoded))
        case Source(frame, cut_ms):
            kind, rest = _SOURCE, _CUT.pack(_NO_CUT if cut_ms is None else cut_ms) + _frame(frame)
        case Flush():
            kind, rest = _FLUSH, b""
        case Produced(rendition, frame):
            kind, rest = _PRODUCED, _encode_string(rendition) + _frame(frame)
        case Done(flushed):
            kind, rest = _DONE, bytes([flushed])
        case Refused(reason):
            kind, rest = _REFUSED, reason.encode()
        case OutOfMemory(limit_bytes):
            kind, rest = _OUT_OF_MEMORY, _MEMORY.pack(limit_bytes)
    return _SIZE.pack(len(rest) + 1) + bytes([kind]) + rest


@define(eq=False)
class RecordReader:
    """Decodes records from a byte stream."""

    _pending: bytearray = field(factory=bytearray, init=False)

    def receive(self, data: bytes) -> Iterator[Command]:
        """
        Process bytes, and yield the commands that they complete.

        :raises PipeError: the data is malformed.
        """
        self._pending += data
        while len(self._pending) >= _SIZE.size:
            (size,) = _SIZE.unpack_from(self._pending)
            if not 0 < size <= MAX_RECORD_BYTES:
                raise PipeError(f"a record of {size} bytes")
            if len(self._pending) < _SIZE.size + size:
                return
            record = bytes(self._pending[_SIZE.size : _SIZE.size + size])
            del self._pending[: _SIZE.size + size]
            yield _decode(record)


def _decode(record: bytes) -> Command:
    try:
        match record[:1]:
            case b"S":
                return _setup(record)
            case b"F":
                (cut_ms,) = _CUT.unpack_from(record, 1)
                return Source(_unframe(record, 1 + _CUT.size), None if cut_ms == _NO_CUT else cut_ms)
            case b"P":
                rendition, at = _decode_string(record, 1)
                return Produced(rendition, _unframe(record, at))
            case b"X" if len(record) == 1:
                return Flush()
            case b"D" if len(record) == 2 and record[1] < 2:
                return Done(bool(record[1]))
            case b"R":
                return Refused(record[1:].decode())
            case b"M":
                return OutOfMemory(*_MEMORY.unpack(record[1:]))
    except (struct.error, IndexError, ValueError) as error:
        raise PipeError(f"a record of kind {record[0]}: {error}") from error
    raise PipeError(f"a record of kind {record[0]}")


def _setup(record: bytes) -> Setup:
    preset, at = _decode_string(record, 1)
    rungs = []
    while at < len(record):
        name, at = _decode_string(record, at)
        rungs.append(Rung(name, *_RUNG.unpack_from(record, at)))
        at += _RUNG.size
    return Setup(preset, tuple(rungs))


def _frame(frame: Frame) -> bytes:
    flags = (_KEY if frame.is_key else 0) | (_CONFIG if frame.is_config else 0)
    codec = frame.codec.value.encode()
    return _FRAME.pack(codec, frame.dts_ms, frame.data_offset, frame.cts_ms, frame.arrived, flags) + frame.body


def _unframe(record: bytes, at: int) -> Frame:
    codec, dts_ms, offset, cts_ms, arrived, flags = _FRAME.unpack_from(record, at)
    body = record[at + _FRAME.size :]
    if offset > len(body) or flags > _KEY | _CONFIG:
        raise ValueError("a frame with inconsistent fields")
    is_key, is_config = bool(flags & _KEY), bool(flags & _CONFIG)
    return Frame(Codec(codec.decode()), dts_ms, body, offset, cts_ms, is_key, is_config, arrived)


def _encode_string(string: str) -> bytes:
    data = string.encode()
    return bytes([len(data)]) + data


def _decode_string(record: bytes, at: int) -> tuple[str, int]:
    end = at + 1 + record[at]
    if end > len(record):
        raise ValueError("a truncated string")
    return record[at + 1 : end].decode(), end
