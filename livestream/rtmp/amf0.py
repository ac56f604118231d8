"""
Action Message Format 0 (Adobe, 2007), as RTMP's commands and metadata use it.

Numbers are ``float``, strings ``str``, objects and ECMA arrays ``dict``, strict arrays ``list``; null and undefined are
``None``, and a date is its milliseconds. Depth and number of items are bounded, whatever counts are announced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct
from typing import Any

from attrs import define, field, frozen

from livestream.rtmp.errors import RemoteProtocolError

_DOUBLE = Struct(">d")
_NUMBER, _BOOLEAN, _STRING, _OBJECT, _NULL, _UNDEFINED = 0, 1, 2, 3, 5, 6
_ECMA_ARRAY, _OBJECT_END, _STRICT_ARRAY, _DATE, _LONG_STRING, _UNSUPPORTED, _XML, _TYPED = 8, 9, 10, 11, 12, 13, 15, 16


@frozen
class Limits:
    """What a decoder accepts from an untrusted peer; strings and keys are in bytes."""

    depth: int = 16
    items: int = 1024
    string_bytes: int = 65536
    key_bytes: int = 256


class EcmaArray(dict[str, Any]):
    """A mapping that is to be encoded as an ECMA array, as metadata is."""


def encode(*values: Any) -> bytes:
    """Encode values one after the other."""
    return b"".join(map(_encode, values))


def decode(data: bytes, limits: Limits = Limits()) -> list[Any]:
    """
    Decode values until the end of ``data``.

    :raises RemoteProtocolError: it is cut short, passes a limit, or has a value of a kind that has no meaning here.
    """
    reader = _Reader(data, limits)
    values = []
    while not reader.at_end:
        values.append(reader.value(0))
    return values


def _encode(value: Any) -> bytes:
    if value is None:
        return b"\x05"
    if isinstance(value, bool):
        return b"\x01\x01" if value else b"\x01\x00"
    if isinstance(value, int | float):
        return b"\x00" + _DOUBLE.pack(value)
    if isinstance(value, str):
        data = value.encode()
        if len(data) > 0xFFFF:
            return b"\x0c" + len(data).to_bytes(4, "big") + data
        return b"\x02" + len(data).to_bytes(2, "big") + data
    if isinstance(value, EcmaArray):
        return b"\x08" + len(value).to_bytes(4, "big") + _properties(value)
    if isinstance(value, Mapping):
        return b"\x03" + _properties(value)
    if isinstance(value, Sequence):
        return b"\x0a" + len(value).to_bytes(4, "big") + encode(*value)
    raise TypeError(f"AMF0 has no {type(value).__name__}")


def _properties(values: Mapping[str, Any]) -> bytes:
    parts = [_encode(key)[1:] + _encode(value) for key, value in values.items()]
    return b"".join(parts) + b"\x00\x00\x09"


@define(eq=False)
class _Reader:
    data: bytes
    limits: Limits
    _at: int = field(default=0, init=False)
    _items: int = field(default=0, init=False)

    @property
    def at_end(self) -> bool:
        return self._at >= len(self.data)

    def value(self, depth: int) -> Any:
        self._items += 1
        if depth > self.limits.depth or self._items > self.limits.items:
            raise RemoteProtocolError("AMF0 values nested too deep, or too many")
        marker = self._take(1)[0]
        if marker in (_OBJECT, _ECMA_ARRAY, _TYPED):
            if marker == _ECMA_ARRAY:
                self._take(4)
            elif marker == _TYPED:
                self._string(2, self.limits.key_bytes)
            return self._object(depth + 1)
        if marker == _STRICT_ARRAY:
            count = int.from_bytes(self._take(4), "big")
            if count > self.limits.items:
                raise RemoteProtocolError(f"an AMF0 array of {count} items")
            return [self.value(depth + 1) for _ in range(count)]
        return self._scalar(marker)

    def _scalar(self, marker: int) -> Any:
        if marker == _NUMBER:
            return _DOUBLE.unpack(self._take(8))[0]
        if marker == _BOOLEAN:
            return self._take(1) != b"\x00"
        if marker == _STRING:
            return self._string(2, self.limits.string_bytes)
        if marker in (_LONG_STRING, _XML):
            return self._string(4, self.limits.string_bytes)
        if marker in (_NULL, _UNDEFINED, _UNSUPPORTED):
            return None
        if marker == _DATE:
            return _DOUBLE.unpack(self._take(10)[:8])[0]
        raise RemoteProtocolError(f"an AMF0 value of kind {marker:#04x}")

    def _object(self, depth: int) -> dict[str, Any]:
        """Properties until the end marker; the end of the data does as well, since some encoders leave it out."""
        properties: dict[str, Any] = {}
        while not self.at_end:
            key = self._string(2, self.limits.key_bytes)
            if not key and self.data[self._at : self._at + 1] == b"\x09":
                self._at += 1
                break
            properties[key] = self.value(depth)
        return properties

    def _string(self, length_bytes: int, limit: int) -> str:
        length = int.from_bytes(self._take(length_bytes), "big")
        if length > limit:
            raise RemoteProtocolError(f"an AMF0 string of {length} bytes")
        return self._take(length).decode("utf-8", "replace")

    def _take(self, count: int) -> bytes:
        taken = self.data[self._at : self._at + count]
        if len(taken) < count:
            raise RemoteProtocolError("an AMF0 value is cut short")
        self._at += count
        return taken
